"""What a run left, dense, and the model in plain loops over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.artifacts.readers import Nearest, read_biases, read_latent, read_together
from engine.artifacts.records import chosen_ranking, chosen_rating
from engine.chunked import arrays
from engine.chunked.csr import CsrReader
from engine.config import Evaluate, ItemNeighbors, Predict
from engine.model.sizes import POPULAR_ITEMS
from engine.serving.finished import open_finished

LIKED_FROM = 4.0  # the top quarter of half stars


class Loops:
    """What the run left, dense, and the model in plain loops."""

    def __init__(self, where: Path) -> None:
        stages = open_finished(where).stages
        matrix = stages["matrix"].root
        readers = [CsrReader(matrix, kind) for kind in ("train", "test")]
        self.train, self.test = (each.read(0, each.shape[0]).widen().toarray().astype(np.float64) for each in readers)
        self.ids, self.similarities = Nearest(stages["neighbors"]).read(0, self.train.shape[0])
        self.near, self.near_similarities = Nearest(stages["item_neighbors"]).read(0, self.train.shape[1])
        self.biases, settings = read_biases(stages["biases"]), open_finished(where).settings
        self.rating_weights = chosen_rating(settings.predict.weights, stages)
        self.weights = chosen_ranking(settings.evaluate.ranking_parameters(LIKED_FROM), stages).blend
        self.latent = read_latent(stages, self.rating_weights.latent)
        together = read_together(stages, self.weights.together)
        self.together = np.zeros((self.train.shape[1],) * 2)
        if together is not None:
            self.together = together.similarities.widen().toarray() * together.scales[:, None]
        self.vectors = arrays.hold(arrays.open_array(stages["refine"].root, "vectors")).astype(np.float64)
        self.item_vectors = np.load(stages["refine"].path("item-factors.npy")).astype(np.float64)

    def predicted(self, user: int, item: int) -> float:
        base = self.biases.mean + self.biases.users[user] + self.biases.items[item]
        above = below = 0.0
        for other, similarity in zip(self.near[item], self.near_similarities[item], strict=True):
            if other >= 0 and self.train[user, other]:
                expected = self.biases.mean + self.biases.users[user] + self.biases.items[other]
                above += similarity * (self.train[user, other] - expected)
                below += similarity
        near = above / (below + Predict().shrink) if below else 0
        value = base + self.of_vectors(user, item) + self.rating_weights.near * near
        return float(np.clip(value, self.biases.low, self.biases.high))

    def of_vectors(self, user: int, item: int) -> float:
        weight = self.rating_weights.latent
        if self.latent is None:
            return 0.0
        rated = np.flatnonzero(self.train[user])
        items = self.latent.items[rated].astype(np.float64)
        expected = self.biases.mean + self.biases.users[user] + self.biases.items[rated]
        ridge = self.latent.strength * len(rated) ** 0.5 * np.eye(items.shape[1])
        own = np.linalg.solve(
            items.T @ items + ridge, items.T @ (self.train[user, rated] - expected) / self.latent.unit
        )
        return float(weight * self.latent.unit * own @ self.latent.items[item])

    def parts(self, user: int, items: list[int]) -> dict[str, dict[int, float]]:
        """Of the candidates among some items: those with votes, and the most popular."""
        counts = (self.train > 0).sum(axis=0)
        popular = sorted(items, key=lambda item: (-counts[item], item))[:POPULAR_ITEMS]
        beside = np.array([self.vote(user, item) for item in range(self.train.shape[1])]) @ self.together
        votes = {item: score for item in items if (score := self.votes(user, item)) or beside[item] or item in popular}
        return {
            "products": {item: float(self.vectors[user] @ self.item_vectors[item]) for item in votes},
            "votes": votes,
            "together": {item: float(beside[item]) for item in votes},
            "popularity": {item: float(np.log1p(counts[item])) for item in votes},
        }

    def contributions(self, user: int, items: list[int]) -> dict[str, dict[int, float]]:
        """What each part with a weight adds to the score of each candidate, of parts that tell them apart."""
        found = {}
        for name, part in self.parts(user, items).items():
            weight, values = getattr(self.weights, name), [*part.values()]
            if weight and np.std(values) > 1e-9:
                found[name] = {item: weight * float((part[item] - np.mean(values)) / np.std(values)) for item in part}
        return found

    def scores(self, user: int, items: list[int]) -> dict[int, float]:
        parts = self.contributions(user, items)
        return {item: sum(part[item] for part in parts.values()) for item in self.parts(user, items)["votes"]}

    def votes(self, user: int, item: int) -> float:
        return self.of_neighbors(user, item) + sum(self.likeness(user, item).values())

    def of_neighbors(self, user: int, item: int) -> float:
        section, total, weights = Evaluate(), 0.0, 0.0
        for other, cosine in zip(self.ids[user], self.similarities[user], strict=True):
            weight = max(float(cosine), 0) ** section.amplification
            weights += weight
            total += weight * self.vote(other, item)
        return float(total / weights / (self.train[:, item] > 0).sum() ** section.popularity_penalty)

    def likeness(self, user: int, item: int) -> dict[int, float]:
        """What each item that the user liked adds."""
        pairs = list(zip(self.near[item], self.near_similarities[item], strict=True))[: ItemNeighbors().ranking_k]
        liked = self.train[user] >= LIKED_FROM
        share = Evaluate().liked_share / max(1, liked.sum())
        return {int(other): float(share * similarity) for other, similarity in pairs if other >= 0 and liked[other]}

    def taken_together(self, user: int, item: int) -> dict[int, float]:
        """What each item of the user's adds."""
        own = np.flatnonzero(self.train[user]).tolist()
        return {other: float(self.vote(user, other) * self.together[other, item]) for other in own}

    def vote(self, user: int, item: int) -> float:
        rating = self.train[user, item]
        return 0 if not rating else 1 if rating >= LIKED_FROM else Evaluate().disliked_vote
