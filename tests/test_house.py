"""The house keeps its plan: what stands where, and which way imports run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ENGINE = Path(__file__).parent.parent / "engine"
TOP = {
    "__init__", "__main__", "driver", "estimates", "pipeline",
}  # fmt: skip
# From the ground up: what stands in a room may import from its own and from those before it.
ROOMS = [
    "chunked", "kernels", "model", "config", "ratings", "costs", "estimates", "artifacts", "stages", "results",
    "pipeline", "driver", "serving", "cli", "__main__",
]  # fmt: skip


def modules() -> dict[str, Path]:
    """All modules of the package, by name."""
    files = [*ENGINE.rglob("*.py"), *ENGINE.rglob("*.pyi")]
    paths = {".".join(path.relative_to(ENGINE.parent).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


MODULES = modules()


def imports(name: str, *, late: bool = True) -> Iterator[str]:
    """Modules of the package that a module imports; without ``late`` only when it is loaded."""
    tree = ast.parse(MODULES[name].read_text())
    nodes = ast.walk(tree) if late else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (each for each in below if each in MODULES)
            if any(each not in MODULES for each in below):
                yield node.module


def room(name: str) -> str:
    return name.removeprefix("engine").removeprefix(".").partition(".")[0] or "__init__"


def test_at_the_top_stand_only_the_named_modules() -> None:
    assert {path.stem for path in ENGINE.glob("*.py")} <= TOP


def test_every_room_is_in_the_plan() -> None:
    assert {room(name) for name in MODULES} - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"engine"}))
def test_imports_run_one_way(name: str) -> None:
    own = ROOMS.index(room(name))
    above = [each for each in imports(name) if each != "engine" and ROOMS.index(room(each)) > own]
    assert not above, f"{name} is below what it imports"


def test_no_modules_import_each_other_when_they_are_loaded() -> None:
    graph = {name: set(imports(name, late=False)) - {name, "engine"} for name in MODULES}
    for name, package in MODULES.items():  # a package that only gathers what is in it stands above it
        if package.name == "__init__.py" and name != "engine":
            graph[name] -= {each for each in graph[name] if not each.startswith(name)}
    assert list(TopologicalSorter({k: v for k, v in graph.items() if k != "engine"}).static_order())


def test_the_engine_knows_nothing_of_what_is_computed() -> None:
    words = re.compile(r"\b(films?|movies?|ratings?|recommend\w*|items?(?!\(|size)|--memory \d|engine run)\b", re.I)
    for name, path in MODULES.items():
        if room(name) == "chunked":
            found = set(words.findall(path.read_text()))
            assert not found, f"{name} speaks of {found}"


def test_what_is_private_is_read_only_where_it_is_defined() -> None:
    foreign = {"_fields", "_asdict", "_replace", "_exit"}  # what libraries offer under such names
    foreign |= {"_actions", "_choices_actions", "_SubParsersAction", "_strip_protocol"}  # where they have no other way
    for name, path in MODULES.items():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        read = [node for node in nodes if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr)]
        own = {node.attr for node in read if isinstance(node.ctx, ast.Store)}
        own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        others = [node for node in read if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))]
        taken = [f"line {node.lineno}: {node.attr}" for node in others if node.attr not in own | foreign]
        assert not taken, f"{name} reads what is another module's own"


def test_who_only_begins_runs_loads_no_numerical_library() -> None:
    code = (
        "import sys, engine.cli, engine.chunked.loop\n"
        "print(sorted({'numpy', 'polars', 'zarr', 'scipy', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
