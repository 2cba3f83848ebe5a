"""Configurations tried on ratings held out of train: what is compared, in what order, and that it goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import cli
from engine.artifacts.readers import read_held_out
from engine.artifacts.records import Calibrated
from engine.chunked.errors import BudgetError, UsageError
from engine.chunked.journal import Committed
from engine.chunked.loop import run_beside
from engine.config import Config
from engine.serving import tuning
from engine.serving.finished import open_finished
from engine.serving.tuning import tune
from tests.support.pipeline import SMALL, finish_run
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")

SPACE = {"neighbors.k": (7, 3), "factors.dims": (4, 8), "evaluate.amplification": (1.0, 4.0)}
SECTIONS: dict[str, Any] = {"preset": "default", "factors": SMALL, "neighbors": {"k": 7}, "evaluate": {"k": 6}}


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "SPACES", {"recall": SPACE, "rmse": {"predict.shrink": (0.0, 2.0, 9.0)}})


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return finish_run(write_ratings(tmp_path, synthetic_ratings(90, 60)), tmp_path / "run", **SECTIONS)


def held_out(where: Path) -> tuple[Calibrated, Any]:
    stage: Committed = open_finished(where).stages["calibrate"]
    return Calibrated.of(stage), read_held_out(stage, 2)


def test_the_first_is_the_runs_own_with_the_figures_that_the_run_has(where: Path) -> None:
    chosen, held = held_out(where)
    found = tune(where, minutes=0)
    assert [trial.changed for trial in found.trials] == [{}]
    assert not found.complete
    assert found.trials[0].before
    assert found.trials[0].value == pytest.approx(chosen.ranking.recall.gain)
    total = n = 0.0
    for sums, counts in zip(held.sums, held.counts, strict=True):
        for user, count in zip(sums, counts, strict=True):
            signed = [1, -chosen.rating.weights.latent, -chosen.rating.weights.near]
            total += sum(signed[i] * signed[j] * user[i, j] for i in range(3) for j in range(3))
            n += count
    assert tune(where, minutes=0, by="rmse").trials[0].value == pytest.approx(math.sqrt(total / n))


@pytest.mark.usefixtures("space")
def test_what_is_best_is_no_worse_than_the_runs_own_and_gains_are_from_that(where: Path) -> None:
    found = tune(where, minutes=10)
    assert found.complete
    assert found.trials[0].changed == {}
    tried = [json.dumps(trial.changed) for trial in found.trials]
    assert len(tried) == len(set(tried)) > 3
    assert (found.best.value or 0) >= (found.trials[0].value or 0)
    for trial in found.trials[1:]:
        assert trial.gain.gain == pytest.approx((trial.value or 0) - (found.trials[0].value or 0))


@pytest.mark.usefixtures("space")
def test_one_parameter_is_varied_at_a_time_and_its_best_value_kept(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = open_finished(where).settings

    def measure(run: Any, changed: dict[str, Any], by: Any, *more: Any) -> Any:
        """Best are 8 dimensions and, with those, 3 neighbours; without, the run's 7."""
        values = {"neighbors.k": 7, "factors.dims": settings.factors.dims} | changed
        wide = values["factors.dims"] == 8
        recall = wide + 0.5 * (values["neighbors.k"] == (3 if wide else 7))
        return tuning._Figure(by, np.full(4, recall, dtype=float), np.ones(4, dtype=np.int64)), False

    monkeypatch.setattr(tuning, "_measure", measure)
    monkeypatch.setattr(tuning, "SPACES", {"recall": {"neighbors.k": (7, 3), "factors.dims": (4, 8)}})
    found = tune(where, minutes=10)
    one = [{}, {"neighbors.k": 3}] + [{"factors.dims": dims} for dims in (4, 8) if dims != settings.factors.dims]
    assert [trial.changed for trial in found.trials] == [
        *one,
        {"factors.dims": 8, "neighbors.k": 3},
        {"factors.dims": 4, "neighbors.k": 3},
    ]
    assert found.best.changed == {"factors.dims": 8, "neighbors.k": 3}
    assert found.complete


@pytest.mark.usefixtures("space")
def test_it_goes_on_where_it_was_and_tries_nothing_twice(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tune(where, minutes=10, by="rmse")
    again = tune(where, minutes=10, by="rmse")
    assert [trial.before for trial in again.trials] == [True] * len(whole.trials)
    assert [trial.value for trial in again.trials] == [trial.value for trial in whole.trials]
    assert again.best.changed == whole.best.changed

    class KilledError(Exception):
        pass

    calls: list[Any] = []

    def dies(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KilledError
        return run_beside(*args, **kwargs)

    monkeypatch.setattr(tuning, "run_beside", dies)
    with pytest.raises(KilledError):
        tune(where, minutes=10)
    monkeypatch.undo()
    monkeypatch.setattr(tuning, "SPACES", {"recall": SPACE})
    after = tune(where, minutes=10)
    assert [trial.before for trial in after.trials][:3] == [True, True, False]


@pytest.mark.usefixtures("space")
def test_test_ratings_have_no_say(tmp_path: Path) -> None:
    ratings = synthetic_ratings(90, 60)
    is_test = pl.int_range(pl.len()) % 5 == 0
    train, test = ratings.filter(~is_test), ratings.filter(is_test)
    other = test.with_columns(rating=5.5 - pl.col("rating")).filter(pl.int_range(pl.len()) % 2 == 0)
    found = []
    for name, each in (("one", test), ("other", other)):
        folder = tmp_path / name
        folder.mkdir()
        path, given = folder / "ratings.csv", folder / "test.csv"
        train.write_csv(path)
        each.write_csv(given)
        where = finish_run(path, folder / "run", **SECTIONS, test=str(given))
        found.append([(trial.changed, trial.value) for trial in tune(where, minutes=10).trials])
    assert found[0] == found[1]


@pytest.mark.usefixtures("space")
def test_what_does_not_fit_is_passed_over(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tuning._measure

    def measure(run: Any, changed: Any, *more: Any) -> Any:
        if changed.get("predict.shrink") == 9.0:
            raise BudgetError("calibrate needs 2 GiB", enough=2**31)
        return real(run, changed, *more)

    monkeypatch.setattr(tuning, "_measure", measure)
    found = tune(where, minutes=10, by="rmse")
    (missed,) = [trial for trial in found.trials if trial.value is None]
    assert missed.changed == {"predict.shrink": 9.0}
    assert str(missed.why_not).startswith("calibrate needs 2 GiB")
    assert missed is not found.best


@pytest.mark.usefixtures("space")
def test_a_full_disk_ends_it_since_more_memory_is_no_help(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tuning._measure

    def measure(run: Any, changed: Any, *more: Any) -> Any:
        if changed:
            raise BudgetError("the run may take 2 GiB, but 1 GiB are free")
        return real(run, changed, *more)

    monkeypatch.setattr(tuning, "_measure", measure)
    with pytest.raises(BudgetError, match="1 GiB are free"):
        tune(where, minutes=10, by="rmse")


def test_every_parameter_varied_is_one_that_the_validation_depends_on() -> None:
    for space in tuning.SPACES.values():
        for key, values in space.items():
            section, name = key.split(".")
            assert section in Config.__struct_fields__
            for value in values:
                changed = tuning._with(Config(), {key: value})
                assert getattr(getattr(changed, section), name) == value


def test_what_cannot_be_tuned_says_what_to_do(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(40, 30))
    fixed = finish_run(path, tmp_path / "fixed", **SECTIONS, calibrate={"method": "fixed"})
    with pytest.raises(UsageError, match=r"run it with .* --set calibrate.method=validation"):
        tune(fixed, minutes=1)
    with pytest.raises(UsageError, match="give 0 or more"):
        tune(fixed, minutes=math.nan)
    clicks = finish_run(path, tmp_path / "clicks", **SECTIONS, matrix={"feedback": "implicit"})
    assert tune(clicks, minutes=0).trials[0].value is not None
    with pytest.raises(UsageError, match="tune by recall"):
        tune(clicks, minutes=0, by="rmse")


@pytest.mark.usefixtures("space")
def test_the_command_prints_a_table_and_what_to_set(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["tune", str(where), "--minutes", "10", "--by", "rmse", "--quiet"]
    assert cli.main(["tune", str(where), "--minutes", "0", "--by", "rmse", "--quiet"]) == 0
    assert "0 other configurations tried, 2 are left: more --minutes go on from here" in capsys.readouterr().out
    assert cli.main(given) == 0
    shown = capsys.readouterr().out
    assert "as the run" in shown
    assert "predict.shrink=9.0" in shown
    assert cli.main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"]
    assert [row["trial"] for row in found["trials"]] == list(range(len(found["trials"])))
    (best,) = [row for row in found["trials"] if row["best"]]
    assert best["set"] == found["best"]
    assert found["best"] or "nothing tried is better" in shown
    if found["best"]:
        assert "it may be chance" in shown
        again, compared = shown.splitlines()[-2:]
        assert f" --workdir {where}-tuned " in again
        assert f"--set predict.shrink={found['best']['predict.shrink']}" in again
        assert compared.endswith(f" compare {where} {where}-tuned")
    assert f"{len(found['trials']) - 1} other configurations tried, and none is left" in shown
    assert cli.main([*given, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "trial,set,rmse,gain,gain_error,best,why_not"
    assert len(lines) == 1 + len(found["trials"])
    assert np.isfinite([row["rmse"] for row in found["trials"]]).all()
