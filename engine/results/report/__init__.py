"""``engine report``: a finished work directory as one HTML page.

`content` reads the work directory, `tables` puts its figures into tables, `charts` draws with Vega-Altair, and `page`
makes the page of them.
"""

from __future__ import annotations

from engine.chunked.errors import UsageError
from engine.chunked.storage import Location, Place, locate

REPORT = "report.html"


def write(where: Place, target: Place | None = None) -> Location:
    """Write the report of a finished run.

    Parameters
    ----------
    where : Path or Remote
        The work directory.
    target : Path or Remote, optional
        The page; without it, `REPORT` in the work directory.

    Returns
    -------
    Path or Remote
        The page.

    Raises
    ------
    UsageError
        Where a library is missing, or as `engine.results.report.content.collect`.
    LockedError, DamagedError
        As `engine.results.report.content.collect`.
    """
    from engine.results.report.content import collect

    try:
        from engine.results.report.page import render
    except ModuleNotFoundError as error:
        package = str(error.name).replace("_", "-") + ("-python" if error.name == "vl_convert" else "")
        raise UsageError(f"a report is drawn by {package}, which is not installed: pip install {package}") from None
    page = locate(where).enclosed() / REPORT if target is None else locate(target)
    page.put(render(collect(where)).encode())
    return page
