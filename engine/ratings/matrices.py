"""SciPy's sparse matrices: whether their parts go together, which SciPy looks at only when it makes one of them."""

from __future__ import annotations

from typing import Any

from engine.chunked.errors import UsageError


def sound(matrix: Any, called: str) -> Any:
    """A sparse matrix whose entries can be read from its parts; those by row or column as they are, others as lists.

    Parameters
    ----------
    matrix : sparse matrix or array
    called : str
        What it is called in messages.

    Raises
    ------
    UsageError
        Where its parts do not go together.
    """
    try:
        fault = _OF_FORMAT.get(matrix.format, _nothing)(matrix)
        if not fault and matrix.format not in ("csr", "csc"):
            matrix = matrix.tocoo()
            fault = _fault_of_entries(matrix)
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:  # what SciPy stumbles over
        fault = " ".join(str(error).split())[:100] or type(error).__name__
    if fault:
        raise UsageError(
            f"{called} is a matrix in {matrix.format} form whose parts do not go together ({fault}): make it anew"
        )
    return matrix


def _nothing(matrix: Any) -> str:
    return ""


def _fault_of_rows(matrix: Any) -> str:
    """Of one that is stored by row, by column, or by row of blocks."""
    height, width = matrix.shape[::-1] if matrix.format == "csc" else matrix.shape
    if matrix.format == "bsr":
        block = matrix.data.shape[1:]
        if len(block) != 2 or height % block[0] or width % block[1]:
            return "blocks that do not fill its shape"
        height, width = height // block[0], width // block[1]
    elif matrix.data.ndim != 1:
        return f"data of shape {matrix.data.shape}"
    pointers, places = matrix.indptr, matrix.indices
    if pointers.dtype.kind not in "iu" or pointers.shape != (height + 1,):
        return f"indptr is not {height + 1} whole numbers"
    if pointers[0] != 0 or (pointers[1:] < pointers[:-1]).any():
        return "indptr does not ascend from 0"
    if len(places) != len(matrix.data) or pointers[-1] > len(places):
        return f"{len(places)} indices and {len(matrix.data)} data, where indptr ends with {pointers[-1]}"
    return _fault_of_places("indices", places[: pointers[-1]], width)


def _fault_of_entries(matrix: Any) -> str:
    lengths = len(matrix.row), len(matrix.col), len(matrix.data)
    if len(set(lengths)) > 1:
        return f"{lengths[0]} rows, {lengths[1]} columns and {lengths[2]} data"
    height, width = matrix.shape
    return _fault_of_places("rows", matrix.row, height) or _fault_of_places("columns", matrix.col, width)


def _fault_of_lists(matrix: Any) -> str:
    if not len(matrix.rows) == len(matrix.data) == matrix.shape[0]:
        return f"{len(matrix.rows)} rows and {len(matrix.data)} data, where its shape has {matrix.shape[0]}"
    if any(len(row) != len(data) for row, data in zip(matrix.rows, matrix.data, strict=True)):
        return "a row with more places than data, or fewer"
    return ""


def _fault_of_diagonals(matrix: Any) -> str:
    if matrix.data.ndim != 2 or matrix.offsets.shape != matrix.data.shape[:1]:
        return f"offsets of shape {matrix.offsets.shape} and data of shape {matrix.data.shape}"
    if len(set(matrix.offsets.tolist())) < len(matrix.offsets):
        return "an offset twice"
    return ""


def _fault_of_places(what: str, places: Any, below: int) -> str:
    if places.dtype.kind not in "iu" or places.ndim != 1:
        return f"{what} are not whole numbers"
    if len(places) and not (places.min() >= 0 and places.max() < below):
        return f"{what} from {places.min()} to {places.max()}, where its shape has 0 to {below - 1}"
    return ""


_OF_FORMAT = {
    "csr": _fault_of_rows,
    "csc": _fault_of_rows,
    "bsr": _fault_of_rows,
    "coo": _fault_of_entries,
    "dia": _fault_of_diagonals,
    "lil": _fault_of_lists,
}
