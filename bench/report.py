"""Write docs/benchmarks.md with its plots, and docs/model.md, from ``bench/results/``: ``python -m bench.report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.measure import read_result
from bench.plots import memory_over_time, time_against_memory, time_against_scale, time_by_stage
from engine.chunked.budget import format_size, parse_size

DOCS = Path(__file__).parent.parent / "docs"

# What each stage does most of, and what bounds it.
BOUNDS = {
    "ingest": "parsing text; then a sort by user range: disk and memory traffic",
    "split": "the held-out rows drawn one after the other; then Parquet read once and written twice",
    "matrix": "Parquet decoded, Zarr encoded: memory traffic",
    "factors": "rows of items x (dims + oversamples) fetched and added to, 2 multiply-adds a number: cache traffic",
    "refine": "conjugate gradients, for which items' vectors are fetched and added to: cache traffic",
    "index": "k-means on a sample, one product of users and centres: flops",
    "neighbors": "products of users and near tiles: flops; then the best kept",
    "biases": "two sums per rating and pass, by user and by item: memory traffic",
    "calibrate": "all of the model, fitted to a part of train: cache traffic",
    "residuals": "as refine, with half of the dimensions",
    "item_neighbors": "cosines of items, sifted: flops",
    "cooccurrence": "pairs of items counted, of users drawn at random: cache traffic",
    "predict": "a lookup for each test rating and near item: cache traffic",
    "evaluate": "sparse rows added up, products with candidates' vectors: cache traffic",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def where(results: dict[str, Any]) -> str:
    """The machine, and the commit where it is known, in words."""
    machine, commit = results["machine"], results.get("commit")
    at = f", at commit {commit}" if commit else ""
    model = at_512(results).get("model") if "budgets" in results else None
    at += f", model: {model}" if model else ""
    return f"{machine['processors']} processors of {machine['processor']}, {format_size(machine['memory'])}{at}"


def seconds_of(run: dict[str, Any], *stages: str) -> float:
    """Seconds of the named stages together."""
    return float(sum(stage["seconds"] for stage in run["stages"] if stage["stage"] in stages))


def over(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How many times as long one case took as another."""
    return f"{one['seconds'] / other['seconds']:.2f}"


def ratios(results: dict[str, Any]) -> list[list[str]]:
    """What is promised, as ratios within one run of the benchmarks."""
    budgets, peer, exact = results["budgets"], results["implicit"], results["methods"].get("exact")
    usual = at_512(results)
    rows = [["the notebook's algorithm, plain and in memory / pipeline at 512MiB", over(results["notebook"], usual)]]
    if "seconds" in peer:
        rows.append(["pipeline at 512MiB / implicit ALS, fit and recommend", over(usual, peer)])
    if {"256MiB", "2GiB"} <= set(budgets):
        rows.append(["pipeline at 256MiB / at 2GiB", over(budgets["256MiB"], budgets["2GiB"])])
    larger = {scale: run for scale, run in results["curve"].items() if float(scale) > results["scale"]}
    rows += [[f"scale {s} / scale {results['scale']:g}, at 512MiB", over(run, usual)] for s, run in larger.items()]
    if exact:
        ours, theirs = (seconds_of(run, "index", "neighbors") for run in (usual, exact))
        rows.append(["neighbours with their index / comparing everybody with everybody", f"{ours / theirs:.2f}"])
        for key, name in (("rmse", "RMSE"), ("recall_at_50", "Recall@50")):
            rows.append([f"{name} minus that with exact neighbours", f"{usual[key] - exact[key]:+.5f}"])
    neighbors = usual["neighbors"]
    rows.append([f"share of {neighbors['n_users_sampled']} users' true neighbours found", f"{neighbors['recall']:.4f}"])
    return rows


def at_512(results: dict[str, Any]) -> dict[str, Any]:
    """The pipeline at 512MiB, or at the first budget there is."""
    run: dict[str, Any] = results["budgets"].get("512MiB") or next(iter(results["budgets"].values()))
    return run


def case_row(case: str, run: dict[str, Any]) -> list[str]:
    """Time, memory and figures of a case."""
    if "seconds" not in run:
        return [case, run["absent"], "", "", ""]
    rmse = f"{run['rmse']:.4f}" if "rmse" in run else ""
    return [case, f"{run['seconds']:.1f}", format_size(run["peak"]), rmse, f"{run['recall_at_50']:.4f}"]


def stage_rows(run: dict[str, Any]) -> list[list[str]]:
    """Where the time of a run goes."""
    total = sum(stage["seconds"] for stage in run["stages"])
    return [
        [
            stage["stage"],
            f"{stage['seconds']:.1f}",
            f"{stage['seconds'] / total:.0%}",
            format_size(stage["measured"]),
            BOUNDS[stage["stage"]],
        ]
        for stage in run["stages"]
    ]


def run_section(results: dict[str, Any], name: str) -> str:
    """Everything about one scale."""
    budgets, usual, sampled = results["budgets"], at_512(results), results["notebook"]["users_sampled"]
    cases = {f"pipeline, {budget}": run for budget, run in budgets.items()}
    cases |= {f"pipeline, 1GiB, neighbours {method}": run for method, run in results["methods"].items()}
    peers = {"the notebook's algorithm": results["notebook"], "implicit ALS, 128 factors": results["implicit"]}
    figures = {kind: f"benchmarks-{name}-{kind}.svg" for kind in ("memory", "stages", "scale")}
    rows = [case_row(case, run) for case, run in (cases | peers).items()]
    lines = [
        f"## Scale {results['scale']:g}: {usual['n_ratings']:,} ratings, {usual['n_users']:,} users",
        f"On {where(results)}; medians of {results['repeats']} runs of the pipeline, budgets in turn.",
        table(["case", "seconds", "peak memory", "RMSE", "Recall@50"], rows),
        f"The notebook's loops over users were run on {sampled} users and scaled; its figures are of these users. "
        "Peak memory is resident, all processes together, sampled from outside.",
        table(["what", "ratio or figure"], ratios(results)),
        "Where the time goes, at 512MiB:",
        table(["stage", "seconds", "share", "peak memory", "mostly"], stage_rows(usual)),
        f"![time against memory]({figures['memory']})",
        f"![time by stage]({figures['stages']})",
    ]
    seconds = {parse_size(size): run["seconds"] for size, run in budgets.items()}
    time_against_memory(seconds, DOCS / figures["memory"])
    time_by_stage({case: run["stages"] for case, run in cases.items()}, DOCS / figures["stages"])
    if results["curve"]:
        curve = {float(scale): run for scale, run in results["curve"].items()} | {results["scale"]: usual}
        time_against_scale({scale: run["seconds"] for scale, run in curve.items()}, DOCS / figures["scale"])
        rows = [
            [f"{scale:g}", f"{run['n_ratings']:,}", f"{run['seconds']:.1f}", format_size(run["peak"])]
            for scale, run in sorted(curve.items())
        ]
        head = ["scale", "ratings", "seconds", "peak memory"]
        lines += ["Scale, each in 512MiB:", table(head, rows), f"![time against scale]({figures['scale']})"]
    return "\n\n".join(lines)


def memory_section(results: dict[str, Any], name: str) -> str:
    """The memory promise at one scale."""
    rows, told = [], []
    for run in results["runs"]:
        worst = max(run["stages"], key=lambda stage: stage["measured"])
        shares = [stage["measured"] / stage["projected"] for stage in run["stages"] if stage["measured"]]
        rows.append(
            [
                run["budget"],
                str(run["killed"]),
                f"{format_size(worst['measured'])} ({worst['stage']})",
                f"{min(shares):.2f} to {max(shares):.2f}",
                f"{run['seconds']:.0f}",
                repr(run["rmse"]),
                repr(run["recall_at_50"]),
            ]
        )
        deaths = [f"{attempt['seconds']:.0f}" for attempt in run.get("attempts", []) if attempt["exit"] == -9]
        if deaths:
            after = f"{', '.join(deaths)} s"
            told.append(f"At {run['budget']} all processes were killed after {after}, and the run went on each time.")
        failed = [f"{attempt['seconds']:.0f}" for attempt in run.get("attempts", []) if attempt["exit"] not in (-9, 0)]
        if failed:
            by = f"; the kernel had killed {run['killed']} for its memory" if run["killed"] else ""
            times = f"{len(failed)} times" if len(failed) > 1 else "once"
            after = " and ".join(failed)
            told.append(f"The run failed {times}, after {after} s{by}; each time the program was mended.")
    memory_over_time(results["runs"], DOCS / f"benchmarks-{name}.svg")
    head = ["budget", "killed", "largest stage", "measured / projected", "seconds", "RMSE", "Recall@50"]
    return "\n\n".join(
        [
            f"## The memory promise, scale {results['scale']:g}",
            f"Each run in a memory cgroup of its budget, enforced by the kernel; on {where(results)}.",
            *told,
            table(head, rows),
            f"![memory over time](benchmarks-{name}.svg)",
        ]
    )


def neighbors_section(results: dict[str, Any], name: str) -> str:
    """Nearest users by other libraries."""
    rows = []
    for title, case in results["cases"].items():
        if "absent" in case:
            rows.append([title, case["absent"], "", ""])
            continue
        share = f"{case['recall']:.4f}" if "recall" in case else ""
        rows.append([title, f"{case['seconds']:.1f}", format_size(case["peak"]), share])
    return "\n\n".join(
        [
            f"## Nearest users, scale {results['scale']:g}",
            f"On {where(results)}, {results['threads']} threads each.",
            table(["by", "seconds", "peak memory", "share of the nearest found"], rows),
        ]
    )


NAMES = ("rmse", "recall_at_50")
ABLATED = ("sample", "ml-1m", "ciao", "epinions")
"""Data sets whose results are shown, as they were named, in this order."""

TUNING = """## Other parameters

A run chooses its weights itself. Dimensions, numbers of neighbours, regularisation and the like have defaults. `engine
tune WORKDIR --minutes 30` tries other values, one parameter after the other, and ends with the commands to run.

It judges a configuration as a run judges weights. It fits a small model to some users' train ratings, without a fifth
of them, and asks it for that fifth; it does so twice. What counts is Recall, or with `--by rmse` the error of predicted
ratings. Users and held-out ratings are the same for all configurations, so that these are compared user by user. A
value is kept where it is better by more than the standard error of the difference. Test ratings have no part in it.

For each configuration only the step `calibrate` is run, in the budget, of `calibrate.ratings` ratings at most. What was
tried is kept in the work directory until `engine clean`, and not tried again. The best of many trials looks
better than it is: its gain may be chance. So the command that is proposed runs it in another work directory, and
`engine compare` says what it is worth on test."""


def values_of(values: dict[str, Any]) -> str:
    """Parameters as they are set on the command line."""
    return " ".join(f"`{key}={value}`" for key, value in values.items())


def measured(row: dict[str, Any]) -> list[str]:
    """Both figures of a trial, and their differences with standard errors."""
    cells = [f"{row[name]['value']:.4f}" for name in NAMES]
    return cells + [f"{row[name]['difference']:+.4f} ±{row[name]['error']:.4f}" for name in NAMES]


def ablation_section(results: dict[str, Any]) -> str:
    """What each part of the model brings on the test part of a data set."""
    changes = ["RMSE", "Recall@50", "change of RMSE", "of Recall@50"]
    steps, before = [], results["way"][0]
    for row in results["way"]:
        changed = {key: value for key, value in before["defaults"].items() if key not in row["values"]}
        steps.append([row["what"], values_of(changed), *measured(row)])
        before = row
    lists = [
        [[row["what"], values_of(row["values"]), *measured(row)] for row in results[part]]
        for part in ("without", "other")
    ]
    size = f"{results['n_users']:,} users, {results['n_items']:,} items, {results['n_train']:,} train ratings"
    return "\n\n".join(
        [
            f"## {results['dataset']}",
            f"{size}; {where(results)}. From the notebook's model to the default one, each change kept for the next:",
            table(["change", "set", *changes], steps),
            "The default model without one of its parts. Two rows may be alike: without either part, the run gives "
            "one and the same other part no weight.",
            table(["without", "set", *changes], lists[0]),
            "The default model with one part changed:",
            table(["with", "set", *changes], lists[1]),
        ]
    )


def summary_rows(results: dict[str, Any]) -> list[list[str]]:
    """The default model of a data set beside the simple ones, and the weights that it chose."""
    bias, popular = results["baselines"]["bias_model"]["rmse"], results["baselines"]["most_popular"]["recall_at_50"]
    usual, weights = results["way"][-1], results["weights"]
    chosen = [
        ", ".join(f"{part} {weight:g}" for part, weight in weights[kind]["weights"].items() if weight)
        for kind in ("rating", "ranking")
    ]
    cells = [f"{usual['rmse']['value']:.4f}", f"{bias['value']:.4f}", chosen[0]]
    cells += [f"{usual['recall_at_50']['value']:.4f}", f"{popular['value']:.4f}", chosen[1]]
    return [[results["dataset"], *cells]]


def peers_section(found: list[dict[str, Any]]) -> list[str]:
    """Recall@50 of other models on the same splits, each with the parameters that validation chose."""
    if not found:
        return []
    head = ["data", "model", "chosen on validation", "Recall@50", "standard error"]
    rows = []
    for results in found:
        own = [("this engine's default", "", results["model"]), ("the most popular items", "", results["most_popular"])]
        peers = [(each["name"], each["parameters"], each) for each in results["peers"]]
        for name, parameters, figure in sorted([*own, *peers], key=lambda row: -row[2]["value"]):
            error = figure["standard_error"]
            rows.append([results["dataset"], name, parameters, f"{figure['value']:.4f}", f"{error:.4f}"])
    return [
        "## Beside other models",
        "Made by `python -m bench.peers FILE --name NAME`, on the run's own split. A fifth of train was held "
        "out, to choose each model's parameters from a small grid. Then it learned from all of train. "
        "Ratings below what counts as liked are a preference of 0.5, as they are here. EASE is left out where its "
        "matrix of items would take more than 4 GB.",
        table(head, rows),
    ]


def model_page() -> str | None:
    """What the parts of the default model bring on each data set, or None without results."""
    found = [results for name in ABLATED if (results := read_result(f"ablation-{name}")) is not None]
    if not found:
        return None
    peers = [results for name in ABLATED if (results := read_result(f"peers-{name}")) is not None]
    head = ["data", "RMSE", "of the bias model", "weights", "Recall@50", "of the most popular", "weights"]
    return (
        "\n\n".join(
            [
                "# The default model",
                "`python -m bench.report --scales` writes this page from `bench/results/`, where `python -m "
                "bench.ablation` leaves figures (of other data: `python -m bench.ablation FILE --name NAME`). Each "
                "data set is split as the notebook does, and figures are of its test part. Nothing was chosen by "
                "them. Weights are chosen by each run, on ratings held out of train; other parameters were chosen so, "
                "too. After ± is the standard error of a difference, taken user by user.",
                "## Beside simple models",
                "The first *weights* are those of ratings: of *latent* vectors, and of *near* items. The second are "
                "those of lists: of *products* of vectors, of near users' *votes*, of items taken *together* with the "
                "user's own, and of *popularity*.",
                table(head, [row for results in found for row in summary_rows(results)]),
                *peers_section(peers),
                *(ablation_section(results) for results in found),
                TUNING,
            ]
        )
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scales", nargs="*", default=["1", "0.1", "4", "40"], help="in this order; none: docs/model.md only"
    )
    options = parser.parse_args()
    if (model := model_page()) is not None:
        (DOCS / "model.md").write_text(model)
    if not options.scales:
        return
    parts = [
        "# Benchmarks",
        "Written by `python -m bench.report` from `bench/results/`, which `make bench` and `make bench-full` leave. "
        "The ratings are synthetic (`engine data twin`): scale 1 has the users, items and popularity of ml-25m. "
        "Times are of a shared virtual machine: compare them within a table.",
    ]
    for kind, section in (("run", run_section), ("neighbors", neighbors_section), ("memory", memory_section)):
        for scale in options.scales:
            results = read_result(f"{kind}-{scale}")
            if results is not None:
                parts.append(section(results, f"{kind}-{scale}"))
    (DOCS / "benchmarks.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
