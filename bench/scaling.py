"""What a run takes on many workers: measured on few, simulated, and computed for ratings that nobody here has.

``python -m bench.scaling`` runs synthetic ratings on one and on two Dask workers of this machine and notes the seconds
of every task. A simulated scheduler gives the tasks of the one worker to two, and its times are compared with the
measured ones. Then it computes a run on a thousand million and on ten thousand million ratings: tasks, bytes and memory
from ``engine/costs/``; seconds from the rates in ``engine/estimates.py``, divided among a stage's rounds as these grow
between two measured sizes, and scheduled on clusters. The tables go to ``docs/scaling.md``; ``--tables`` only writes
them again, from the kept measurement and the models as they are.
"""

from __future__ import annotations

import argparse
import heapq
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import engine
from bench.measure import RESULTS, make_twin, read_result, write_result
from bench.report import DOCS, table, where
from engine import config, costs, estimates
from engine.chunked.budget import MIB, format_size
from engine.chunked.events import RoundBegan, StageBegan, TaskEnded
from engine.config import Config
from engine.costs import Shapes
from engine.costs.written import Written
from engine.model.sizes import INGEST_PIECE_BYTES
from engine.pipeline import steps

PAGE = DOCS / "scaling.md"
WORKERS = (8, 64, 256)
# Of ml-25m: ratings per user, and bytes of a row of its file.
_PER_USER, _ROW = 153, 26
# What a storage chunk, a task's share or a cluster must grow to so that their numbers stay moderate.
SIZES: dict[str, dict[str, Any]] = {
    "1 G": {
        "ratings": 10**9,
        "n_items": 100_000,
        "set": {
            "split": {"method": "random"},
            "factors": {"partial_sums": 64, "users_per_chunk": 32768},
            "refine": {"users_per_chunk": 32768},
            "index": {"users_per_cluster": 1024},
        },
    },
    "10 G": {
        "ratings": 10**10,
        "n_items": 200_000,
        "set": {
            "ingest": {"ratings_per_partition": 2**20},
            "split": {"method": "random"},
            "factors": {"partial_sums": 256, "users_per_chunk": 131072},
            "refine": {"users_per_chunk": 131072},
            "index": {"users_per_cluster": 4096},
            "neighbors": {"users_per_chunk": 65536},
            "evaluate": {"users_per_task": 65536, "users_per_gather": 2**22},
            "predict": {"users_per_task": 65536},
        },
    },
}


def schedule(seconds: Iterable[float], workers: int) -> float:
    """Seconds until all tasks are done, each given to the worker that is free first, in order.

    Examples
    --------
    >>> schedule([3, 1, 1, 2], 2)
    4
    """
    free: list[float] = [0] * workers
    for task_seconds in seconds:
        heapq.heappush(free, heapq.heappop(free) + task_seconds)
    return max(free)


def recorded(dataset: Path, workers: int, memory: str) -> dict[str, Any]:
    """Run on so many Dask workers of this machine; return each stage's seconds and those of its tasks by round."""
    stages: dict[str, dict[str, Any]] = {"ingest": {"rounds": {}}}  # which is surveyed before stages begin
    stage = "ingest"
    tasks: list[float] = []

    def note(event: engine.Event) -> None:
        nonlocal stage, tasks
        if isinstance(event, StageBegan):
            stage = event.stage
        elif isinstance(event, RoundBegan):
            tasks = stages.setdefault(stage, {"rounds": {}})["rounds"].setdefault(event.round, [])
        elif isinstance(event, TaskEnded):
            tasks.append(round(event.seconds, 4))

    with tempfile.TemporaryDirectory() as folder:
        asked = {"dataset": str(dataset), "workdir": folder, "memory": memory, "workers": workers, "executor": "dask"}
        result = engine.run(config.load(asked, {"index": {"method": "pruned"}}), note)
    for entry in result.stages:
        of_stage = stages.setdefault(entry.stage, {"rounds": {}})  # an idle one has begun no round
        of_stage |= {"seconds": entry.seconds, "projected": entry.projected, "measured": entry.measured}
    return stages


def simulated(stages: dict[str, Any], workers: int) -> dict[str, float]:
    """Seconds each stage would take so many workers."""
    return {
        name: round(sum(schedule(tasks, workers) for tasks in stage["rounds"].values()), 3)
        for name, stage in stages.items()
    }


def on_paper(size: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """Tasks, bytes, memory and seconds of each stage for ratings of a size."""
    less, more = results["less"], {"n_ratings": results["n_ratings"], "stages": results["measured"]["1"]}
    settings = config.load({"index": {"method": "pruned"}}, size["set"])
    shapes = paper_shapes(size["ratings"], size["n_items"])
    seconds, written = estimates.seconds(settings, shapes), costs.disk(settings, shapes)
    stages_on_paper, a_pass = {}, 0.0
    for step in steps(settings):
        plan = costs.COSTS[step.name](settings, shapes)
        share = shares(grown_from(step.name, less), grown_from(step.name, more), size["ratings"])
        took = {name: seconds[step.name] * part for name, part in share.items()}
        a_pass = took["sums"] if step.name == "refine" else a_pass
        if step.name == "evaluate":
            took = of_groups(plan, took, a_pass)
        rounds = {name: (each.n_tasks, took.get(name, 0.0) * (each.n_tasks > 0)) for name, each in plan.items()}
        most = max(plan, key=lambda name: plan[name].cost.least())
        stages_on_paper[step.name] = {
            "tasks": sum(n for n, _ in rounds.values()),
            "written": written[step.name].most,
            "least": plan[most].cost.least(),
            "least_round": most,
            "worker_seconds": round(sum(total for _, total in rounds.values())),
            "alone": round(sum(total for n, total in rounds.values() if n == 1)),
            "seconds": {
                str(workers): round(sum(schedule([total / n] * n, workers) for n, total in rounds.values()))
                for workers in WORKERS
            },
        }
    return {
        "n_users": shapes.n_users,
        "n_items": size["n_items"],
        "set": size["set"],
        "disk": peak([written[step.name] for step in steps(settings)]),
        "stages": stages_on_paper,
        "growth": growth(settings, shapes),
    } | volumes(settings, shapes)


def peak(written: Iterable[Written]) -> int:
    """Bytes on the disk at a time, of stages one after the other."""
    kept = most = 0
    for each in written:
        most, kept = max(most, kept + each.most), kept + each.kept
    return most


def growth(settings: Config, shapes: Shapes) -> dict[str, Any]:
    """Bytes of memory that a stage takes more of for each user, with ratings like the others', and for each item.

    Of its round that grows most with each; and what that comes to for all users and all items.
    """
    more_users = replace(shapes, n_users=2 * shapes.n_users, n_ratings=2 * shapes.n_ratings)
    more_items = replace(shapes, n_items=2 * shapes.n_items)
    found = {}
    for step in steps(settings):
        plans = [costs.COSTS[step.name](settings, each) for each in (shapes, more_users, more_items)]
        now, with_users, with_items = ({name: each.cost.least() for name, each in plan.items()} for plan in plans)
        of_user = {name: (with_users[name] - now[name]) / shapes.n_users for name in now}
        of_item = {name: (with_items[name] - now[name]) / shapes.n_items for name in now}
        user, item = max(of_user, key=of_user.__getitem__), max(of_item, key=of_item.__getitem__)
        found[step.name] = {
            "user": round(of_user[user]),
            "of_users": user,
            "item": round(of_item[item]),
            "of_items": item,
            "users": round(of_user[user] * shapes.n_users),
            "items": round(of_item[item] * shapes.n_items),
        }
    return found


def paper_shapes(n_ratings: int, n_items: int) -> Shapes:
    """Shapes of as many ratings as somebody might have, in a text file, by users like those of ml-25m."""
    return Shapes(
        n_ratings * _ROW,
        n_pieces=-(-n_ratings * _ROW // INGEST_PIECE_BYTES),
        n_ratings=n_ratings,
        n_users=n_ratings // _PER_USER,
        n_items=n_items,
        most_ratings=min(n_items, 100_000),
    )


class Rounds(NamedTuple):
    """Seconds of a stage's rounds, all tasks of one together, for so many ratings."""

    n_ratings: int
    seconds: dict[str, float]


def grown_from(stage: str, measured: dict[str, Any]) -> Rounds:
    """What one worker took for a stage."""
    rounds = measured["stages"][stage]["rounds"]
    return Rounds(measured["n_ratings"], {name: sum(tasks) for name, tasks in rounds.items()})


def of_groups(plan: Iterable[str], took: Mapping[str, float], a_pass: float) -> dict[str, float]:
    """Seconds of evaluate's rounds where users are in groups: these share its scoring, and each takes a pass more.

    Parameters
    ----------
    plan : iterable of str
        The rounds.
    took : mapping of str to float
        Seconds of the rounds without groups.
    a_pass : float
        Seconds of going through all ratings.

    Examples
    --------
    >>> of_groups(["gather-0", "users-0", "gather-1", "users-1", "mean"], {"users": 8.0, "mean": 1.0}, 0.5)
    {'users': 8.0, 'mean': 1.0, 'gather-0': 0.5, 'users-0': 4.0, 'gather-1': 0.5, 'users-1': 4.0}
    """
    groups = [name.removeprefix("gather-") for name in plan if name.startswith("gather-")]
    found = dict(took)
    for group in groups:
        found |= {f"gather-{group}": a_pass, f"users-{group}": took["users"] / len(groups)}
    return found


def shares(less: Rounds, more: Rounds, n_ratings: int) -> dict[str, float]:
    """Share of each round in the seconds of its stage for so many ratings.

    A round's seconds are taken to be some, and some more for each rating: a line through two measured sizes. What the
    smaller one has not run at all grows with the ratings.

    Examples
    --------
    >>> shares(Rounds(10, {"layout": 1.0, "fill": 2.0}), Rounds(20, {"layout": 1.0, "fill": 4.0}), 95)
    {'layout': 0.05, 'fill': 0.95}
    """
    grown = {}
    for name, took in more.seconds.items():
        before = less.seconds.get(name, took * less.n_ratings / more.n_ratings)
        of_rating = max(0.0, took - before) / (more.n_ratings - less.n_ratings)
        grown[name] = took + of_rating * (n_ratings - more.n_ratings)
    total = sum(grown.values())
    return {name: took / total for name, took in grown.items()} if total else {}


def volumes(settings: Config, shapes: Shapes) -> dict[str, Any]:
    """Bytes that go through storage: in a pass of the SVD, and for the metrics."""
    section = settings.factors
    basis = 4 * shapes.n_items * min(section.dims + section.oversamples, shapes.n_items)
    parts = section.partial_sums
    stored = (shapes.value_bytes + (2 if shapes.n_items <= 2**16 else 4)) * int(
        shapes.n_ratings * (1 - settings.split.test_fraction)
    )
    blocks = -(-shapes.n_users // settings.evaluate.users_per_task)
    measured = shapes.n_users * (44 + 2 * (12 + -(-settings.evaluate.k // 8)))
    return {
        "pass": {"matrix": stored, "basis": basis, "tasks": parts, "partial_sums": parts * basis},
        "metrics": {"blocks": blocks, "users": measured, "counts": blocks * 16 * shapes.n_items},
    }


# Tables.


def measured_table(results: dict[str, Any]) -> str:
    one, two = results["measured"]["1"], results["measured"]["2"]
    moved, own = simulated(one, 2), simulated(two, 2)
    rows = []
    for name, stage in two.items():
        memory = f"{format_size(stage['measured'])} of {format_size(stage['projected'])}"
        numbers = (one[name]["seconds"], stage["seconds"], moved[name], own[name])
        tasks = sum(len(tasks) for tasks in stage["rounds"].values())
        rows.append([name, str(tasks), *(f"{number:.1f}" for number in numbers), memory])
    totals = [sum(stage["seconds"] for stage in run.values()) for run in (one, two)]
    totals += [sum(moved.values()), sum(own.values())]
    rows.append(["all", "", *(f"{total:.1f}" for total in totals), ""])
    head = [
        "stage",
        "tasks",
        "1 worker",
        "2 workers",
        "2, simulated from 1",
        "2, simulated from 2",
        "memory a worker",
    ]
    ratios = f"Simulated over measured: {totals[2] / totals[1]:.2f} from the tasks of one worker, "
    ratios += f"{totals[3] / totals[1]:.2f} from the two workers' own; the difference is what two share in the machine."
    text = f"Scale {results['scale']:g}, {results['n_ratings']:,} ratings, {results['memory']} a worker; "
    text += f"on {where(results)}. Seconds:"
    return "\n\n".join([text, table(head, rows), ratios])


def paper_table(case: dict[str, Any], ratings: str) -> str:
    rows = []
    for name, stage in case["stages"].items():
        rows.append(
            [
                name,
                f"{stage['tasks']:,}",
                format_size(stage["written"]),
                f"{format_size(stage['least'])} ({stage['least_round']})",
                f"{stage['worker_seconds']:,}",
                f"{stage['alone']:,}",
                *(f"{stage['seconds'][str(workers)]:,}" for workers in WORKERS),
            ]
        )
    sums = {workers: sum(stage["seconds"][str(workers)] for stage in case["stages"].values()) for workers in WORKERS}
    rows.append(
        [
            "all",
            f"{sum(stage['tasks'] for stage in case['stages'].values()):,}",
            format_size(case["disk"]),
            format_size(max(stage["least"] for stage in case["stages"].values())),
            f"{sum(stage['worker_seconds'] for stage in case['stages'].values()):,}",
            f"{sum(stage['alone'] for stage in case['stages'].values()):,}",
            *(f"{total:,}" for total in sums.values()),
        ]
    )
    head = [
        "stage",
        "tasks",
        "on disk, at most",
        "least memory beyond reserved",
        "worker seconds",
        "of them in rounds of one task",
    ]
    head += [f"s, {workers} workers" for workers in WORKERS]
    keys = " ".join(f"`{name}.{key}={value}`" for name, keys in case["set"].items() for key, value in keys.items())
    text = f"**{ratings} ratings**, {case['n_users']:,} users, {case['n_items']:,} items, with {keys}:"
    return f"{text}\n\n{table(head, rows)}"


def volume_table(results: dict[str, Any]) -> str:
    rows = []
    for ratings, case in results["paper"].items():
        one, metrics = case["pass"], case["metrics"]
        rows.append(
            [
                ratings,
                str(one["tasks"]),
                format_size(one["matrix"]),
                format_size(one["basis"]),
                format_size(one["partial_sums"]),
                f"{metrics['blocks']:,}",
                format_size(metrics["users"]),
                format_size(metrics["counts"]),
            ]
        )
    head = ["ratings", "tasks of a pass", "matrix read", "basis, read by each worker", "partial sums, written and read"]
    head += ["blocks of users", "figures of users, written and read", "counts of items, written and read"]
    return table(head, rows)


def growth_table(results: dict[str, Any]) -> str:
    """What each stage holds of users and items, in all, for the smallest of the sizes on paper."""
    ratings, case = next(iter(results["paper"].items()))
    rows = [
        [
            name,
            f"{each['user']:,} ({each['of_users']})" if each["user"] else "-",
            format_size(each["users"]) if each["user"] else "-",
            f"{each['item']:,} ({each['of_items']})" if each["item"] else "-",
            format_size(each["items"]) if each["item"] else "-",
        ]
        for name, each in case["growth"].items()
    ]
    head = ["stage", "bytes a user", f"{case['n_users']:,} users", "bytes an item", f"{case['n_items']:,} items"]
    return f"Of {ratings} ratings:\n\n{table(head, rows)}"


def write_tables(results: dict[str, Any]) -> None:
    """Put the tables between their marks in the page."""
    made = {"measured": measured_table(results), "volumes": volume_table(results), "growth": growth_table(results)}
    made["paper"] = "\n\n".join(paper_table(case, ratings) for ratings, case in results["paper"].items())
    page = PAGE.read_text()
    for name, text in made.items():
        between = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = between.sub(lambda marks, text=text: f"{marks[1]}\n{text}\n\n{marks[2]}", page)  # type: ignore[misc]
    PAGE.write_text(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the synthetic ratings that are run")
    parser.add_argument("--less", type=float, default=0.2, help="of fewer, for what grows with them")
    parser.add_argument("--memory", default="512MiB", help="of each worker")
    parser.add_argument("--tables", action="store_true", help="only write docs/scaling.md again")
    options = parser.parse_args()
    if not options.tables:
        measure(options.scale, options.less, options.memory)
    results = read_result("scaling")
    if results is None:
        raise SystemExit(f"no {RESULTS / 'scaling.json'}: run without --tables first")
    paper = {ratings: on_paper(size, results) for ratings, size in SIZES.items()}
    write_tables(results | {"paper": paper})


def measure(scale: float, less: float, memory: str) -> None:
    """Run, and keep the result."""
    large, small = make_twin(scale), make_twin(less)
    runs = {str(workers): recorded(large, workers, memory) for workers in (1, 2)}
    of_less = {"n_ratings": count(small), "stages": recorded(small, 1, memory)}
    content = {"scale": scale, "memory": memory, "n_ratings": count(large), "measured": runs, "less": of_less}
    write_result("scaling", content)


def count(dataset: Path) -> int:
    """Ratings of a twin."""
    with (dataset / "ratings.csv").open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(MIB), b"")) - 1


if __name__ == "__main__":
    main()
