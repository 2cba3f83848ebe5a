"""``engine report``: a finished work directory as one HTML page.

`content` reads the work directory, `tables` puts its figures into tables, `charts` draws with Vega-Altair, and `page`
makes the page of them.
"""

from __future__ import annotations

from importlib.util import find_spec

from engine.chunked.errors import UsageError
from engine.chunked.extras import install
from engine.chunked.storage import Location, Place, locate
from engine.chunked.storage.outputs import refuse_output, write_output

REPORT = "report.html"


# Modules that the page is made with, and the packages that have them.
_NEEDED = {"altair": "altair", "jinja2": "jinja2", "vl_convert": "vl-convert-python"}


def refuse_missing(*modules: str) -> None:
    """See that what a page is made with is installed: these modules, or all.

    Raises
    ------
    UsageError
        Where something is missing, with what to install.
    """
    missing = [_NEEDED[module] for module in modules or _NEEDED if not _installed(module)]
    if missing:
        raise UsageError(f"the page is made with {', '.join(missing)}: {install('report')}")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # kept from being imported
        return False


def write(where: Place, target: Place | None = None) -> Location:
    """Write the report of a finished run.

    Parameters
    ----------
    where : Path or Remote
        The work directory; its newest finished run is reported.
    target : Path or Remote, optional
        The page; without it, `REPORT` in the work directory. A pipe, or a device such as a terminal, is written into.

    Returns
    -------
    Path or Remote
        The page.

    Raises
    ------
    UsageError
        Where a library is missing, the page would take the place of a folder or the like, or as
        `engine.results.report.content.collect`.
    DamagedError
        As `engine.results.report.content.collect`.
    """
    from engine.results.report.content import collect

    refuse_missing()
    from engine.results.report.page import render

    page = locate(where).enclosed() / REPORT if target is None else locate(target)
    refuse_output(page, text=target is not None)  # nobody reads a pipe in a work directory
    content = render(collect(where)).encode()
    if target is None:
        page.put(content)
    else:
        write_output(page, content)
    return page
