"""The compiled module: see the functions around it."""

from typing import Any

class Rows:
    def __init__(self, indptr: Any, indices: Any, data: Any, n_columns: int, step: float) -> None: ...

class Lists:
    def __init__(self, indptr: Any, columns: Any) -> None: ...

LANES: str
BUILT: tuple[str, str, str]
BUILT_OF: str

def rank_items(
    rows: Rows,
    neighbors: Any,
    weights: Any,
    factor: Any,
    is_rating: bool,
    liked_from: float,
    disliked: float,
    near: Rows | None,
    liked: Lists,
    shares: Any,
    together: Rows | None,
    own_items: Lists,
    own_values: Any,
    user_vectors: Any,
    item_vectors: Any,
    popularity: Any,
    by_popularity: Any,
    n_popular: int,
    blends: Any,
    taken: Lists,
    wanted: Lists,
    offered: Any,
    items: Any,
    ranked: Any,
    found: Any,
    contributions: Any,
    votes_of_listed: Any,
) -> None: ...
def rank_popular(by_popularity: Any, n_items: int, taken: Lists, items: Any) -> None: ...
def find_in_rows(rows: Lists, items: Any, places: Any) -> None: ...
def count_opinions(rows: Rows, neighbors: Any, items: Any, counts: Any, means: Any) -> None: ...
def find_strongest(rows: Rows, own: Lists, values: Any, items: Any, strongest: Any, sums: Any) -> None: ...
def mean_near_residuals(
    own: Lists,
    residuals: Any,
    n_items: int,
    asked: Lists,
    near: Any,
    similarities: Any,
    shrink: float,
    means: Any,
    covered: Any,
) -> None: ...
def products_of_pairs(users: Any, items: Any, asked: Lists, products: Any) -> None: ...
def add_gram_product(rows: Rows, order: Any, weights: Any, basis: Any, total: Any) -> None: ...
def add_partial_sums(rows: Rows, ends: Any, order: Any, weights: Any, basis: Any, total: Any) -> None: ...
def times_dense(rows: Rows, order: Any, dense: Any, product: Any) -> None: ...
def solve_rows(
    rows: Rows, targets: Any, weights: Any, ridges: Any, others: Any, gram: Any, steps: int, order: Any, solutions: Any
) -> None: ...
def add_left(
    rows: Rows, targets: Any, weights: Any, row_vectors: Any, column_vectors: Any, order: Any, into: Any
) -> None: ...
def begin_rows(
    sums: Any, gram: Any, ridges: Any, solutions: Any, residuals: Any, directions: Any, lengths: Any
) -> None: ...
def step_rows(
    sums: Any, gram: Any, ridges: Any, solutions: Any, residuals: Any, directions: Any, lengths: Any
) -> None: ...
def find_together(
    rows: Rows,
    of_items: Rows,
    items: Any,
    user_weights: Any,
    item_weights: Any,
    liked_from: float,
    disliked: float,
    ids: Any,
    similarities: Any,
) -> None: ...
def keep_best(
    queries: Any,
    own: Any,
    rows: Any,
    vectors: Any,
    codes: Any,
    own_trust: Any,
    trust: Any,
    k: int,
    numbers: Any,
    scores: Any,
    used: Any,
    worst: Any,
    worst_number: Any,
) -> None: ...
def sort_best(numbers: Any, scores: Any, used: Any, best: Any, best_scores: Any) -> None: ...
def products_of(rows: Any, others: Any, products: Any) -> None: ...
def near_centres(rows: Any, centres: Any, reach: float, nearest: Any, near: Any) -> None: ...
def whole_products_of(rows: Any, other: Any, products: Any) -> None: ...
