"""A recommender of ratings that somebody has in memory, and answers in the tables that they ask with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix

import engine
from engine import Recommender, driver
from engine.chunked.errors import Interrupted, UsageError
from engine.serving.given import as_dataset
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")

RATINGS = synthetic_ratings(40, 30)
SMALL: dict[str, Any] = {"factors": {"dims": 12, "oversamples": 4, "passes": 2}, "neighbors": {"k": 7}}
GIVEN: dict[str, Callable[[Path], Any]] = {
    "path": lambda folder: write_ratings(folder, RATINGS),
    "polars": lambda folder: RATINGS,
    "lazy": lambda folder: RATINGS.lazy(),
    "pandas": lambda folder: RATINGS.to_pandas(),
    "array": lambda folder: RATINGS.to_numpy(),
    "fields": lambda folder: RATINGS.to_numpy(structured=True),
    "columns": lambda folder: [RATINGS["userId"].to_list(), RATINGS["movieId"].to_numpy(), RATINGS["rating"]],
    "sparse": lambda folder: csr_matrix(
        (RATINGS["rating"].to_numpy(), (RATINGS["userId"].to_numpy(), RATINGS["movieId"].to_numpy()))
    ),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return Recommender.fit(RATINGS, memory="512MiB", workdir=tmp_path_factory.mktemp("fit") / "w", **SMALL)


@pytest.mark.parametrize("kind", GIVEN)
def test_ratings_are_taken_as_they_are_given(kind: str, fitted: Recommender, tmp_path: Path) -> None:
    with Recommender.fit(GIVEN[kind](tmp_path), memory="512MiB", **SMALL) as recommender:
        folder = Path(str(recommender._where)).parent
        assert folder.is_dir()
        users = recommender.users
        assert users.equals(fitted.users)
        assert recommender.recommend(users, 4).equals(fitted.recommend(users, 4))
        recommender.reload()
        assert len(recommender.recommend(users[:1], 1)) == 1
    assert not folder.exists()


def test_everything_is_learned_from_and_other_columns_may_be_named(fitted: Recommender) -> None:
    rated = RATINGS.group_by("userId").agg("movieId")
    for user, items in rated.iter_rows():
        assert not set(fitted.recommend([user], 30)["item"]) & set(items)
    renamed = RATINGS.to_pandas().rename(columns={"userId": "who", "movieId": "what", "rating": "stars"})
    with Recommender.fit(renamed, columns=("who", "what", "stars"), memory="512MiB", **SMALL) as recommender:
        assert recommender.items.equals(fitted.items)
    texts = renamed.assign(who="u" + renamed["who"].astype(str))
    with Recommender.fit(texts, columns=("who", "what", "stars"), memory="512MiB", **SMALL) as recommender:
        assert "u5" in recommender.users
    with Recommender.fit(RATINGS, memory="512MiB", split={"method": "notebook"}, **SMALL) as recommender:
        assert recommender._opened.test.nnz > 0


def test_what_is_no_ratings_is_refused_in_a_sentence() -> None:
    wrong: list[tuple[Any, str]] = [
        (5, "dataset is 5"),
        (np.ones((3, 1)), "1 columns"),
        (np.array([[1.5, 2, 3]]), "user 1.5: ids are whole numbers or texts"),
        ([[1, 2], [1], [3.0, 4.0]], "shapes"),
        (RATINGS.head(0), "has no rows"),
        (RATINGS.select("userId"), "column"),
    ]
    for data, told in wrong:
        with pytest.raises(UsageError, match=told):
            Recommender.fit(data)
    with pytest.raises(UsageError, match="fit takes no 'dataset'"):
        Recommender.fit(RATINGS, dataset="x")
    with pytest.raises(UsageError, match="neighbours"):
        Recommender.fit(RATINGS, neighbours={})


USERS, ITEMS, STARS = [1, 1, 2, 2, 3, 3], [1, 2, 1, 3, 2, 3], [5.0, 4, 3, 2, 1, 5]
HUGE = np.array([2**64 - 1] * 2 + [2**63] * 2 + [2**63 + 5000] * 2, dtype=np.uint64)
MASK = [True] + [False] * 5


def objects(*values: Any) -> Any:
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "no ratings are given, but None"),
        ([np.array([1.0, 1, 2, 2, np.inf, 3]), ITEMS, STARS], "user inf: ids are"),
        ([[1e19, 1, 2, 2, 3, 3], ITEMS, STARS], "user 10000000000000000000 is a float"),
        (
            np.column_stack([HUGE.astype(float), ITEMS, STARS]),
            "is a float, in which ids of 9007199254740992 and more are",
        ),
        ([USERS, [2**53 + 1, 1.0, 1, 2, 3, 4], STARS], "item 9007199254740992 is a float"),
        ([USERS, ITEMS, STARS, [1e19] * 6], "times: 1e.19 is no whole number"),
        ([USERS, ITEMS, np.ma.array(STARS, mask=MASK)], "ratings of which some are masked"),
        ([USERS, np.ma.array(ITEMS, mask=MASK), STARS], "items of which some are masked"),
        (np.ma.masked_equal(np.column_stack([USERS, ITEMS, STARS]), 4), "ratings of which some are masked"),
        (
            np.ma.array(
                [(1, 2, 3.0)], mask=[(False, False, True)], dtype=[("user", int), ("item", int), ("rating", float)]
            ),
            "masked",
        ),
        ([objects(1, 1, 2, 2, None, 3), ITEMS, STARS], "user None: ids are"),
        ([[1, 1, 2, 2, None, 3], ITEMS, STARS], "user None: ids are"),
        ([["a", "a", None, "b", "b", "b"], ITEMS, STARS], "user None: ids are"),
        ([USERS, ITEMS, objects(1, 1, 2, 2, "good", 3)], "ratings cannot be read .*: give values of one type"),
        ([USERS, ITEMS, [[1, 2], 3, 4, 5, 6, 7]], "ratings cannot be read"),
        ([USERS, ITEMS, STARS[:5]], "shapes"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(data: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Recommender.fit(data)


def test_columns_of_objects_are_read_as_what_they_hold() -> None:
    columns = [objects(1, "a"), objects(2, 3), objects(2.5, 3), objects(5, 6)]
    found = as_dataset(columns)
    assert found.rows() == [("1", 2, 2.5, 5), ("a", 3, 3.0, 6)]
    assert as_dataset(np.column_stack(columns)).equals(found)
    fields = np.array([("a", 2, 1.5)], dtype=[("userId", object), ("movieId", object), ("rating", float)])
    assert as_dataset(fields).rows() == [("a", 2, 1.5)]
    assert as_dataset([np.ma.array([1, 2]), [3, 4], [5, 6]]).rows() == [(1, 3, 5), (2, 4, 6)]
    times = as_dataset([[1], [2], [3], [1.7e18]])["timestamp"]
    assert (times.dtype, times.item()) == (pl.Int64, 17 * 10**17)


def same(found: Any, expected: pl.DataFrame, kind: str) -> None:
    """Whether an answer is the expected one, as a table of that kind."""
    if kind == "pandas":
        pd.testing.assert_frame_equal(found, expected.to_pandas())
    elif kind == "polars":
        assert found.equals(expected)
    else:
        assert isinstance(found, np.ndarray)
        assert found.dtype.names == tuple(expected.columns)
        for name in expected.columns:
            assert [_plain(each) for each in found[name]] == [_plain(each) for each in expected[name].to_numpy()]


def _plain(value: Any) -> Any:
    """A value that equals itself."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return None if value != value else value


@pytest.mark.parametrize("kind", ["polars", "pandas", "numpy"])
def test_answers_are_tables_of_the_kind_that_was_asked_with(kind: str, fitted: Recommender) -> None:
    users, items = [5, 8], [1, 8]
    asked = {"polars": pl.Series, "pandas": pd.Series, "numpy": np.array}[kind]
    me, somebody = fitted.likes(items), fitted.fold_in(asked(items), [5.0, 2.0])
    expected = fitted.recommend(users, 3)
    assert isinstance(expected, pl.DataFrame)
    same(fitted.recommend(asked(users), 3), expected, kind)
    same(fitted.recommend(fitted.likes(asked(items)), 3), fitted.recommend(me, 3), kind)
    same(fitted.similar_users(fitted.likes(asked(items)), 3), fitted.similar_users(me, 3), kind)
    same(fitted.recommend(somebody, 3), fitted.recommend(fitted.fold_in(items, [5, 2]), 3), kind)
    predicted = fitted.predict(users, items)
    for these, those in ((asked(users), asked(items)), (users, asked(items)), (asked(users), items)):
        same(fitted.predict(these, those), predicted, kind)
    same(fitted.predict(asked(users), items, on_unknown="mean"), predicted, kind)
    same(fitted.predict(me, asked(items)), fitted.predict(me, items), kind)
    items = [each for each in fitted.items if fitted.similar_items(each).height][:2]
    for similar, some in ((fitted.similar_users, users), (fitted.similar_items, items)):
        alone = [similar(each, 3).insert_column(0, pl.Series("of", [each] * len(similar(each, 3)))) for each in some]
        expected = similar(some, 3)
        assert expected.equals(pl.concat(alone))
        assert expected["of"].unique().sort().to_list() == some
        same(similar(asked(some), 3), expected, kind)


def test_ctrl_c_is_an_interruption_wherever_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "resolve", interrupted)
    with pytest.raises(Interrupted, match="run again to go on"):
        engine.run(engine.Config(dataset="sample", workdir=str(tmp_path / "w")))
    with pytest.raises(Interrupted, match="run again to go on"):
        Recommender.fit([[1, 2], [1, 1], [3.0, 4.0]], workdir=tmp_path / "w")
    with pytest.raises(Interrupted, match="nothing is kept, since no workdir was named"):
        Recommender.fit([[1, 2], [1, 1], [3.0, 4.0]])


CLICKS = synthetic_ratings(40, 30).select("userId", "movieId")
CLICKED: dict[str, Callable[[], Any]] = {
    "array": lambda: CLICKS.to_numpy(),
    "columns": lambda: [CLICKS["userId"].to_list(), CLICKS["movieId"].to_numpy()],
    "tuple": lambda: (CLICKS["userId"], CLICKS["movieId"]),
}


@pytest.mark.parametrize("kind", CLICKED)
def test_clicks_are_taken_as_arrays_as_in_data_frames(kind: str) -> None:
    assert as_dataset(CLICKED[kind]()).equals(CLICKS)


def test_clicks_of_an_array_make_a_model_of_implicit_feedback() -> None:
    with Recommender.fit(CLICKS.to_numpy(), memory="512MiB", **SMALL) as recommender:
        assert recommender.implicit


RATED = pl.DataFrame({"userId": [1, 1, 2], "movieId": [5, 6, 5], "rating": [4.0, 3.0, 5.0]})


@pytest.mark.parametrize("pairs", [RATED.drop("rating"), RATED.drop("rating").to_pandas(), RATED[:, :2].to_numpy()])
def test_ratings_may_be_given_beside_pairs_as_scikit_learn_has_them(pairs: Any) -> None:
    assert as_dataset(pairs, RATED["rating"].to_list()).equals(RATED)


@pytest.mark.parametrize("frame", [RATED.select("movieId", "userId"), RATED.select("movieId", "userId").to_pandas()])
def test_pairs_the_wrong_way_round_are_refused(frame: Any) -> None:
    with pytest.raises(UsageError, match="X has the columns movieId, userId: give two, users first, then items"):
        as_dataset(frame, RATED["rating"].to_list())


@pytest.mark.parametrize(
    ("data", "y", "told"),
    [
        ([[1, 5], [1, 6]], [4.0, 3.0], "y beside a list: it goes with an array or a data frame of users and items"),
        (RATED, [4.0, 3.0, 5.0], "y beside 3 columns: give two"),
        (RATED[:, :2], [4.0, 3.0], "columns of shapes .*: give as many of each"),
        (np.ones((3, 1), dtype=int), None, "an array with 1 columns: give users, items and, if there are any, ratings"),
        (["a.csv", "b.csv"], None, "users are 'a.csv': give a column of ids"),
        ([5, 6], None, "users are 5: give a column of ids"),
    ],
)
def test_pairs_that_are_none_are_refused_in_a_sentence(data: Any, y: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        as_dataset(data, y)


def test_a_fault_of_what_is_given_is_told_by_its_row(tmp_path: Path) -> None:
    """Not by the path of a file that the caller has not written."""
    frame = pd.DataFrame({"userId": [1, 1, 2], "movieId": [5, 6, 5], "rating": [4.0, np.nan, 5.0]})
    told = r"^row 2 of the data frame, counted from 1, column rating: missing rating; complete or delete the row$"
    with pytest.raises(UsageError, match=told):
        Recommender.fit(frame, memory="512MiB")
    with pytest.raises(UsageError, match=r"^the data frame, column rating has type String where numbers are needed"):
        Recommender.fit(frame.assign(rating=["4", "3", "x"]), memory="512MiB")
    with pytest.raises(UsageError, match=r"^the data frame has .*, none of them with timestamps"):
        Recommender.fit(frame, memory="512MiB", split={"method": "global-time"})
    with pytest.raises(UsageError, match=r"^row 2 of the data frame of the test part, counted from 1, column rating"):
        driver.run(engine.Config(dataset=RATED, test=frame, workdir=str(tmp_path / "w"), memory="512MiB"))
    with pytest.raises(UsageError, match=r"^the data frame: all counts are 0"):
        Recommender.fit(RATED.select("userId", "movieId", clicks=pl.lit(0)), memory="512MiB")


def test_sections_are_taken_as_a_mapping_too_as_the_estimator_takes_them(fitted: Recommender) -> None:
    with Recommender.fit(RATINGS, memory="512MiB", settings={"neighbors": {"k": 7}}, factors=SMALL["factors"]) as other:
        assert other.run.settings.neighbors.k == 7
        assert other.recommend(other.users, 4).equals(fitted.recommend(fitted.users, 4))
    with pytest.raises(UsageError, match="factors is in settings and beside them: give it once"):
        Recommender.fit(RATINGS, settings=SMALL, factors={})
    with pytest.raises(UsageError, match="fit takes no 'dataset'"):
        Recommender.fit(RATINGS, settings={"dataset": "x"})


@pytest.mark.parametrize("unit", ["s", "m", "h", "ms", "ns", "D"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_times_of_numpy_are_taken_in_any_unit_and_order_of_bytes(unit: str, order: str) -> None:
    times = np.array(["2024-01-02", "2024-01-03"], dtype=f"M8[{unit}]").astype(f"{order}M8[{unit}]")
    taken = as_dataset([np.array([1, 2], dtype=f"{order}i8"), [3, 4], np.array([1, 2], dtype=f"{order}f4"), times])
    assert taken.select(pl.col("timestamp").cast(pl.Date).cast(pl.String))["timestamp"].to_list() == [
        "2024-01-02",
        "2024-01-03",
    ]
    assert taken["rating"].to_list() == [1, 2]
    assert taken["userId"].to_list() == [1, 2]


def test_what_to_do_is_told_without_a_command_line(tmp_path: Path) -> None:
    columns = {"user": [1, 2], "item": [1, 2], "rating": pd.to_timedelta([1, 2], unit="s")}
    config = engine.Config(dataset=pd.DataFrame(columns), workdir="w")
    path = tmp_path / "ratings.parquet"
    pd.DataFrame(columns).to_parquet(path)
    asked: list[Callable[[], object]] = [
        lambda: Recommender.fit(pd.DataFrame(columns)),
        lambda: Recommender.fit(list(columns.values())),
        lambda: Recommender.fit(path),
        lambda: engine.run(config),
        lambda: engine.plan(config),
    ]
    for ask in asked:
        with pytest.raises(UsageError, match=r'write columns=\["user(Id)?", "(item|movieId)", "", "rating"\]$'):
            ask()


@pytest.mark.parametrize("workdir", [b"w", 3, 2.5, ["w"], "", "s3://"])
def test_a_work_directory_that_is_no_place_is_refused_before_anything_is_made(
    workdir: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = [[1, 2], [1, 2], [1.0, 2.0]]
    estimator = engine.RecommenderEstimator(workdir=workdir)
    asked: list[Callable[[], object]] = [
        lambda: Recommender.fit(columns, workdir=workdir),
        lambda: estimator.fit([[1, 2], [2, 1]], [1.0, 2.0]),
        lambda: engine.run(engine.Config(dataset=pd.DataFrame({"user": [1], "item": [1]}), workdir=workdir)),
    ]
    for ask in asked:
        with pytest.raises(UsageError, match=r"no place|a path|workdir is|empty path|no bucket"):
            ask()
    assert not list(tmp_path.iterdir())


class Elsewhere:
    """A path of somebody else's kind."""

    def __fspath__(self) -> str:
        return "elsewhere"


def test_a_work_directory_may_be_of_any_kind_of_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ratings = synthetic_ratings(30, 20)
    with Recommender.fit(ratings, workdir=Elsewhere(), memory="512MiB") as recommender:
        assert str(recommender.run.workdir) == str(tmp_path / "elsewhere")
