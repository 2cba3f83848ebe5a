"""Lists that another program made for the users of a finished run, measured as its own were."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.artifacts.readers import Matrix
from engine.artifacts.records import Means, settled_liked_from
from engine.artifacts.tables import item_ids, user_ids
from engine.chunked.errors import UsageError, is_short
from engine.chunked.storage import Place, locate, on_this_machine
from engine.kernels.rows import lists_of
from engine.kernels.scoring import find_in_rows
from engine.model.evaluation import RANKED, Baselines, figures_of, measure_users, summarise
from engine.model.metrics import Mean, self_information
from engine.model.popularity import by_popularity
from engine.model.sizes import RANK_USERS, READ_RATINGS
from engine.ratings.columns import ITEMS, USERS, column_key, find
from engine.ratings.records import open_bytes
from engine.ratings.source import BLANKS, RatingsFile
from engine.ratings.text_head import compression_of, read_head, read_magic
from engine.serving import ids
from engine.serving.finished import FinishedRun, damage_told, open_measured

_ORDERS = (("rank", False), ("score", True))
"""Columns that put a list in order, and whether the greatest is first; without one the order is that of rows."""


@dataclass(frozen=True)
class Measured:
    """Figures of lists, beside those of the run.

    Attributes
    ----------
    figures : dict of str to dict
        ``lists``, ``model`` and ``most_popular``; each figure as ``metrics.json`` has it.
    k : int
        Items of a list that count.
    n_lists, n_unknown_users, n_unknown_items : int
        Users with a list; those of them, and items listed, that the run does not have. Such items are no hits.
    n_in_train : int
        Items in lists that the user has a train rating of: no hits either, but they take places.
    """

    figures: dict[str, dict[str, Any]]
    k: int
    n_lists: int
    n_unknown_users: int
    n_unknown_items: int
    n_in_train: int


def measure_lists(where: Place, lists: str | os.PathLike[str]) -> Measured:
    """Measure lists with the test ratings of a finished run: of all users with a liked test item, listed or not.

    Parameters
    ----------
    where : path or URL
        The work directory.
    lists : path
        Text or Parquet with a row an item: columns of users and items, and ``rank`` or ``score``, or rows in order.
        Those without a score come last, in order. Separator and encoding are found as those of ratings are.

    Raises
    ------
    UsageError
        Where it cannot be read, or an item is twice in a list.
    """
    run = open_measured(where)
    with damage_told(run):
        return _measured(run, on_this_machine(lists))


def _measured(run: FinishedRun, lists: Path) -> Measured:
    section, matrix = run.settings.evaluate, Matrix(run.stages["matrix"])
    codes, n_lists, unknown_users, unknown_items = _coded(lists, run, section.k)
    counts = matrix.train.count_columns(READ_RATINGS)
    n_users, n_items = matrix.train.shape
    baselines = Baselines(by_popularity(counts), None, self_information(counts, n_users))
    liked_from = settled_liked_from(section.liked_from, run.stages["matrix"])
    means: dict[str, dict[str, Mean]] = {}
    times = np.zeros((len(RANKED), n_items), dtype=np.int64)
    n_in_train = 0
    for start in range(0, n_users, RANK_USERS):
        stop = min(start + RANK_USERS, n_users)
        own, test = matrix.train.read(start, stop), matrix.test.read(start, stop)
        measured = measure_users(
            codes[start:stop],
            None,
            own,
            test,
            baselines,
            np.arange(start, stop),
            liked_from,
            times,
            answer_unknown=False,
        )
        n_in_train += int((find_in_rows(lists_of(own), codes[start:stop]) >= 0).sum())
        _, found = summarise(measured, section.lengths, implicit=True)
        for name, of_block in found.items():
            known = means.setdefault(name, dict.fromkeys(of_block, Mean()))
            means[name] = {figure: known[figure] + mean for figure, mean in of_block.items()}
    figures = figures_of(means, dict(zip(RANKED, times, strict=True)))
    beside = {name: Means.of(run.stages["evaluate"]).figures[name] for name in RANKED}
    figures_of_all = {"lists": figures["model"], **beside}
    return Measured(figures_of_all, section.k, n_lists, unknown_users, unknown_items, n_in_train)


def _coded(path: Path, run: FinishedRun, k: int) -> tuple[NDArray[np.int32], int, int, int]:
    """The first ``k`` items of each user as columns, -1 where the run knows none; and how much it does not know."""
    rows = _read(path)
    users, items = user_ids(run.stages["ingest"]), item_ids(run.stages["matrix"])
    if rows.select("user", "item").is_duplicated().any():
        raise UsageError(f"{path}: an item is twice in the list of a user: give each once")
    at_user, known_user = ids.places(rows["user"], users)
    at_item, known_item = ids.places(rows["item"], items)
    rows = rows.with_columns(
        code=pl.Series(np.where(known_user, at_user, -1)), column=pl.Series(np.where(known_item, at_item, -1))
    )
    listed = rows.filter(pl.col("code") >= 0).with_columns(place=pl.int_range(pl.len()).over("code"))
    listed = listed.filter(pl.col("place") < k)
    codes = np.full((len(users), min(k, len(items))), -1, dtype=np.int32)
    codes[listed["code"].to_numpy(), listed["place"].to_numpy()] = listed["column"].to_numpy()
    n_unknown_users = rows.filter(pl.col("code") < 0)["user"].n_unique()
    n_unknown_items = rows.filter(pl.col("column") < 0)["item"].n_unique()
    return codes, rows["user"].n_unique(), n_unknown_users, n_unknown_items


def _read(path: Path) -> pl.DataFrame:
    """Columns ``user`` and ``item``, each user's items in order."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file: give the lists as text or Parquet")
    try:
        rows = pl.read_parquet(path, glob=False) if read_magic(locate(path)) == b"PAR1" else _read_text(path)
    except (
        *(OSError, EOFError, ValueError, zlib.error),
        *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    ) as error:
        if is_short(error):
            raise
        raise UsageError(f"{path}: cannot be read as lists ({error}): give text or Parquet") from None
    remedy = "call them user and item"
    user, item = (find(locate(path), rows.columns, names, remedy) for names in (USERS, ITEMS))
    if user is None or item is None:
        raise UsageError(f"{path} has the columns {', '.join(rows.columns)}: {remedy}")
    if missing := rows.select(pl.any_horizontal(pl.col(user, item).is_null()).arg_true()).to_series().to_list():
        raise UsageError(f"{path}, row {missing[0] + 1}: a user or an item is missing: complete or delete it")
    return _in_order(rows, path).select(pl.col(user).alias("user"), pl.col(item).alias("item"))


def _read_text(path: Path) -> pl.DataFrame:
    """All columns, as text."""
    magic = read_magic(locate(path))
    file, head, _ = read_head(RatingsFile(locate(path), compression=compression_of(magic)))
    names = [name.strip(BLANKS) for name in head[file.skip - 1].fields[:: len(file.separator)]]
    with open_bytes(file) as stream:
        content = stream.read()
    columns = [str(k) for k in range((len(names) - 1) * len(file.separator) + 1)]
    rows = pl.read_csv(
        content,
        schema=dict.fromkeys(columns, pl.String),
        separator=file.separator[0],
        quote_char='"' if file.quotes else None,
        has_header=False,
        skip_lines=file.skip,
    )
    cells = [pl.col(column).str.strip_chars(BLANKS).replace("", None) for column in columns[:: len(file.separator)]]
    named = rows.select(cell.alias(name) for cell, name in zip(cells, names, strict=True))
    return named.filter(pl.any_horizontal(pl.all().is_not_null()))


def _in_order(rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Rows by rank or score, if there is one.

    Raises
    ------
    UsageError
        Where one of these is no number.
    """
    called = {column_key(name): name for name in rows.columns}
    for kind, descending in _ORDERS:
        if (name := called.get(kind)) is not None:
            order = rows[name].cast(pl.Float64, strict=False)
            if odd := rows[name].filter(order.is_null() & rows[name].is_not_null()).head(1).to_list():
                raise UsageError(f"{path}, column {name}: {kind} is no number: {odd[0]!r}")
            by = order.fill_nan(None)
            return rows.select(pl.all().sort_by(by, descending=descending, nulls_last=True, maintain_order=True))
    return rows


def describe(measured: Measured) -> str:
    """The figures for people."""
    names = {"lists": "lists", "model": "this run", "most_popular": "most popular"}
    lines = [f"{'':<20}" + "".join(f"{name:>20}" for name in names.values())]
    for key, figure in measured.figures["lists"].items():
        if figure["value"] is not None:
            cells = (_cell(measured.figures[name].get(key)) for name in names)
            lines.append(f"{key:<20}" + "".join(f"{cell:>20}" for cell in cells))
    lines.append(f"\n{measured.n_lists:,} users have a list; {measured.k} items of each count")
    if measured.n_unknown_users:
        lines.append(f"{measured.n_unknown_users:,} of these users are not in the run: left out")
    if measured.n_in_train:
        lines.append(f"{measured.n_in_train:,} places in lists are of items that the user has in train: no hits")
    if measured.n_unknown_items:
        lines.append(f"{measured.n_unknown_items:,} items listed have no train rating in the run: no hits")
    return "\n".join(lines)


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    error = figure["standard_error"]
    return f"{figure['value']:.4f}" + ("" if error is None else f" ±{error:.4f}")


def as_mapping(measured: Measured) -> dict[str, Any]:
    """The same for programs, as JSON values."""
    return dict(vars(measured))
