"""Whether the compiled module is of the sources beside it: after a change in a clone it may be of older ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.chunked.errors import EngineError

_SOURCES = Path(__file__).parent / "src"


def refuse_other(built_of: str, sources: Path = _SOURCES) -> None:
    """Refuse a module that was built of other sources than those there are; an installed package has none.

    Parameters
    ----------
    built_of : str
        SHA-256 of the sources' own, a line each, as ``CMakeLists.txt`` has put it into the module.
    sources : Path
        Their folder.

    Raises
    ------
    EngineError
        Where it was.
    """
    files = sorted(path for path in sources.glob("*") if path.suffix in (".cpp", ".h", ".inc"))
    digests = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)
    if files and hashlib.sha256(digests.encode()).hexdigest() != built_of:
        raise EngineError(
            f"the compiled inner loops are of other sources than {sources}: build them again; in a clone: make pipeline"
        )
