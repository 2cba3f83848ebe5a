"""Loaded by every Python process that has this folder in PYTHONPATH: notes tasks as they begin, and kills on demand.

``KILLED_LOG`` names the file to note tasks in. ``KILLED_AT_CALL=n`` kills the process group just before the n-th
call of a process by which files become durable, take their names or go: the points of the commit protocol.
``KILLED_AT_TASK=n`` kills it when a process begins its n-th task, ``KILLED_AFTER`` seconds later.
"""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_counts = {"call": 0, "task": 0}
_lock = threading.Lock()


def _kill() -> None:
    os.killpg(0, signal.SIGKILL)


def _reached(what: str) -> bool:
    with _lock:
        _counts[what] += 1
        return _counts[what] == int(os.environ.get(f"KILLED_AT_{what.upper()}", "0"))


def _counted(call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        if _reached("call"):
            _kill()
        return call(*arguments, **named)

    return counted


def _noted(call: Callable[..., Any]) -> Callable[..., Any]:
    def noted(path: Any, *arguments: Any, **named: Any) -> Any:
        made = call(path, *arguments, **named)
        scratch = Path(os.fsdecode(path))
        if "dir_fd" in named:
            scratch = Path(f"/proc/self/fd/{named['dir_fd']}").readlink() / scratch
        if scratch.parent.name == ".scratch":
            with Path(os.environ["KILLED_LOG"]).open("a") as log:
                log.write(f"{scratch.parent.parent.name}/{scratch.name.rpartition('.')[0]}\n")
            if _reached("task"):
                threading.Timer(float(os.environ.get("KILLED_AFTER", "0")), _kill).start()
        return made

    return noted


if "KILLED_LOG" in os.environ:
    for _name in ("fsync", "replace", "unlink", "rmdir"):
        _call = _counted(getattr(os, _name))
        if getattr(os, _name) in os.supports_dir_fd:  # which tells shutil how it may remove trees
            os.supports_dir_fd.add(_call)
        setattr(os, _name, _call)
    os.mkdir = _noted(os.mkdir)
