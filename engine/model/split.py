"""Which ratings are held out: plain functions on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from engine.chunked.ranges import consecutive
from engine.model.sizes import CUT_BINS

# Ratings of a user up to which numpy's ``choice`` draws by Floyd's algorithm.
_FLOYD = 10_000


def share(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """A share of each of some numbers, rounded down; the fraction is the decimal that it is written as.

    Examples
    --------
    >>> share(np.array([10, 100, 1000]), 0.29), int(100 * 0.29)
    (array([  2,  29, 290]), 28)
    """
    exact = Fraction(repr(float(fraction)))
    # Of the few different numbers: in NumPy's integers products with the decimals of a fraction may not fit.
    different, places = np.unique(counts, return_inverse=True)
    shares = [n * exact.numerator // exact.denominator for n in different.tolist()]
    return np.array(shares, dtype=np.int64)[places]


def held_out_of_each(counts: NDArray[np.int64], test_fraction: float, min_ratings: int) -> NDArray[np.int64]:
    """How many of each user's ratings are held out, where that is a share of them.

    Examples
    --------
    >>> held_out_of_each(np.array([4, 5, 10, 19]), test_fraction=0.2, min_ratings=5)
    array([0, 1, 2, 3])
    """
    return np.where(counts >= min_ratings, np.maximum(1, share(counts, test_fraction)), 0)


def draw_held_out(
    rng: np.random.Generator, counts: NDArray[np.int64], test_fraction: float, min_ratings: int
) -> NDArray[np.bool_]:
    """Draw the held-out rows of consecutive users.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced by as much as these users take.
    counts : int64 array, shape (users,)
        Ratings of each user.
    test_fraction, min_ratings : float, int
        See `held_out_of_each`; users with fewer ratings draw nothing.

    Returns
    -------
    bool array, shape (sum of counts,)
        True where the row is in test; users one after another, rows in file order.
    """
    sizes = held_out_of_each(counts, test_fraction, min_ratings)
    starts = np.cumsum(counts) - counts
    mask = np.zeros(int(counts.sum()), dtype=bool)
    who = np.flatnonzero(sizes)
    together = (counts <= _FLOYD) & _numpy_is_known()
    for users in np.split(who, np.flatnonzero(np.diff(together[who])) + 1):
        draw = _draw_together if together[users].all() else _draw_one_by_one
        mask[draw(rng, counts[users], sizes[users]) + np.repeat(starts[users], sizes[users])] = True
    return mask


def draw_fold(
    rng: np.random.Generator, counts: NDArray[np.int64], fold: int, folds: int, min_ratings: int
) -> NDArray[np.bool_]:
    """Share the rows of consecutive users out among folds, and take one of them.

    A user's rows are put in an order at random and dealt to the folds in turn, beginning with a random one: a user's
    folds differ by one row at most, and each row is in exactly one of them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced by a number for each user and each row, whichever fold is taken.
    counts : int64 array, shape (users,)
        Ratings of each user.
    fold, folds : int, int
        The fold to take, from 0, and how many there are.
    min_ratings : int
        Users with fewer ratings are in no fold.

    Returns
    -------
    bool array, shape (sum of counts,)
        True where the row is in the fold; users one after another, rows in file order.
    """
    begin = rng.integers(0, folds, len(counts))
    users = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((rng.random(len(users)), users))
    turn = consecutive(begin, counts)
    mask = np.empty(len(users), dtype=bool)
    mask[order] = (turn % folds == fold) & (counts >= min_ratings).repeat(counts)
    return mask


def _draw_one_by_one(
    rng: np.random.Generator, counts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows drawn from each of some users, one user after the other."""
    drawn = [rng.choice(n, size, replace=False) for n, size in zip(counts.tolist(), sizes.tolist(), strict=True)]
    return np.concatenate([np.empty(0, dtype=np.int64), *drawn])


def _draw_together(rng: np.random.Generator, counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same rows, in another order: what ``choice`` does for users of up to `_FLOYD` ratings, for all at once.

    It draws ``size`` numbers, up to n - size for the first and up to one more for each that follows, and takes the
    bound where the number has been taken (Floyd's algorithm, in Bentley 1987, "A sample of brilliance"). Then it
    shuffles, which draws size - 1 numbers more, and changes nothing here.
    """
    lengths = 2 * sizes - 1
    turn = consecutive(np.zeros_like(lengths), lengths)
    n_first, size = np.repeat(counts - sizes, lengths), np.repeat(sizes, lengths)
    bounds = np.where(turn < size, n_first + turn, lengths.repeat(lengths) - turn)
    of_sample = turn < size
    drawn = rng.integers(0, bounds.astype(np.uint32), dtype=np.uint32, endpoint=True)[of_sample].astype(np.int64)
    bounds, turn, n_first = bounds[of_sample], turn[of_sample], n_first[of_sample]
    number = np.arange(len(drawn))
    place = np.repeat(np.cumsum(counts) - counts, sizes) + drawn
    earliest = np.empty(int(counts.sum()), dtype=np.int64)
    earliest[place[::-1]] = number[::-1]  # of draws of the same row the last one to be assigned stays
    taken = earliest[place] != number
    # A bound is taken in its turn, if what was drawn then was taken: turns lead back to earlier ones.
    source = np.where(drawn >= n_first, number - turn + drawn - n_first, number)
    while (more := taken | taken[source]).sum() > taken.sum():
        taken, source = more, source[source]
    return np.where(taken, bounds, drawn)


@cache
def _numpy_is_known() -> bool:
    """Whether ``choice`` draws as `_draw_together` does: numpy may change that from one version to the next."""
    counts, sizes = np.array([5, 2, 90, _FLOYD]), np.array([1, 2, 45, _FLOYD // 5])
    found = []
    for draw in (_draw_together, _draw_one_by_one):
        rng = np.random.default_rng(0)
        rows = draw(rng, counts, sizes) + np.repeat(np.cumsum(counts), sizes)
        found.append((np.sort(rows).tolist(), rng.bit_generator.state))
    return found[0] == found[1]


def numbers_of_text(texts: Iterable[str]) -> NDArray[np.uint64]:
    """A number of 64 bits for each text, which depends on nothing else: the first bytes of its BLAKE2b digest."""
    digests = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def turns(seed: int, users: NDArray[np.uint64], items: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers as good as random for pairs, which depend on the seed and the pair alone.

    Those of a user are all different, as long as the items' are.

    The seed, the user and the item are added one after the other, and mixed after each by the finaliser of SplitMix64
    (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").

    Parameters
    ----------
    seed : int
        0 or more.
    users, items : uint64 arrays, shape (pairs,)
        Numbers of the ids of each pair.

    Returns
    -------
    uint64 array, shape (pairs,)
    """
    begin = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    return _mixed(_mixed(begin + users) + items)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of the numbers of 64 bits, in which each bit changes about half of them."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(factor)
    return mixed ^ mixed >> np.uint64(31)


def last_of_each(
    users: NDArray[np.integer], items: NDArray[np.integer], times: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Each user's last rows by time; of those at the same time, the row of the greater item is the later one.

    So the order of the rows does not matter.

    Parameters
    ----------
    users, items : integer arrays, shape (rows,)
        Codes; of users from 0, every user having a row; no pair twice.
    times : int64 array, shape (rows,)
    sizes : int64 array, shape (users,)
        How many to take of each, at most its rows.

    Returns
    -------
    bool array, shape (rows,)

    Examples
    --------
    >>> users, items, times = np.array([0, 0, 0, 1]), np.array([7, 9, 8, 7]), np.array([5, 3, 5, 1])
    >>> last_of_each(users, items, times, np.array([1, 0]))
    array([False, False,  True, False])
    """
    return _last_in_order(np.lexsort((items, times, users)), users, sizes)


def greatest_of_each(
    users: NDArray[np.integer], numbers: NDArray[np.uint64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The rows of each user that have the greatest numbers.

    Parameters
    ----------
    users : integer array, shape (rows,)
        As in `last_of_each`.
    numbers : uint64 array, shape (rows,)
        No two of a user's are equal.
    sizes : int64 array, shape (users,)
        How many to take of each, at most its rows.

    Returns
    -------
    bool array, shape (rows,)
    """
    order = np.argsort(numbers)
    # As narrow as can be: numbers of 16 bits are counted instead of compared.
    narrow = users[order].astype(np.min_scalar_type(len(sizes)))
    return _last_in_order(order[np.argsort(narrow, kind="stable")], users, sizes)


def _last_in_order(order: NDArray[np.int64], users: NDArray[np.integer], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The last rows of each user, in an order that has one user after the other."""
    ends = np.cumsum(np.bincount(users, minlength=len(sizes)))
    mask = np.empty(len(users), dtype=bool)
    mask[order] = np.arange(len(users)) >= (ends - sizes)[users[order]]
    return mask


def smallest(pieces: Callable[[], Iterable[NDArray[np.int64]]], rank: int, low: int, high: int) -> int:
    """The value with ``rank`` smaller ones before it in order, found by counting ever narrower ranges.

    Exact, whatever the pieces. They are gone through once for every factor of 65 536 in ``high - low + 1``.

    Parameters
    ----------
    pieces : callable
        Goes through all values, in pieces of any size and order.
    rank : int
        From 0.
    low, high : int
        No value is outside of these.

    Examples
    --------
    >>> smallest(lambda: iter([np.array([50, 10]), np.array([20, 20])]), 2, 0, 100)
    20
    """
    while low < high:
        width = -(-(high - low + 1) // CUT_BINS)
        counts = np.zeros(CUT_BINS, dtype=np.int64)
        below = 0
        for values in pieces():
            below += int(np.count_nonzero(values < low))
            within = values[(values >= low) & (values <= high)]
            # Unsigned: the differences of 64-bit integers need all 64 bits.
            bins = (within.view(np.uint64) - np.uint64(low % 2**64)) // np.uint64(width)
            counts += np.bincount(bins.astype(np.int64), minlength=CUT_BINS)
        found = int(np.searchsorted(below + np.cumsum(counts), rank, side="right"))
        low, high = low + found * width, min(high, low + (found + 1) * width - 1)
    return low
