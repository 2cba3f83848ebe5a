"""What is built for others: an sdist, a wheel from it, and what is installed from that into an empty environment."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("engine", "tests", "docs", "examples")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "CONTRIBUTING.md")


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what `make wheel` builds of an sdist in it, and the libraries that this one has."""
    for tool in ("scikit_build_core", "nanobind"):
        pytest.importorskip(tool, reason="builds it")
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    build = "import sys; from scikit_build_core.build import build_sdist; print(build_sdist(sys.argv[1]))"
    sdist = run(sys.executable, "-c", build, folder, cwd=source).split()[-1]
    with tarfile.open(folder / sdist) as packed:
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from Python 3.11.4 on
        packed.extractall(folder, **safely)
    unpacked = folder / sdist.removesuffix(".tar.gz")
    # What builds is installed here already: pip reads "no isolation: false" as none.
    # Not optimised: to compile the inner loops is most of the time, and what is tried is that they are there.
    quick = {"SKBUILD_CMAKE_BUILD_TYPE": "Debug", "SKBUILD_CMAKE_DEFINE": "CMAKE_CXX_FLAGS_DEBUG="}
    run("make", "wheel", f"BIN={Path(sys.executable).parent}", cwd=unpacked, PIP_NO_BUILD_ISOLATION="false", **quick)
    (wheel,) = (unpacked / "dist").glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    installed = folder / "venv/bin/python"
    run(*pip, "--python", installed, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    # Libraries of this environment, after those of that one.
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(installed, "-c", code, cwd=folder).strip())
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    return installed


def test_a_wheel_of_an_sdist_has_the_kernels_and_runs(python: Path, tmp_path: Path) -> None:
    code = "import engine.kernels._native as native; print(native.__file__)"
    assert Path(run(python, "-P", "-c", code, cwd=tmp_path).strip()).is_relative_to(python.parent.parent)
    said = run(python.parent / "engine", "--version", "--verbose", cwd=tmp_path)
    assert said.startswith("engine ")
    assert "kernels: " in said
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user in range(30) for item in range(9)]
    (tmp_path / "r.csv").write_text("\n".join(["user,item,rating", *rows]) + "\n")
    assert "Recall@50" in run(python.parent / "engine", "run", "r.csv", cwd=tmp_path)


def test_only_who_asks_for_graphs_needs_hnswlib(python: Path, tmp_path: Path) -> None:
    code = "from importlib.metadata import requires; print('\\n'.join(requires('recsys-engine')))"
    needed = run(python, "-P", "-c", code, cwd=tmp_path).splitlines()
    assert [line for line in needed if "hnswlib" in line and "extra ==" not in line] == []
    assert any("hnswlib" in line and "hnsw" in line.partition("extra ==")[2] for line in needed)


def test_the_image_is_written_as_its_linter_wants() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    if not linter.exists():
        pytest.skip("hadolint is not installed")
    run(linter, ROOT / "Dockerfile", cwd=ROOT)


def test_make_pipeline_ends_with_the_time_it_took(tmp_path: Path) -> None:
    if shutil.which("ps") is None:
        pytest.skip("ps tells the time")
    for name in ("python", "engine", "stamp"):  # the stamp last: nothing is to be installed
        (tmp_path / name).write_text("#!/bin/sh\necho ran $1\n")
        (tmp_path / name).chmod(0o755)
    told = run(
        "make", "--no-print-directory", "pipeline", f"BIN={tmp_path}", f"INSTALLED={tmp_path / 'stamp'}", cwd=ROOT
    ).splitlines()
    assert told[-2] == "ran run"
    assert re.fullmatch(r"took     00:\d\d \(minutes:seconds, installing included\)", told[-1])
