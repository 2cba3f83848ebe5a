"""The memory model: integers in, integers out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked.budget import MIB, Cost
from engine.chunked.errors import BudgetError
from engine.chunked.planning import RunPlan, StagePlan, plan_stage, refuse_full_disk, refuse_misfits
from engine.chunked.task import Costs, Planned
from engine.config import Config, Recommend, load
from engine.costs import COSTS, Shapes, disk, recommend
from engine.model.sizes import GRAM_ROWS, PROJECT_ROWS, RANGE_IDS, RANGE_SAMPLE
from tests.support.pipeline import STEPS, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

SHAPES = Shapes(10**9, n_ratings=25_000_000, n_users=160_000, n_items=59_000, most_ratings=32_000)


def test_every_step_has_a_model() -> None:
    assert list(COSTS) == [step.name for step in STEPS]


def test_a_pass_holds_the_basis_once_and_a_partial_sum_per_task() -> None:
    # Primes: a term left out or counted twice cannot cancel.
    settings = load({"factors": {"dims": 101, "oversamples": 6, "passes": 2, "partial_sums": 3}})
    # As many ratings as take several tasks a pass.
    shapes = Shapes(0, n_ratings=1009 * 2609, n_users=1009, n_items=503, most_ratings=97)
    plan = COSTS["factors"](settings, shapes)
    tall, as_multiplied = 4 * 503 * 107, 4 * 503 * 112
    pass_ = plan["pass-1"].cost
    projected = plan["project"].cost.task - 16 * 1009 * 2609 - PROJECT_ROWS * (4 * 112 + 16 * 107)
    assert pass_.task - as_multiplied - 12 * 97 == projected
    of_range = -(-(int(0.8 * 1009 * 2609) + 1009) // 3) + 97  # of the train ratings, at most
    assert (pass_.shared, pass_.row, pass_.max_rows) == (as_multiplied + 8 * 1009 + 16 * 503, 16, of_range)
    assert plan["basis-0"].cost.total(1, 1) - projected == 2 * tall + GRAM_ROWS * 107 * 8 + 12 * MIB + 24 * 503
    assert [name for name in plan if name.startswith("pass")] == ["pass-0", "pass-1"]


def test_layout_holds_lengths_and_row_pointers_of_all_users_and_one_partition() -> None:
    # Primes: a term left out or counted twice cannot cancel.
    more = replace(SHAPES, n_users=SHAPES.n_users + 1009, n_items=SHAPES.n_items + 503)
    before, after = (COSTS["matrix"](Config(), shapes) for shapes in (SHAPES, more))
    grown = {name: after[name].cost.task - before[name].cost.task for name in ("count", "layout")}
    assert grown == {"count": 2 * 503, "layout": (4 + 4 + 8 + 8) * 1009 + 40 * 503}
    assert before["count"].n_tasks == 96


def test_where_ratings_are_few_a_pass_holds_them_by_item_and_products_of_all_users() -> None:
    settings = load({"factors": {"dims": 101, "oversamples": 6, "passes": 2, "partial_sums": 3, "ratings": "raw"}})
    shapes = Shapes(0, n_ratings=1009 * 13, n_users=1009, n_items=100_003, most_ratings=97)
    few, more = (COSTS["factors"](settings, replace(shapes, n_users=users))["basis-1"].cost for users in (1009, 1010))
    assert more.task - few.task == 4 * 112 + 8 + 16 + 12 + (4 + 1 + 12)  # one train rating more, at most
    assert "pass-1" not in COSTS["factors"](settings, shapes)


def test_neighbours_by_cluster_need_a_place_for_each_user() -> None:
    more = replace(SHAPES, n_users=SHAPES.n_users + 1009)
    for method, of_user in (("pruned", 4), ("exact", 0)):
        settings = load({"index": {"method": method}})
        before, after = (COSTS["neighbors"](settings, shapes)["layout"].cost.task for shapes in (SHAPES, more))
        assert after - before == of_user * 1009


def test_residuals_start_from_loadings_that_are_mapped_in_all_their_dimensions() -> None:
    few, many = (
        COSTS["residuals"](load({"factors": {"dims": dims}, "residuals": {"dims": 32}}), SHAPES)["start"].cost.task
        for dims in (32, 32 + 101)
    )
    assert many - few == 4 * 101 * SHAPES.n_items


def test_partitions_grow_with_the_heaviest_user() -> None:
    heavier = replace(SHAPES, most_ratings=32_000 + 1009)
    for step, name, each in (("ingest", "partition", 74), ("split", "split", 62), ("matrix", "train", 24)):
        more = COSTS[step](Config(), heavier)[name].cost.task - COSTS[step](Config(), SHAPES)[name].cost.task
        assert more == 1009 * each


def test_of_many_users_a_round_that_counts_ids_holds_four_bytes_each() -> None:
    n = 10 * 2**20
    few, many = (
        COSTS["ingest"](Config(), replace(SHAPES, n_users=n + more, n_ratings=153 * (n + more))) for more in (0, 2**20)
    )
    grown = {name: many[name].cost.least() - each.cost.least() for name, each in few.items()}
    of_sample = 32 * 2 * 2 * RANGE_SAMPLE  # of two ranges more
    assert grown == {"convert": 0, "survey": 0, "count": 0, "merge": of_sample, "profile": 4 * 2**20, "partition": 0}
    assert (many["merge"].n_tasks, few["merge"].n_tasks) == (23, 21)


def test_what_a_task_counts_or_puts_together_is_held_by_it() -> None:
    # Primes: a term left out or counted twice cannot cancel.
    shapes = Shapes(0, n_rows=31 * 2**21, n_users=RANGE_IDS - 1009, n_items=503, texts=True)
    texts = replace(shapes, user_text_bytes=7 * shapes.n_users)
    longer = replace(shapes, user_text_bytes=18 * shapes.n_users)
    plans = [COSTS["ingest"](Config(), each) for each in (shapes, texts, longer, replace(texts, n_users=RANGE_IDS))]
    assert [plan["count"].n_tasks for plan in plans] == [31] * 4
    count, merge = ([plan[name].cost.task for plan in plans] for name in ("count", "merge"))
    assert count[1] - count[0] == 2 * 7 * shapes.n_users
    assert count[2] - count[1] == 2 * 11 * shapes.n_users
    assert count[3] - count[1] == 2 * (16 + 16) * 1009  # of merging, which is most
    assert merge[1] - merge[0] == (3 * 7 + 16) * shapes.n_users
    assert merge[3] - merge[1] == (2 * (16 + 16) + 12 + 16) * 1009
    assert "order" not in plans[3]
    two, three = (
        COSTS["ingest"](Config(), replace(texts, n_users=2 * RANGE_IDS, user_text_bytes=2 * size * RANGE_IDS))["order"]
        for size in (7, 20)
    )
    assert (two.n_tasks, three.cost.task - two.cost.task) == (2, 3 * 13 * RANGE_IDS)


@pytest.mark.parametrize("step", ["biases", "evaluate", "predict"])
def test_what_is_needed_at_least_does_not_grow_with_the_ratings(step: str) -> None:
    # Of the same users and items; the most that users have together stays, too.
    of_users = tuple(min(32_000 * 2**power, 10**7) for power in range(18))
    few, many = (COSTS[step](Config(), replace(SHAPES, n_ratings=n, most_of_users=of_users)) for n in (10**8, 10**9))
    for name in few:
        assert abs(many[name].cost.least() - few[name].cost.least()) < MIB, name


def test_where_it_fits_the_train_matrix_is_held_instead_of_batches() -> None:
    # Primes: a term left out or counted twice cannot cancel.
    shapes = Shapes(0, n_ratings=1009 * 1013, n_users=1009, n_items=70_001, most_ratings=97, value_bytes=3)
    settings = load({"neighbors": {"k": 11}})
    cost = COSTS["evaluate"](settings, shapes)["users"].cost
    n = int(1009 * 1013 * 0.8) + 1009
    assert (cost.row, cost.cache) == (3 + 4, (3 + 4) * n + 8 * 1010)
    assert cost.max_rows == n + 32 * 1009
    assert cost.min_rows == max(11 * (97 + 32), 2**20)


@given(
    n_users=st.integers(1, 10**7),
    per_user=st.integers(1, 300),
    n_items=st.integers(1, 10**6),
    most=st.integers(1, 50_000),
    step=st.sampled_from(list(COSTS)),
)
def test_more_data_never_needs_less(n_users: int, per_user: int, n_items: int, most: int, step: str) -> None:
    small, large = (
        Shapes(
            n * 10**6, n_ratings=n * n_users * per_user, n_users=n * n_users, n_items=n * n_items, most_ratings=n * most
        )
        for n in (1, 2)
    )
    before, after = COSTS[step](Config(), small), COSTS[step](Config(), large)
    # Where users are one part, items are fitted in another way; where ratings are few, one task makes a pass.
    assert before.keys() <= after.keys() or (step in ("refine", "residuals") and "items-0" in before)
    both = before.keys() & after.keys()
    if "count" in after.keys() - before.keys():
        both -= {"profile", "layout"}  # the last of them now, which all was before
    if "pass-0" in after.keys() - before.keys():
        both -= {name for name in after if name.startswith("basis")}
    assert all(before[name].cost.least() <= after[name].cost.least() for name in both)
    assert all(before[name].n_tasks <= after[name].n_tasks for name in both)


def test_more_of_something_than_there_is_costs_nothing() -> None:
    few = Shapes(10**6, n_ratings=100_000, n_users=671, n_items=8_445, most_ratings=2_000)

    def least(most: int) -> dict[str, int]:
        sections: dict[str, tuple[str, ...]] = {
            "neighbors": ("k", "sample_users", "probe_users"),
            "item_neighbors": ("k", "ranking_k", "probe_items"),
            "cooccurrence": ("k",),
        }
        sections |= {"evaluate": ("k",), "factors": ("dims",), "residuals": ("dims",)}
        settings = load({section: dict.fromkeys(keys, most) for section, keys in sections.items()})
        rounds = {step: model(settings, few) for step, model in COSTS.items()}
        rounds["recommend"] = recommend(settings, Recommend(k=most), few)
        written = disk(settings, few)
        needed = {step: max(each.cost.least() for each in plan.values()) for step, plan in rounds.items()}
        return needed | {f"{step} on disk": size.most for step, size in written.items()}

    assert least(10**6) == least(10**12)


ROUNDS = {"small": Planned(5, Cost(task=10 * MIB)), "large": Planned(1, Cost(task=90 * MIB, shared=7 * MIB))}


def test_a_stage_needs_what_its_largest_round_needs() -> None:
    plan = plan_stage("s", Costs(ROUNDS), allowed=200 * MIB, reserved=50 * MIB, max_workers=2)
    assert (plan.tasks, plan.needed, plan.projected, plan.workers) == (6, 147 * MIB, 147 * MIB, 1)


def test_the_remedy_of_a_refusal_works() -> None:
    tight = plan_stage("s", Costs(ROUNDS), allowed=100 * MIB, reserved=50 * MIB, max_workers=2)
    with pytest.raises(BudgetError, match=r's needs 147 MiB .* 100 MiB are allowed: .* memory="152MiB"$'):
        refuse_misfits(RunPlan([tight], 100 * MIB, 0))
    assert RunPlan([tight], 100 * MIB, 0).floor == 152 * MIB
    enough = plan_stage("s", Costs(ROUNDS), allowed=152 * MIB, reserved=50 * MIB, max_workers=2)
    refuse_misfits(RunPlan([enough], 152 * MIB, 0))


# MiB that each stage's processes were seen to hold before data, the parent included, and some.
RESERVED = {"ingest": 95, "split": 86, "matrix": 110, "factors": 90, "index": 76, "neighbors": 76, "evaluate": 86}
RESERVED["refine"] = 82
RESERVED |= dict.fromkeys(("biases", "residuals", "calibrate", "item_neighbors", "cooccurrence", "predict"), 92)


def test_a_run_of_ml_25m_needs_less_than_192_mib() -> None:
    of_a_file = replace(SHAPES, source_bytes=650 * 10**6, n_pieces=11)
    plans = [
        plan_stage(step, Costs(rounds), allowed=192 * MIB, reserved=RESERVED[step] * MIB, max_workers=2)
        for step, rounds in ((step, model(Config(), of_a_file)) for step, model in COSTS.items())
    ]
    refuse_misfits(RunPlan(plans, 192 * MIB, 0))


def test_a_disk_without_room_is_refused() -> None:
    needed = disk(Config(), SHAPES)
    assert set(needed) == set(COSTS)
    stages = [StagePlan(name, {}, 1, 1, False, 0, 1, 1, 1, *size) for name, size in needed.items()]
    total = RunPlan(stages, MIB, 0).disk
    assert max(size.most for size in needed.values()) < total < sum(size.most for size in needed.values())
    refuse_full_disk(RunPlan(stages, MIB, total), "w")
    with pytest.raises(BudgetError, match=r"w: the run may take .* in refine.* are free"):
        refuse_full_disk(RunPlan(stages, MIB, total - 1), "w")


def test_what_stays_of_a_stage_is_there_with_what_the_next_takes() -> None:
    sizes = [(70, 30), (60, 10), (5, 5), (40, 40)]
    stages = [StagePlan("s", {}, 1, 1, False, 0, 1, 1, 1, *size) for size in sizes]
    assert [RunPlan(stages[:n], MIB, 0).disk for n in range(5)] == [0, 70, 90, 90, 90]
    assert RunPlan([*stages, stages[2]], MIB, 0).disk == 90
    assert RunPlan([*stages, stages[3]], MIB, 0).disk == 30 + 10 + 5 + 40 + 40
    plan = plan_stage("s", Costs(ROUNDS, 50), allowed=200 * MIB, reserved=0, max_workers=2)
    assert (plan.disk, plan.kept) == (50, 50)  # nothing is said of what stays


def test_more_memory_than_is_useful_changes_nothing() -> None:
    rounds = {"only": Planned(3, Cost(task=10 * MIB, shared=5 * MIB, row=7, max_rows=1009, min_rows=11))}
    plans = [
        plan_stage("s", Costs(rounds), allowed=size, reserved=20 * MIB, max_workers=2)
        for size in (100 * MIB, 45 * MIB + 2 * 7 * 1009, 45 * MIB + 2 * 7 * 1009 - 1)
    ]
    assert plans[0].useful == plans[1].projected == plans[0].projected == 45 * MIB + 2 * 7 * 1009
    assert (plans[1].workers, plans[1].batch_rows) == (2, 1009)
    assert (plans[2].workers, plans[2].batch_rows) == (2, 1008)


def test_a_run_writes_no_more_than_was_said(tmp_path: Path) -> None:
    ratings = synthetic_ratings(n_users=300, n_items=200, seed=3)
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", preset="default")
    profile = run["ingest"].result("profile.00000")
    needed = disk(Config(), Shapes(0).profiled(profile))
    for name, committed in run.items():
        written = sum(path.stat().st_size for path in committed.path(".").rglob("*") if path.is_file())
        records = sum(path.stat().st_size for path in committed.path(".").glob("records/*"))
        assert written - records <= needed[name].kept + 64 * 1024, name  # headers of files, which no shape explains


def test_counting_a_parquet_file_holds_its_largest_row_group() -> None:
    small, large = (Shapes(10**9, columnar=True, group_bytes=size) for size in (10 * MIB, 300 * MIB))
    for name in ("convert", "survey", "profile"):
        before, after = (COSTS["ingest"](Config(), shapes)[name].cost.least() for shapes in (small, large))
        assert after - before == 290 * MIB
