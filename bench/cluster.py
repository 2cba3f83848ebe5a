"""A run on Dask workers with a kernel limit each and an S3 server between them, workers being killed all the while.

``python -m bench.cluster --scale 0.1`` runs on one worker of this machine first, and compares what both runs left. The
server is moto's, one process: it is slower than any store, so read the seconds as an upper bound.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import distributed

from bench.cgroup import Limited, limit
from bench.kill import contents
from bench.measure import machine, make_twin, write_result
from engine.chunked.budget import format_size, parse_size
from engine.chunked.executors.base import environment
from engine.chunked.storage import Remote

# A page apart, so that each worker's cgroup has a name of its own.
_PAGE = 4096


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{server.args!r} has ended")


@contextmanager
def _server(*command: str) -> Iterator[str]:
    """A module that serves on a port of loopback, which is added to its arguments."""
    port = _free_port()
    arguments = [sys.executable, "-m", *command, str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


class Workers:
    """Dask workers in cgroups, each started again where it has ended.

    Parameters
    ----------
    scheduler : str
        Its address.
    cgroups : list of Limited
        One for each.
    n_bytes : int
        The limit that each is told.
    """

    def __init__(self, scheduler: str, cgroups: list[Limited], n_bytes: int) -> None:
        options = ["--no-nanny", "--nthreads", "1", "--memory-limit", str(n_bytes), "--no-dashboard"]
        self._command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, *options]
        self._cgroups = cgroups
        self._processes = [self._start(each) for each in cgroups]
        self.killed = 0

    def _start(self, cgroup: Limited) -> subprocess.Popen[bytes]:
        command, variables = cgroup.command(self._command), {**os.environ, **environment(workers=1)}
        return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_one(self) -> None:
        """Kill the next one, and start another in its place."""
        number = self.killed % len(self._processes)
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].wait()
        self._processes[number] = self._start(self._cgroups[number])
        self.killed += 1

    def end(self) -> None:
        """Kill all."""
        for cgroup, process in zip(self._cgroups, self._processes, strict=True):
            cgroup.kill()
            process.wait()


def _run(*arguments: str) -> float:
    start = time.monotonic()
    command = [sys.executable, "-m", "engine", "run", *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return round(time.monotonic() - start, 1)


def _run_killing(workers: Workers, every: float, *arguments: str) -> float:
    """The same, while a worker is killed each so many seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "engine", "run", *arguments, "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                _, errors = process.communicate(timeout=every)
                break
            except subprocess.TimeoutExpired:
                workers.kill_one()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode} after {workers.killed} kills: {errors[-2000:]}")
    return round(time.monotonic() - start, 1)


def compare(scale: float, n_workers: int, memory: str, every: float, folder: Path) -> dict[str, Any]:
    """Run on one worker, then on a cluster; what both took, and whether they left the same bytes."""
    twin, n_bytes = str(make_twin(scale)), parse_size(memory)
    one = _run(twin, "--workdir", str(folder / "one"), "--memory", memory, "--workers", "1")
    with ExitStack() as stack:
        endpoint = stack.enter_context(_server("moto.server", "-H", "127.0.0.1", "-p"))
        keys = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ.update(keys, AWS_ENDPOINT_URL=f"http://{endpoint}")
        bucket = Remote("s3://bench")
        bucket.store.mkdir(bucket.key)
        scheduler = stack.enter_context(
            _server("distributed.cli.dask_scheduler", "--no-dashboard", "--host", "127.0.0.1", "--port")
        )
        cgroups = [stack.enter_context(limit(n_bytes + k * _PAGE)) for k in range(n_workers)]
        workers = Workers(f"tcp://{scheduler}", cgroups, n_bytes)
        stack.callback(workers.end)
        with distributed.Client(f"tcp://{scheduler}") as client:
            client.wait_for_workers(n_workers)  # all of them are checked that are there at the start
        on_dask = ["--workdir", "s3://bench/run", "--executor", "dask", "--scheduler", f"tcp://{scheduler}"]
        many = _run_killing(workers, every, twin, *on_dask)
        bucket.store.get((bucket / "run" / "stages").key, str(folder / "many" / "stages"), recursive=True)
        peaks = [each.peak_bytes() for each in cgroups]
        out_of_memory = sum(each.kills() for each in cgroups)
    left = contents(folder / "many" / "stages")
    return {
        "seconds_one_worker": one,
        "seconds": many,
        "killed": workers.killed,
        "killed_by_the_kernel": out_of_memory,
        "peaks": peaks,
        "files": len(left),
        "same_bytes": left == contents(folder / "one" / "stages"),
    }


def main() -> None:
    """Print and store what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="times the users of ml-25m (default: 0.1)")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--memory", default="512MiB", help="of each worker (default: 512MiB)")
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-cluster-"))
    try:
        found = compare(options.scale, options.workers, options.memory, options.kill_every, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {"machine": machine(), "scale": options.scale, "workers": options.workers, "memory": options.memory}
    write_result(f"cluster-{options.scale:g}", result | found)
    peak = max((each or 0 for each in found["peaks"]), default=0)
    print(
        f"scale {options.scale:g}: {found['seconds_one_worker']} s on one worker of this machine; {found['seconds']} s "
        f"on {options.workers} workers of {options.memory} with files in S3, {found['killed']} killed on the way, "
        f"{found['killed_by_the_kernel']} by the kernel, which counted {format_size(peak)} at most; "
        f"{found['files']} files, {'the same bytes' if found['same_bytes'] else 'OTHER BYTES'}"
    )
    sys.exit(not found["same_bytes"])


if __name__ == "__main__":
    main()
