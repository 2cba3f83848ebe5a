"""What a run left, for the program that ran it and for people."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from engine.chunked.budget import format_size
from engine.chunked.journal import Committed
from engine.chunked.planning import DONE, IDLE, RunPlan, rounds_table
from engine.chunked.storage import Location
from engine.chunked.workdir import StageEntry


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a run left.

    Attributes
    ----------
    metrics : dict
        The content of ``metrics.json``; empty where the pipeline collects nothing.
    workdir : location
        The work directory; an absolute path, where it is on a disk.
    artifacts : dict of str to location
        The folder of each step.
    stages : list of StageEntry
        What each step took.
    allowed, processes : int, int
        Bytes each of so many processes was allowed.
    """

    metrics: dict[str, Any]
    workdir: Location
    artifacts: dict[str, Location]
    stages: list[StageEntry]
    allowed: int
    processes: int

    def __repr__(self) -> str:
        seconds = sum(entry.seconds for entry in self.stages if not entry.skipped)
        return f"RunResult({str(self.workdir)!r}, {len(self.stages)} steps, {seconds:.1f} s{self._figures()})"

    def _figures(self) -> str:
        """The figures at the top of the metrics: the first numbers that are no counts."""
        found = [f", {name}={value:.4g}" for name, value in self.metrics.items() if isinstance(value, float)]
        return "".join(found[:4])

    def _repr_html_(self) -> str:
        """For notebooks: what `repr` says, and what each step took."""
        ran = [entry for entry in self.stages if not entry.skipped]
        cells = [(entry.stage, f"{entry.seconds:.1f} s", format_size(entry.measured)) for entry in ran]
        rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in (("step", "time", "memory"), *cells)]
        table = "".join(f"<tr>{row}</tr>" for row in rows) if ran else ""
        return f"<p><code>{escape(repr(self))}</code></p><table>{table}</table>"

    def committed(self, step: str) -> Committed:
        """What a step has left: its files, and what its tasks returned."""
        return Committed(self.artifacts[step])


def describe(found: RunResult | RunPlan) -> str:
    """Of a run, memory and time of each stage; of a plan, every round with its tasks and memory; for people."""
    return rounds_table(found) if isinstance(found, RunPlan) else _took(found)


def _took(result: RunResult) -> str:
    lines = [f"{'stage':<16}{'projected':>12}{'measured':>12}{'share':>8}{'seconds':>10}"]
    ran = [entry for entry in result.stages if not entry.skipped]
    for entry in result.stages:
        if entry.skipped:
            lines.append(f"{entry.stage:<16}{IDLE if entry.idle else DONE:>24}")
        else:
            projected, measured = format_size(entry.projected), format_size(entry.measured)
            share = entry.measured / entry.projected if entry.projected else 0.0  # nothing was left to do
            row = f"{entry.stage:<16}{projected:>12}{measured:>12}{share:>8.0%}{entry.seconds:>10.1f}"
            lines.append(row if share <= 1 else f"{row}  WARNING: more than projected")
    peak = max((entry.measured for entry in ran), default=0)
    total = sum(entry.seconds for entry in ran)
    lines.append(f"{'all':<16}{'':>12}{format_size(peak):>12}{'':>8}{total:>10.1f}")
    if result.processes > 1:
        lines.append(f"memory: of each of {result.processes} worker processes, the one that used most")
    if peak > result.allowed:
        lines.append(f"WARNING: {format_size(peak)} measured, but {format_size(result.allowed)} were allowed")
    return "\n".join(lines)
