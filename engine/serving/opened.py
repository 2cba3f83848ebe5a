"""A finished run opened to answer: what is small is read at once, of the rest the rows that an answer needs.

As much of that rest as a number of bytes allows is held in memory, what answers read most before the other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.artifacts.readers import (
    Factors,
    Matrix,
    Nearest,
    NearItems,
    Refined,
    read_biases,
    read_latent,
    read_together,
)
from engine.artifacts.records import Profile, chosen_ranking, chosen_rating, is_implicit, settled_liked_from
from engine.artifacts.tables import item_ids, user_ids
from engine.chunked import arrays
from engine.chunked.budget import format_size
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.errors import BudgetError
from engine.chunked.storage.staging import WAY_ON
from engine.model.alternating import Side, side
from engine.model.ranking import Ranking
from engine.model.refine import Preferences, preferences
from engine.model.sizes import READ_RATINGS
from engine.serving.finished import FinishedRun
from engine.serving.ids import take
from engine.serving.people import Newcomer, People, narrow
from engine.serving.rough import Rough
from engine.serving.titles import Titles


class _Part(Protocol):
    """Something that answers read, of the run's files until it is held or unpacked."""

    @property
    def nbytes(self) -> int:
        """What it takes to hold it, or to unpack it."""
        ...

    def hold(self) -> None:
        """Keep it in memory."""
        ...

    def unpack(self) -> None:
        """Lay it out in a temporary file, of which a few rows are read quickly."""
        ...


class OpenedRun:
    """A finished run, as answers read it. Nothing of it changes, so that many threads may ask at a time.

    Parameters
    ----------
    run : FinishedRun

    Attributes
    ----------
    users, items : Series
        Original ids, ascending; of items those with a train rating.
    counts : int64 array, shape (items,)
        Train ratings of each item.
    liked_from : float
        A user likes an item whose rating is at least this.
    ranking : Ranking
    implicit : bool
        Whether users took items only: no ratings are known or predicted.
    biases : Biases or None
    near_items : NearItems or None
        Both None with the notebook's model; there are no biases with implicit feedback either.
    factors : Factors
        User vectors that neighbours were found with.
    titles : Titles
    rough : Rough or None
        The same in few bytes, where these are unpacked.
    held : int
        Bytes that are held.
    reads_nothing : bool
        Whether no answer reads a file of the run: all is held or unpacked.
    """

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.settings = run.settings
        self.profile = Profile.of(run.stages["ingest"])
        matrix = Matrix(run.stages["matrix"])
        self.train, self.test = matrix.train, matrix.test
        self.neighbors = Nearest(run.stages["neighbors"])
        self.refined = Refined(run.stages["refine"]) if "refine" in run.stages else None
        self.factors = self.refined or Factors(run.stages["factors"])
        self.users, self.items = user_ids(run.stages["ingest"]), item_ids(run.stages["matrix"])
        votes = self.settings.evaluate.model == "votes"
        self.near_items = NearItems(run.stages["item_neighbors"]) if votes else None
        self.counts = self.near_items.counts() if self.near_items else self.train.count_columns(READ_RATINGS)
        near = self.near_items.inverted() if self.near_items else None
        item_vectors = None if self.refined is None else self.refined.item_factors()
        section = self.settings.evaluate
        self.liked_from = settled_liked_from(section.liked_from, run.stages["matrix"])
        parameters = chosen_ranking(section.ranking_parameters(self.liked_from), run.stages)
        together = read_together(run.stages, parameters.blend.together) if votes else None
        self.ranking = Ranking.of(parameters, self.counts, near, item_vectors, together)
        self.rating_weights = chosen_rating(self.settings.predict.weights, run.stages)
        self.implicit = is_implicit(run.stages["matrix"])
        predicts = votes and not self.implicit
        self.biases = read_biases(run.stages["biases"]) if predicts else None
        self.latent = read_latent(run.stages, self.rating_weights.latent) if predicts else None
        self.titles = Titles(run.source.titles, self.items, run.source.first.columns[1])
        self.rough: Rough | None = None
        self.held = 0
        self.reads_nothing = False
        self._unpacked = False

    def hold(self, memory: int) -> None:
        """Hold what fits in so many bytes, the first first; others may ask meanwhile."""
        held, left = self._shared_out(memory)
        for part in held:
            part.hold()
            self.held += part.nbytes
        self.reads_nothing = self._unpacked or not left

    def unpack(self, memory: int) -> None:
        """Lay out what `hold` does not hold in temporary files, of which an answer reads its rows and no others.

        Raises
        ------
        BudgetError
            Where these have no room on their disk.
        """
        _, left = self._shared_out(memory)
        searched = self.factors in left
        needed, folder = sum(part.nbytes for part in left), tempfile.gettempdir()
        needed += Rough.bytes_of(self.factors.vectors) if searched else 0
        free = shutil.disk_usage(folder).free
        if needed > free:
            problem = f"answers are read of temporary files of {format_size(needed)}, {format_size(free)} are free in"
            raise BudgetError(f"{problem} {folder}", remedy=WAY_ON)
        for part in left:
            part.unpack()
        self.rough = Rough(self.factors.rows) if searched else None
        self._unpacked = True

    @property
    def _parts(self) -> list[_Part]:
        """What may be held, and is else read for each answer; what answers read most comes first."""
        parts = (self.titles, self.train, self.factors, self.near_items, self.neighbors, self.test)
        return [part for part in parts if part is not None]

    def _shared_out(self, memory: int) -> tuple[list[_Part], list[_Part]]:
        """What fits in so many bytes, and what does not."""
        fitting: list[_Part] = []
        for part in self._parts:
            if part.nbytes <= memory - sum(each.nbytes for each in fitting):
                fitting.append(part)
        return fitting, [part for part in self._parts if part not in fitting]

    @cached_property
    def preferences(self) -> tuple[Preferences, Side]:
        """What refined vectors are fitted to, and those of the items; where there are any."""
        section, liked_from = self.settings.refine, self.liked_from
        if section.liked_from is not None:
            liked_from = settled_liked_from(section.liked_from, self.run.stages["matrix"])
        objective = preferences(section, liked_from, self.implicit, *self.train.shape)
        assert self.ranking.item_vectors is not None
        return objective, side(objective, self.ranking.item_vectors)

    def known(self, codes: NDArray[np.int64]) -> People:
        """Users of the data, in the order given."""
        biases = np.zeros(len(codes), np.float32) if self.biases is None else self.biases.users[codes]
        vectors = None if self.refined is None else self._vectors(codes)
        return People(take(self.users, codes), self.rows(self.train, codes), *self.near(codes), biases, vectors)

    def newcomer(self, person: Newcomer) -> People:
        """Someone who is not in the data."""
        nobody = pl.Series("user", [None], dtype=self.users.dtype)
        bias = np.array([person.bias], dtype=np.float32)
        vector = person.vector[None]
        rated, neighbors, similarities = narrow(person.rated), person.neighbors[None], person.similarities[None]
        return People(nobody, rated, neighbors, similarities, bias, vector, person.rates)

    def strangers(self, ids: pl.Series) -> People:
        """Users of whom nothing is known, so that they are as everybody."""
        n, k = len(ids), self.neighbors.ids.shape[1]
        nothing = NarrowRows(
            np.zeros(n + 1, dtype=np.int64), np.empty(0, np.int32), np.empty(0, np.float32), len(self.items), 1.0
        )
        vectors = None if self.refined is None else np.zeros((n, self.factors.rows.shape[1]), dtype=np.float32)
        return People(
            ids,
            nothing,
            np.full((n, k), -1, dtype=np.int32),
            np.full((n, k), np.nan, dtype=np.float32),
            np.zeros(n, dtype=np.float32),
            vectors,
        )

    @cached_property
    def names(self) -> pl.Series:
        """Titles of all items, ids of those without one; what people look for items by."""
        titles = self.titles.at(np.arange(len(self.items)))
        return titles.fill_null(self.items.cast(pl.String)).alias("title")

    def near(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Neighbours and similarities of some users, in the order given."""
        some, places = np.unique(codes, return_inverse=True)
        ids, similarities = self.neighbors.take(some)
        return ids[places], similarities[places]

    def rows(self, matrix: CsrReader, codes: NDArray[np.integer[Any]]) -> NarrowRows:
        """Rows of some users, in the order given."""
        some, places = np.unique(codes, return_inverse=True)
        return matrix.read_some(some).take(places)

    def ratings_of_neighbors(self, people: People) -> tuple[NarrowRows, NDArray[np.int32]]:
        """Ratings of all neighbours of some people, and the neighbours as rows of these."""
        if (whole := self.train.held) is not None:
            return whole, people.neighbors
        there = people.neighbors >= 0
        needed, places = np.unique(people.neighbors[there], return_inverse=True)
        rows = np.full(people.neighbors.shape, -1, dtype=np.int32)
        rows[there] = places
        return self.train.read_some(needed), rows

    def all_vectors(self) -> Iterator[NDArray[np.float32]]:
        """Vectors of all users, a chunk at a time."""
        vectors = self.factors.rows
        n_users, chunk = vectors.shape[0], getattr(vectors, "chunks", vectors.shape)[0]
        return (arrays.read_rows(vectors, i, min(i + chunk, n_users)) for i in range(0, n_users, chunk))

    def _vectors(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some users, in the order given."""
        some, places = np.unique(codes, return_inverse=True)
        return np.asarray(arrays.take_rows(self.factors.rows, some)[places])
