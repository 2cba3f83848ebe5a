"""Makes this Python offer what Python offers on another system: imported by every process that has its folder first.

``ENGINE_TRIED_ON=macos``: no /proc, no cgroups, no processor affinity. ``windows``: nor locks of POSIX, descriptors of
folders, masks of signals, resource limits, sizes by `os.sysconf`; a module ``msvcrt`` locks instead.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import subprocess  # it asks for msvcrt to know its system, and is loaded before there is one
import sys
import types
from typing import Any

_HIDDEN = ("/proc", "/sys/fs/cgroup")


def hide_proc() -> None:
    """Let no file below /proc be found."""
    real_open, real_stat, real_io = os.open, os.stat, io.open

    def refuse(path: Any) -> None:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(_HIDDEN):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))

    def opened(path: Any, *rest: Any, **more: Any) -> Any:
        refuse(path)
        return real_io(path, *rest, **more)

    def at(path: Any, *rest: Any, **more: Any) -> Any:
        refuse(path)
        return real_open(path, *rest, **more)

    def looked(path: Any, *rest: Any, **more: Any) -> Any:
        refuse(path)
        return real_stat(path, *rest, **more)

    vars(builtins)["open"] = vars(io)["open"] = opened
    for real, hidden in ((real_open, at), (real_stat, looked)):
        for supported in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if real in supported:
                supported.add(hidden)
    os.open, os.stat = at, looked


def lack_posix() -> None:
    """Take away what Windows does not have; a folder cannot be opened, nor a descriptor name one."""
    real_open = os.open

    def without_folders(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            raise NotImplementedError("dir_fd unavailable on this platform")
        if os.path.isdir(path):  # noqa: PTH112  (pathlib asks through what is replaced here)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real_open(path, flags, mode)

    os.open = without_folders
    os.supports_dir_fd.clear()
    for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "sysconf", "fork", "getuid", "fchmod"):
        if hasattr(os, name):
            delattr(os, name)
    vars(subprocess)["signal"] = types.SimpleNamespace(**vars(signal))  # on Windows it ends processes without
    for name in ("pthread_sigmask", "SIGKILL", "SIGHUP"):
        delattr(signal, name)
    locks = types.ModuleType("msvcrt")
    vars(locks).update(LK_LOCK=1, LK_NBLCK=2, locking=_locking_by(__import__("fcntl")))
    sys.modules["msvcrt"] = locks
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        sys.modules[name] = None  # type: ignore[assignment]


def _locking_by(fcntl: Any) -> Any:
    def locking(descriptor: int, mode: int, n_bytes: int) -> None:
        del n_bytes
        fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if mode == 2 else 0))

    return locking


def change(system: str) -> None:
    """Offer what ``system`` does."""
    if hasattr(os, "sched_getaffinity"):
        del os.sched_getaffinity
    hide_proc()
    if system == "windows":
        lack_posix()
