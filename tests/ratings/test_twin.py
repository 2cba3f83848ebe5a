"""The synthetic twins of ml-25m, at a hundredth of its users."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from scipy.sparse.linalg import svds

from bench import hardness
from engine.chunked.errors import UsageError
from engine.ratings.twin import ML25M, Shape, TwinSummary, files, interests, published, shape_of, write_twin

SCALE = 0.01
NAMES = ["movies.csv", "ratings.csv", "synthetic.json"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module", params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, version: int) -> TwinSummary:
    return write_twin(tmp_path_factory.mktemp("twin"), scale=SCALE, version=version)


@pytest.fixture(scope="module")
def ratings(made: TwinSummary) -> pl.DataFrame:
    return pl.read_csv(made.path / "ratings.csv")


def few(users: int, monkeypatch: pytest.MonkeyPatch) -> Shape:
    """ml-25m with few users, in batches of 50."""
    monkeypatch.setattr(files, "BATCH", 50)
    return dataclasses.replace(ML25M, users=users)


def test_same_seed_gives_the_same_bytes(made: TwinSummary, tmp_path: Path, version: int) -> None:
    write_twin(tmp_path, scale=SCALE, version=version)
    assert list(contents(tmp_path)) == NAMES
    assert contents(tmp_path) == contents(made.path)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    shape = dataclasses.replace(ML25M, users=files.BATCH + 10, ratings_per_user=2.0)
    one, two = (write_twin(tmp_path / str(n), shape=shape, processes=n) for n in (1, 2))
    assert one[1:] == two[1:]
    assert contents(one.path) == contents(two.path)


def test_files_of_parquet_have_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BATCHES", 2)
    shape = few(230, monkeypatch)  # 5 batches
    text, columnar = (write_twin(tmp_path / kind, shape=shape, file_format=kind) for kind in ("csv", "parquet"))
    assert text[1:] == columnar[1:]
    parts = sorted(columnar.path.glob("ratings-*.parquet"))
    assert [part.name for part in parts] == [f"ratings-0000{n}.parquet" for n in range(3)]
    assert [pq.ParquetFile(part).num_row_groups for part in parts] == [2, 2, 1]
    written = pl.concat([pl.read_parquet(part) for part in parts])
    assert written.equals(pl.read_csv(text.path / "ratings.csv"))
    with pytest.raises(UsageError, match=r"ratings-00000\.parquet, which would be read, too"):
        write_twin(columnar.path, shape=shape, file_format="parquet")


def test_another_seed_gives_other_ratings(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = few(50, monkeypatch)
    one, other = (write_twin(tmp_path / str(seed), shape=shape, seed=seed, version=version).path for seed in (0, 1))
    assert (one / "ratings.csv").read_bytes() != (other / "ratings.csv").read_bytes()


def test_a_larger_scale_adds_users_after_full_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = few(150, monkeypatch)
    small = write_twin(tmp_path / "small", shape=shape).path / "ratings.csv"
    large = write_twin(tmp_path / "large", scale=2.0, shape=shape).path / "ratings.csv"
    assert large.read_bytes().startswith(small.read_bytes())


def test_the_card_and_the_summary_tell_what_was_written(made: TwinSummary, ratings: pl.DataFrame, version: int) -> None:
    counts = (ratings.height, ratings["userId"].n_unique(), ratings["movieId"].n_unique())
    assert (made.n_ratings, made.n_users, made.n_items) == counts
    assert made.n_users == round(ML25M.users * SCALE)
    assert json.loads((made.path / "synthetic.json").read_text()) == {
        **{"name": "twin", "scale": SCALE, "seed": 0, "generator_version": version},
        **{"n_ratings": made.n_ratings, "n_users": made.n_users, "n_items": made.n_items},
    }


def test_rows_are_written_as_movielens_does(made: TwinSummary, ratings: pl.DataFrame) -> None:
    header, first, *_ = (made.path / "ratings.csv").read_text().splitlines()
    assert header == "userId,movieId,rating,timestamp"
    assert first.split(",")[0] == "1"
    assert first.split(",")[2] in {f"{stars / 2:.1f}" for stars in range(1, 11)}
    pairs = ratings["userId"].to_numpy() * 1_000_000 + ratings["movieId"].to_numpy()
    assert (np.diff(pairs) > 0).all()  # sorted by user, then film, no pair twice


def test_users_rate_as_many_films_as_in_ml25m(ratings: pl.DataFrame) -> None:
    sizes = ratings.group_by("userId").len()["len"].to_numpy()
    assert sizes.min() == 20
    np.testing.assert_allclose(np.quantile(sizes, [0.25, 0.5, 0.75]), [36, 71, 162], rtol=0.15)


def test_stars_follow_the_published_histogram(ratings: pl.DataFrame) -> None:
    shares = np.bincount((ratings["rating"].to_numpy() * 2).astype(int), minlength=11) / ratings.height
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], np.array(published.STARS) / sum(published.STARS), atol=0.025)


def test_early_users_give_whole_stars(ratings: pl.DataFrame) -> None:
    early = ratings.filter(pl.col("timestamp").min().over("userId") < published.HALF_STARS)
    assert early.height > 0
    assert (early["rating"] % 1 == 0).all()
    assert ratings["timestamp"].is_between(published.OPENING, published.CLOSING).all()


def test_every_rated_film_is_listed(made: TwinSummary, ratings: pl.DataFrame) -> None:
    movies = pl.read_csv(made.path / "movies.csv")
    assert movies.columns == ["movieId", "title", "genres"]
    assert movies.height == ML25M.items
    assert movies["movieId"].is_unique().all()
    assert movies["movieId"].max() == published.MAX_ITEM_ID
    assert movies["title"].str.contains(r"^Synthetic Film \d+ \(\d{4}\)$").all()
    assert ratings["movieId"].is_in(movies["movieId"].implode()).all()


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_twin(tmp_path / "new", scale=SCALE, progress=interrupt)
    assert contents(tmp_path / "new") == {}


def test_an_interrupted_run_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = few(100, monkeypatch)
    write_twin(tmp_path, shape=shape)
    before = contents(tmp_path)
    calls: list[tuple[int, int]] = []

    def interrupt(done: int, total: int) -> None:
        calls.append((done, total))
        if done == total:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_twin(tmp_path, seed=1, shape=shape, progress=interrupt)
    assert calls == [(50, 100), (100, 100)]
    assert contents(tmp_path) == before


def test_leftovers_of_a_killed_run_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".twin.partial").mkdir()
    (tmp_path / ".twin.partial" / "ratings.csv").write_text("half")
    write_twin(tmp_path, shape=few(50, monkeypatch))
    assert list(contents(tmp_path)) == NAMES


def test_popularity_alone_does_not_explain_what_a_user_sees(ratings: pl.DataFrame) -> None:
    """Films go together: the first direction of who saw what stands far above that of shuffled users."""
    dense = ratings.with_columns(pl.col("movieId").rank("dense") - 1).filter(pl.len().over("movieId") >= 50)
    users, films = (dense[c].to_numpy().astype(np.int64) for c in ("userId", "movieId"))
    seen = np.zeros((users.max() + 1, films.max() + 1), dtype=np.float32)
    seen[users, films] = 1.0
    seen = seen[:, seen.any(axis=0)][seen.sum(axis=1) >= 20]
    expected = seen.sum(axis=1, keepdims=True) * seen.mean(axis=0) / seen.mean(axis=0).sum()
    shuffled = np.random.default_rng(0).permuted(seen, axis=0)
    centred = shuffled - shuffled.mean(axis=0)
    first, of_shuffled = (svds(each, k=1, return_singular_vectors=False)[0] for each in (seen - expected, centred))
    assert first > 2 * of_shuffled


# `python -m bench.hardness` on the one million MovieLens ratings of 2003, which are not to be redistributed.
OF_ML1M = {
    "cosine of neighbour 1, 32 dimensions": 0.881,
    "cosine of neighbour 10, 32 dimensions": 0.819,
    "cosine of neighbour 50, 32 dimensions": 0.752,
    "clusters for 99% of them, of 12, 32 dimensions": 6.14,
    "singular value 2": 0.386,
    "singular value 3": 0.348,
    "singular value 5": 0.268,
    "singular value 9": 0.207,
    "singular value 17": 0.156,
    "singular value 32": 0.125,
    "singular value 64": 0.103,
}


def test_neighbours_are_as_hard_to_find_as_in_real_ratings(tmp_path: Path) -> None:
    made = write_twin(tmp_path, shape=dataclasses.replace(ML25M, users=6040))
    found = hardness.figures(hardness.train_rows(hardness.read(str(made.path), 6040)))
    apart = {name: found[name] / real - 1 for name, real in OF_ML1M.items()}
    assert max(abs(off) for name, off in apart.items() if "cosine" in name) < 0.03, apart
    assert max(map(abs, apart.values())) < 0.15, apart


def test_most_items_of_a_catalogue_of_ones_own_are_rated(tmp_path: Path) -> None:
    made = write_twin(tmp_path, shape=Shape(users=1000, items=10_000, most_rated=True, ratings_per_user=40.0))
    assert made.n_ratings == pytest.approx(40_000, rel=0.1)
    assert made.n_items > 8_000


def test_weighted_draws_follow_their_weights() -> None:
    weights = np.array([[1.0, 2.0, 3.0, 14.0], [5.0, 0.0, 5.0, 0.0]])
    drawn = interests.Tables(weights).draw(np.random.default_rng(0), np.repeat([0, 1], 100_000))
    shares = [np.bincount(part, minlength=4) / 100_000 for part in np.split(drawn, 2)]
    np.testing.assert_allclose(shares, weights / weights.sum(axis=1, keepdims=True), atol=0.006)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"users": 0}, "0 users: must be at least 1"),
        ({"ratings": -3}, "-3 ratings: must be at least 1"),
        ({"users": 10, "items": 40, "ratings": 101}, "10 ratings of each user are too many of 40 items"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(asked: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        shape_of(**asked)
    assert shape_of(users=10, items=40, ratings=100).ratings_per_user == 10
