"""Run a command inside a memory limit that the kernel enforces."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_JOIN = 'echo $$ > "$0" && exec "$@"'


class NotPermittedError(Exception):
    """No memory cgroup can be made here; says why."""


@dataclass(frozen=True)
class Limited:
    """A cgroup with a limit.

    Attributes
    ----------
    folder : Path
    version : int
        1 or 2.
    """

    folder: Path
    version: int

    def command(self, command: Sequence[str]) -> list[str]:
        """The command, so that it joins the cgroup before it starts."""
        return ["sh", "-c", _JOIN, str(self.folder / "cgroup.procs"), *command]

    def kill(self) -> None:
        """Kill all its processes, until there are none."""
        while processes := (self.folder / "cgroup.procs").read_text().split():
            for process in map(int, processes):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    def peak_bytes(self) -> int | None:
        """The most the kernel counted, page cache included; None where it does not say."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        try:
            return int((self.folder / name).read_text())
        except OSError:
            return None

    def kills(self) -> int:
        """Processes the kernel killed for memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        fields = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(fields.get("oom_kill", 0))


def _own(version: int) -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if version == 1 and "memory" in controllers.split(","):
            return _ROOT / "memory" / path.lstrip("/")
        if version == 2 and controllers == "":
            return _ROOT / path.lstrip("/")
    raise NotPermittedError(f"no cgroup version {version} memory controller")


def _remove(folder: Path) -> None:
    """Remove a cgroup, as soon as the kernel is done with its processes."""
    deadline = time.monotonic() + 10
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def limit(n_bytes: int) -> Iterator[Limited]:
    """Make a memory cgroup of a size; it goes when its processes are gone.

    Raises
    ------
    NotPermittedError
        Where neither version can be used.
    """
    reasons = []
    for version, file in ((1, "memory.limit_in_bytes"), (2, "memory.max")):
        try:
            folder = _own(version) / f"recsys-engine-{os.getpid()}-{n_bytes}"
            folder.mkdir()
        except (OSError, NotPermittedError) as error:
            reasons.append(str(error))
            continue
        try:
            (folder / file).write_text(str(n_bytes))
        except OSError as error:
            reasons.append(str(error))
            folder.rmdir()
            continue
        try:
            yield Limited(folder, version)
        finally:
            _remove(folder)
        return
    raise NotPermittedError("; ".join(reasons))


def run_limited(
    command: Sequence[str], n_bytes: int, seconds: float | None = None
) -> tuple[subprocess.CompletedProcess[str], int | None, int]:
    """Run a command in a cgroup; return how it ended, the kernel's peak, and how many processes the kernel killed.

    After ``seconds`` all its processes are killed by SIGKILL; its exit code is -9 then.
    """
    with limit(n_bytes) as limited:
        arguments = limited.command(command)
        with subprocess.Popen(arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                limited.kill()
                process.kill()  # which may not have joined yet
                out, errors = process.communicate()
        done = subprocess.CompletedProcess(command, process.returncode, out, errors)
        return done, limited.peak_bytes(), limited.kills()
