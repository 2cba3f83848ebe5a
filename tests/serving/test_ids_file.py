"""Files of ids, and other small texts that a user names: read as far as is needed to refuse them, and no further."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.chunked.errors import UsageError
from engine.config.loading import read_toml
from engine.serving import ids


def test_a_device_without_end_is_refused() -> None:
    for read in (ids.read_ids, read_toml):
        with pytest.raises(UsageError, match="/dev/zero: is not text"):
            read(Path("/dev/zero"))


def test_no_more_is_read_than_a_list_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users").write_text("12\n" * 1_000_000)
    assert len(ids.read_ids(tmp_path / "users")) == 1_000_000
    monkeypatch.setattr(ids, "MOST_IDS", 2**20)
    with pytest.raises(UsageError, match="users: more than 1 MiB"):
        ids.read_ids(tmp_path / "users")
    (tmp_path / "keys.toml").write_text("# much\n" * 200_000)
    with pytest.raises(UsageError, match="more than 1 MiB"):
        read_toml(tmp_path / "keys.toml")


def test_a_pipe_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"\xef\xbb\xbf7\r\n8\n",)).start()
    assert ids.read_ids(tmp_path / "pipe") == ["7", "8"]
