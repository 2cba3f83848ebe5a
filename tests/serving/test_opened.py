"""A run that is opened to answer: until when it does, what it holds, and lists for everybody of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from engine.chunked import publishing, workdir
from engine.chunked.errors import BudgetError, DamagedError, LockedError, UsageError
from engine.serving import rough
from engine.serving.everybody import recommend_all
from engine.serving.finished import open_finished
from engine.serving.recommender import Recommender
from tests.chunked.test_lock import hold_elsewhere
from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run


@contextmanager
def held(where: Path) -> Iterator[None]:
    """The work directory in use by another process."""
    with hold_elsewhere(where / workdir.LOCK) as process:
        try:
            yield
        finally:
            process.kill()


def with_somebody_who_knows_all(ratings: pl.DataFrame) -> pl.DataFrame:
    """Two items more that only one user each has rated, and a user who has rated all others."""
    rare = pl.DataFrame({"userId": [9001, 9002], "movieId": [9001, 9002], "rating": [5.0, 1.0]})
    known = ratings.select(userId=pl.lit(9003), movieId="movieId", rating=pl.lit(4.0)).unique(maintain_order=True)
    return pl.concat([each.cast(ratings.schema) for each in (ratings, rare, known)])


def test_an_open_run_answers_from_any_folder(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Recommender.open(small).recommend([2, 5])
    monkeypatch.chdir(small.parent)
    recommender = Recommender.open(small.name)
    monkeypatch.chdir("/")
    assert recommender.recommend([2, 5]).equals(expected)
    assert recommender.similar_users(2, 3).height == 3
    with pytest.raises(UsageError, match=f"no user 1 in {small}: "):
        recommender.recommend([1])


FORKS = """
import os, sys
from engine.serving.recommender import Recommender
recommender = None if sys.argv[2] == "before" else Recommender.open(sys.argv[1])
if sys.argv[2] == "after":
    recommender.recommend([2])
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for ask in (lambda: recommender.recommend([2]), lambda: Recommender.open(sys.argv[1]).similar_users(2).height):
    try:
        print(ask() is not None, flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("forked", ["after", "opened", "before"])
def test_a_forked_process_answers_or_is_told_at_once_that_it_cannot(forked: str, small: Path) -> None:
    command = [sys.executable, "-c", FORKS, str(small), forked]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    lines = ran.stdout.splitlines()
    if forked == "before":
        assert lines[1] == "True"
    else:
        told = "UsageError this process was forked from process "
        assert [line.startswith(told) for line in lines] == [True, True], lines


def test_a_run_that_is_not_finished_or_damaged_is_no_ground_to_recommend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no work directory"):
        Recommender.open(tmp_path)
    where = run(tmp_path, synthetic_ratings(40, 30))
    chunk = next(path for path in open_finished(where).stages["neighbors"].path("ids/c").rglob("*") if path.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match=r"recorded are .* the next run mends it"):
        Recommender.open(where)
    chunk.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(DamagedError, match=r"content altered.*the next run mends it"):
        Recommender.open(where).recommend([2])
    with pytest.raises(DamagedError, match=r"content altered.*the next run does neighbors again"):
        recommend_all(where, tmp_path / "lists.parquet")
    chunk.write_bytes(whole)
    publishing.withdraw(where, {stage.root.name for stage in open_finished(where).stages.values()})
    workdir.withdraw_figures(where)
    with pytest.raises(UsageError, match=r"not finished, .*; run it again"):
        Recommender.open(where)
    with held(where), pytest.raises(UsageError, match=r"not finished, .*; process .* is at it"):
        Recommender.open(where)


@pytest.mark.parametrize("more", [{}, {"preset": "notebook"}])
def test_everybodys_lists_are_each_ones(tmp_path: Path, more: dict[str, Any]) -> None:
    where = run(tmp_path, with_somebody_who_knows_all(synthetic_ratings(90, 60)), **more)
    recommender = Recommender.open(where)
    for include_test in (False, True):
        out = tmp_path / f"{include_test}.parquet"
        made = recommend_all(
            where,
            out,
            k=np.int64(4),  # type: ignore[arg-type]
            include_test=include_test,
            memory="1GiB",
            workers=2,
        )
        expected = recommender.recommend(recommender.users, 4, include_test=include_test).drop("title", "reason_title")
        found = pl.read_parquet(out)
        assert found.equals(expected.select(found.columns))
        assert not found["mean_rating"].is_nan().any()
        assert (made.n_items, made.n_users) == (found.height, 93)
        without = recommender.recommend(recommender.users, 4, include_test=include_test, on_empty="skip")["user"]
        assert made.n_popular == 93 - without.n_unique() == found.filter("popular")["user"].n_unique()
        assert 0 < made.run.stages[0].measured <= made.run.stages[0].projected <= made.run.allowed
        assert (made.n_popular > 0) == (not include_test)
    again = recommend_all(where, out, k=4, include_test=True)
    assert again.run.stages[0].skipped
    assert pl.read_parquet(out).equals(found)


def test_lists_for_everybody_are_mended_and_refused_as_a_run_is(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "lists.parquet"
    with pytest.raises(BudgetError, match=r"recommend needs .* give the run memory="):
        recommend_all(small, out, memory="60MiB")
    refused: tuple[dict[str, Any], ...] = (
        {"k": 0},
        {"k": "3"},
        {"k": True},
        {"include_test": 1},
        {"workers": 1.5},
        {"memory": 3.5},
    )
    for more in refused:
        with pytest.raises(UsageError):
            recommend_all(small, out, **more)
    for target in (tmp_path, tmp_path / "no" / "lists.parquet"):
        with pytest.raises(UsageError, match="cannot be written"):
            recommend_all(small, target)
    with held(small), pytest.raises(LockedError):
        recommend_all(small, out)
    assert not out.exists()
    recommend_all(small, out)
    before = out.read_bytes()
    made = next(small.glob("stages/recommend-*/recommended.parquet"))
    made.write_bytes(before[:-7])
    assert not recommend_all(small, out).run.stages[0].skipped
    assert out.read_bytes() == made.read_bytes() == before


def test_an_open_run_answers_until_it_is_reloaded_or_removed(tmp_path: Path) -> None:
    ratings = synthetic_ratings(40, 30)
    where = run(tmp_path, ratings)
    recommender = Recommender.open(where)
    before = recommender.recommend([2, 5], 4)
    assert not recommender.newer
    last = workdir.last_run(where)
    assert last is not None
    workdir.write_last_run(where, msgspec.structs.replace(last, figures=""))  # the next has begun
    assert Recommender.open(where).recommend([2, 5], 4).equals(before)
    run(tmp_path, ratings.filter(pl.col("userId") > 2))
    assert recommender.newer
    assert recommender.recommend([2, 5], 4).equals(before)
    recommender.reload()
    assert not recommender.newer
    assert 2 not in recommender.users
    stale, held = Recommender.open(where, memory=None), Recommender.open(where)
    before = held.recommend([5])
    run(tmp_path, ratings.filter(pl.col("userId") > 5))
    assert stale.recommend([5]).equals(before)  # of other ratings, the last run stays
    run(tmp_path, ratings.filter(pl.col("userId") > 8))
    assert held.recommend([5]).equals(before)
    with pytest.raises(UsageError, match=r"newer run has removed .* reload\(\)"):
        stale.recommend([5])
    stale.reload()
    assert 8 not in stale.users


def test_a_run_that_cannot_be_opened_leaves_the_one_that_is(tmp_path: Path) -> None:
    where = run(tmp_path, synthetic_ratings(40, 30))
    recommender = Recommender.open(where)
    before = recommender.recommend([2])
    (where / workdir.PUBLISHED).write_bytes(b"{}")
    for asked in (recommender.reload, lambda: recommender.newer):
        with pytest.raises(DamagedError, match=workdir.PUBLISHED):
            asked()
    assert recommender.recommend([2]).equals(before)


def test_what_is_closed_says_so(small: Path) -> None:
    with Recommender.open(small) as recommender:
        assert f"{len(recommender.users)} users" in repr(recommender)
    assert "closed" in repr(recommender)
    recommender.close()
    asked: list[Callable[[], object]] = [
        lambda: recommender.users,
        lambda: recommender.items,
        lambda: recommender.predicts_ratings,
        lambda: recommender.recommend([2]),
        lambda: recommender.predict([2], [1]),
        lambda: recommender.similar_users(2),
        lambda: recommender.similar_items(1),
        lambda: recommender.likes([1]),
        lambda: recommender.fold_in([1], [5]),
        lambda: recommender.titles(pl.Series([1])),
    ]
    for ask in asked:
        with pytest.raises(UsageError, match="is closed: open it again"):
            ask()
    recommender.reload()
    assert len(recommender.recommend([2], 1)) == 1


@pytest.mark.parametrize("preset", ["default", "notebook"])
def test_what_is_held_or_unpacked_changes_no_answer_and_is_within_what_is_allowed(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rough, "_ROWS_FOR_ONE", 1)
    ratings = synthetic_ratings(60, 50)
    tmp_path.joinpath("movies.csv").write_text('movieId,title\n1,"One, the"\n8,Eight\n')
    where = run(tmp_path, ratings, preset=preset, item_neighbors={"k": 5}, neighbors={"k": 7, "users_per_chunk": 16})
    reading = Recommender.open(where, memory=None)
    users, items = reading.users.sample(40, seed=1, with_replacement=True), reading.items.sample(40, seed=2)

    def answers(recommender: Recommender) -> list[pl.DataFrame]:
        me = recommender.fold_in([1, 8, 15], [5, 3, 1])
        return [
            recommender.recommend(users, 5),
            recommender.recommend(users, 5, include_test=True),
            recommender.recommend(me, 5),
            recommender.predict(users, items),
            recommender.similar_users(users[0], 4),
            recommender.similar_users(me, 4),
            *([recommender.similar_items(items[0], 4)] if preset == "default" else []),
        ]

    expected = answers(reading)
    assert reading._opened.held == 0
    whole = Recommender.open(where)
    everything = whole._opened.held
    for memory in range(1, everything + 1, max(1, everything // 12)):
        some = Recommender.open(where, memory=memory)
        assert some._opened.held <= memory
        assert all(one.equals(other) for one, other in zip(answers(some), expected, strict=True))
    assert Recommender.open(where, memory=everything)._opened.held == everything > 0
    for held in (None, everything // 2):
        unpacked = Recommender.open(where, memory=held, unpack=True)
        assert unpacked._opened.reads_nothing
        assert held or unpacked._opened.rough
        assert all(one.equals(other) for one, other in zip(answers(unpacked), expected, strict=True))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1))
    with pytest.raises(BudgetError, match=r"temporary files of .* 1 bytes are free in .*set TMPDIR"):
        Recommender.open(where, memory=None, unpack=True)
    for wrong in ("much", 0, -1, 1.5):
        with pytest.raises(UsageError):
            Recommender.open(where, memory=wrong)  # type: ignore[arg-type]


def test_threads_ask_at_the_same_time_and_one_reloads(small: Path) -> None:
    with Recommender.open(small) as recommender, ThreadPoolExecutor(4) as pool:
        alone = {user: recommender.recommend([user], 3) for user in recommender.users.head(20)}
        reloads = [pool.submit(recommender.reload) for _ in range(5)]
        asked = [(user, pool.submit(recommender.recommend, [user], 3)) for user in alone for _ in range(3)]
        assert all(answer.result().equals(alone[user]) for user, answer in asked)
        assert all(reload.result() is None for reload in reloads)
