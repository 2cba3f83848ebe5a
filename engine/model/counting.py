"""Into how many tasks the counting of ids, and the making of tables, is shared out."""

from __future__ import annotations

from engine.model.sizes import COUNT_GROUPS, INGEST_ROW_GROUP, INGEST_ROW_GROUP_BYTES, RANGE_IDS, TABLE_USERS

# What two rounds more take is more than what they save of so few.
_FEW_PARTS = 2


def n_ranges(n_ids: int) -> int:
    """Ranges of about so many distinct ids."""
    return max(1, -(-n_ids // RANGE_IDS))


def n_parts(n_rows: int, text_bytes: int) -> int:
    """Parts of the rows; ``text_bytes`` is the size of the ratings where ids are text, else 0."""
    rows, n_bytes = COUNT_GROUPS * INGEST_ROW_GROUP, COUNT_GROUPS * INGEST_ROW_GROUP_BYTES
    return max(1, min(n_rows, max(-(-n_rows // rows), -(-text_bytes // n_bytes))))


def is_shared_out(n_parts: int, *ranges: int) -> bool:
    """Whether ids are counted by many tasks: of few rows and ids one task counts all, which saves two rounds."""
    return n_parts > _FEW_PARTS or max(ranges) > 1


def tables_per_task(users_per_block: int) -> int:
    """Tables that a task makes, each of a block of users."""
    return max(1, TABLE_USERS // users_per_block)
