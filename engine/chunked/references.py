"""Classes and functions by name, so that another process finds them: in a module, or in the script that is run.

A module is looked for as usual, then in the folder it was loaded from here. A script is loaded from its file, under
another name than ``__main__``, so that what stands behind ``if __name__ == "__main__":`` is not run again.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from engine.chunked.errors import EngineError, UsageError, fault_of_store, is_short

_SCRIPT = "__chunked_main__"
_GUARD = (
    'other processes load the script to find its stages, so put what begins the run under if __name__ == "__main__":'
)
_loading_script = False


class Reference(msgspec.Struct, frozen=True):
    """Where something is defined.

    Attributes
    ----------
    module : str
        Its module; of a script, `__main__`.
    name : str
        Its name there, with dots where it is part of a class.
    file : str
        The module's file; empty where that is not needed to find it.
    """

    module: str
    name: str
    file: str = ""

    @property
    def text(self) -> str:
        """``module:name``."""
        return f"{self.module}:{self.name}"


def refer(to: Any) -> Reference:
    """Refer to a class or function at the top of a module, or name one by ``"module:name"``.

    Raises
    ------
    UsageError
        Where another process could not find it, with what to do.
    """
    if isinstance(to, str):
        return _named(to)
    module: str | None = getattr(to, "__module__", None)
    name: str | None = getattr(to, "__qualname__", None)
    if module is None or name is None:
        raise UsageError(f"{to!r} has no name that other processes could find it by: give a class or a plain function")
    if name.endswith("<lambda>"):
        raise UsageError("a lambda has no name that other processes could find it by: give a class or a plain function")
    if "<" in name:
        raise UsageError(f"{name} is defined inside a function: move it to the top of its module")
    if module == "__main__":
        return _in_main(name)
    return Reference(module, name, str(getattr(sys.modules.get(module), "__file__", None) or ""))


def _named(text: str) -> Reference:
    module, colon, name = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r}: name a class or function as 'module:name'")
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise UsageError(f"{text!r}: there is no module {module}")
    return Reference(module, name, spec.origin or "")


def _in_main(name: str) -> Reference:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    if spec is not None and file:  # python -m package.module
        return Reference(spec.name, name, str(Path(file).absolute()))
    if not file or not Path(file).is_file():
        raise UsageError(
            f"{name} is defined at a prompt or in a notebook, where other processes cannot find it: write it into a "
            "file, such as stages.py, and import it from there"
        )
    return Reference("__main__", name, str(Path(file).absolute()))


def load(reference: Reference) -> Any:
    """What a reference is to.

    Raises
    ------
    UsageError
        Where it is not found, or its module fails to load.
    """
    found: Any = _script(reference.file) if reference.module == "__main__" else _loaded(reference)
    for part in reference.name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{reference.text} is not found: there is no {part} in {found!r}")
        found = getattr(found, part)
    return found


def _loaded(reference: Reference) -> ModuleType:
    """The module, or what is wrong with it."""
    try:
        return _module(reference)
    except (Exception, SystemExit) as error:
        if isinstance(error, EngineError) or is_short(error) or fault_of_store(error):
            raise
        raise UsageError(f"{reference.text} cannot be loaded ({_fault(error)}): mend that, then run again") from error


def _fault(error: BaseException) -> str:
    """What is wrong with a module, and where: in the last of its lines and of those it calls."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen ")]
    if isinstance(error, SyntaxError) or frames[-1].filename == __file__ or frames[-1].lineno is None:
        return told  # which says where, or there is nobody's line
    return f"{told}, in {frames[-1].filename}, line {frames[-1].lineno}"


def _module(reference: Reference) -> ModuleType:
    """The module, of the file it was loaded from where the reference was made, if that is here."""
    file = Path(reference.file) if reference.file else None
    if file is not None and file.is_file():
        _search(reference.module, file)
    found = importlib.import_module(reference.module)
    there = getattr(found, "__file__", None)
    if file is not None and file.is_file() and there and not Path(there).samefile(file):
        raise UsageError(f"module {reference.module} is {there} here, not {file}: rename one of them")
    return found


def _search(module: str, file: Path) -> None:
    """See that the top of a module is looked for where its file is, not where another one has its name."""
    top, *below = module.split(".")
    above = file.parent.parent if file.name == "__init__.py" else file.parent
    root = [above, *above.parents][len(below)]
    if top in sys.modules or root.name.endswith("-packages"):
        return
    spec = importlib.util.find_spec(top)
    places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
    if root.resolve() not in [Path(place).resolve().parent for place in places]:
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()


def _script(file: str) -> ModuleType:
    """The script that was run, as a module."""
    global _loading_script
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and Path(str(main.__file__)).absolute() == Path(file):
        return main  # in the very process that runs it
    if _SCRIPT not in sys.modules:
        spec = importlib.util.spec_from_file_location(_SCRIPT, file)
        if spec is None or spec.loader is None:
            raise UsageError(f"{file} cannot be loaded as a Python module: give the script a name that ends with .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[_SCRIPT] = module
        sys.path.insert(0, str(Path(file).resolve().parent))  # as for the script itself: what lies beside it
        _loading_script = True
        try:
            spec.loader.exec_module(module)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"{file} cannot be loaded again ({_fault(error)}): {_GUARD}") from error
        finally:
            _loading_script = False
    return sys.modules[_SCRIPT]


def refuse_unguarded() -> None:
    """Refuse to begin a run while a script is loaded to find its stages.

    Raises
    ------
    UsageError
        Then.
    """
    if _loading_script:
        raise UsageError(f"the script begins its run whenever it is loaded: {_GUARD}")
