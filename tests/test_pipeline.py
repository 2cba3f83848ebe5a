"""The whole pipeline on the real sample, and on data so small that something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engine
from engine.config import Config, load
from tests.support.here import in_this_process


@pytest.fixture(scope="module")
def sample_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> engine.RunResult:
    workdir = tmp_path_factory.mktemp("sample-run") / "run"
    return engine.run(Config(dataset=str(sample_dir), workdir=str(workdir), memory="1GiB"))


def run(settings: Config) -> engine.RunResult:
    """A run in this process, of which no memory is measured."""
    with in_this_process():
        return engine.run(settings)


def test_the_sample_is_better_predicted_and_ranked_than_in_the_notebook(sample_run: engine.RunResult) -> None:
    metrics = sample_run.metrics
    counts = ("n_train", "n_test", "n_users", "n_items", "n_test_scored", "n_ratings")
    assert [metrics[name] for name in counts] == [80_251, 19_753, 671, 8445, 19_075, 100_004]
    assert metrics["rmse"] <= 0.855
    assert metrics["recall_at_50"] >= 0.440
    assert metrics["n_users_with_liked"] <= 671
    assert metrics["synthetic"] is False
    assert metrics["config"]["neighbors"]["k"] == 50


def test_the_notebooks_own_preset_asks_graphs(sample_run: engine.RunResult, sample_dir: Path) -> None:
    settings = load(
        {"dataset": str(sample_dir), "workdir": str(sample_run.workdir), "memory": "1GiB", "preset": "notebook"}
    )
    metrics = run(settings).metrics
    assert metrics["neighbors"]["method"] == "hnsw"
    assert metrics["neighbors"]["recall"] > 0.99
    assert metrics["rmse"] == pytest.approx(3.170, abs=0.01)
    assert metrics["recall_at_50"] == pytest.approx(0.405, abs=0.01)
    run(Config(dataset=str(sample_dir), workdir=str(sample_run.workdir), memory="1GiB"))


def test_what_is_returned_is_what_is_written(sample_run: engine.RunResult) -> None:
    assert json.loads((sample_run.workdir / "metrics.json").read_text()) == sample_run.metrics
    assert all(folder.is_dir() for folder in sample_run.artifacts.values())


def test_every_stage_reports_what_it_measured(sample_run: engine.RunResult) -> None:
    assert [stage.stage for stage in sample_run.stages] == list(sample_run.artifacts)
    assert all(0 < stage.measured <= 2**30 for stage in sample_run.stages if not stage.idle)


def test_a_second_run_does_nothing_and_says_the_same(sample_run: engine.RunResult, sample_dir: Path) -> None:
    again = run(Config(dataset=str(sample_dir), workdir=str(sample_run.workdir), memory="1GiB"))
    assert all(stage.skipped for stage in again.stages)
    assert again.metrics == sample_run.metrics


def test_a_late_parameter_redoes_only_what_follows_and_its_old_result_is_kept(
    sample_run: engine.RunResult, sample_dir: Path
) -> None:
    def redone(**sections: object) -> list[str]:
        settings = load({"dataset": str(sample_dir), "workdir": str(sample_run.workdir), "memory": "1GiB", **sections})
        return [stage.stage for stage in run(settings).stages if not stage.skipped]

    assert redone(neighbors={"k": 20}) == ["neighbors", "calibrate", "residuals", "predict", "evaluate"]
    assert redone() == []


def write(folder: Path, rows: list[tuple[object, object, float]]) -> Path:
    path = folder / "ratings.csv"
    lines = [f"{user},{item},{rating}" for user, item, rating in rows]
    path.write_text("userId,movieId,rating\n" + "\n".join(lines) + "\n")
    return path


def run_small(tmp_path: Path, rows: list[tuple[object, object, float]], **sections: object) -> dict[str, object]:
    source = write(tmp_path, rows)
    settings = load({"dataset": str(source), "workdir": str(tmp_path / "run"), "memory": "1GiB"}, sections)
    return run(settings).metrics


def test_one_user(tmp_path: Path) -> None:
    metrics = run_small(tmp_path, [(7, item, 3.0 + item % 2) for item in range(10)])
    assert (metrics["n_users"], metrics["n_train"], metrics["n_test"]) == (1, 8, 2)
    assert metrics["n_test_scored"] == 0
    assert metrics["rmse"] is None
    assert "occurs in train" in str(metrics["why_no_rmse"])
    assert metrics["recall_at_50"] is None


def test_nobody_likes_anything(tmp_path: Path) -> None:
    rows: list[tuple[object, object, float]] = [
        (user, item, 1.0 + (user + item) % 2) for user in range(8) for item in range(6)
    ]
    metrics = run_small(tmp_path, rows, evaluate={"liked_from": 4})
    assert metrics["recall_at_50"] is None
    assert "at least 4.0" in str(metrics["why_no_recall"])
    assert metrics["rmse"] == pytest.approx(0.0, abs=2.0)


def test_users_with_few_ratings_stay_in_train(tmp_path: Path) -> None:
    metrics = run_small(tmp_path, [(user, item, 5.0) for user in range(3) for item in range(4)])
    assert (metrics["n_train"], metrics["n_test"]) == (12, 0)


def test_text_ids_unsorted_rows_and_repeated_pairs(tmp_path: Path) -> None:
    rows: list[tuple[object, object, float]] = [
        (f"u{user}", f"film {item}", 1 + (user + item) % 5) for item in range(9) for user in range(12)
    ]
    metrics = run_small(tmp_path, [("u3", "film 2", 5.0), *rows])
    assert metrics["n_repeated"] == 1
    assert metrics["n_train"] + metrics["n_test"] == len(rows)  # type: ignore[operator]
    assert metrics["sorted_by_user"] is False


def test_other_columns_of_the_same_file_are_other_data(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rows = [f"{user},{item},{1 + (user * item) % 5},3" for user in range(8) for item in range(7)]
    path.write_text("a,b,c,d\n" + "\n".join(rows) + "\n")

    def counts(*columns: str) -> tuple[int, int]:
        settings = Config(dataset=str(path), columns=columns, workdir=str(tmp_path / "w"), memory="1GiB")
        metrics = run(settings).metrics
        return metrics["n_users"], metrics["n_ratings"]

    assert counts("a", "b", "c") == (8, 56)
    assert counts("b", "a", "c") == (7, 56)


def test_files_that_vanished_or_shrank_are_made_again_before_they_are_used(tmp_path: Path) -> None:
    source = write(tmp_path, [(user, item, 1 + (user + item) % 5) for user in range(30) for item in range(9)])
    settings = {"dataset": str(source), "workdir": str(tmp_path / "w"), "memory": "1GiB"}
    before = run(load(settings))
    for name, pattern in (("neighbors", "ids/c/0/0"), ("matrix", "train/data/c/0"), ("split", "train/*.parquet")):
        (victim,) = before.artifacts[name].local().glob(pattern)
        whole = victim.read_bytes()
        victim.write_bytes(whole[:-1]) if name == "matrix" else victim.unlink()
        after = run(load(settings, {"evaluate": {"k": 49}}))
        assert victim.read_bytes() == whole
        assert after.metrics["recall_at_49"] == before.metrics["recall_at_50"]
    (before.artifacts["split"].local() / "records/draw.00000.json").write_text("{")
    assert run(load(settings)).metrics == before.metrics


def test_a_python_configuration_is_checked_too(tmp_path: Path) -> None:
    from engine.chunked.errors import UsageError
    from engine.config import Neighbors

    with pytest.raises(UsageError, match=r"neighbors\.k"):
        run(Config(dataset="sample", workdir=str(tmp_path), neighbors=Neighbors(k=0)))
    with pytest.raises(UsageError, match="no preset"):
        run(Config(dataset="sample", workdir=str(tmp_path), preset="nope"))
