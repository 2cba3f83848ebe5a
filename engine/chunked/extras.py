"""Parts of this package that not everybody needs, and how they are installed."""

from __future__ import annotations

import shlex
import sys


def install(*extras: str) -> str:
    """The command that adds extras of this package to the environment that it runs in.

    It names that environment's interpreter: a bare ``pip`` may be another's, or none.

    Examples
    --------
    >>> install("serve").partition(" -m ")[2]
    "pip install 'recsys-engine[serve]'"
    """
    return f"{shlex.quote(sys.executable or 'python')} -m pip install 'recsys-engine[{','.join(extras)}]'"
