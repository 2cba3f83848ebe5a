"""What is seen while it runs: one bar per stage on a terminal, plain lines elsewhere; lines of JSON for programs."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NoReturn

import msgspec

from engine.chunked.budget import format_size
from engine.chunked.events import (
    Event,
    Explained,
    Note,
    OnEvent,
    Preparing,
    RoundBegan,
    RunBegan,
    StageBegan,
    StageEnded,
    StageSkipped,
    TaskEnded,
    ignore,
)
from engine.chunked.printable import printable

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress:
    """Shows the events of a run.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    explain : bool
        Also why each stage runs or is skipped, and what it read through a cache.
    stream : file
        Where to; a terminal and a notebook get bars.
    """

    def __init__(self, quiet: bool = False, explain: bool = False, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._explain = explain
        self._bars = self._stream.isatty() or in_notebook()
        self._bar: tqdm[NoReturn] | None = None
        self._tasks = 0
        self._left, self._drawing = threading.Event(), threading.Lock()
        self._shown: dict[type[Event], Callable[[Any], None]] = {
            RunBegan: self._run_began,
            Note: self._note,
            Preparing: self._preparing,
            Explained: self._explained,
            StageBegan: self._stage_began,
            RoundBegan: self._round_began,
            TaskEnded: self._task_ended,
            StageSkipped: self._stage_skipped,
            StageEnded: self._stage_ended,
        }

    def __enter__(self) -> Progress:
        if self._bars and not self._quiet:
            threading.Thread(target=self._tick, name="progress", daemon=True).start()
        return self

    def _tick(self) -> None:
        """Show each second that time passes, though no task has ended."""
        while not self._left.wait(1):
            with self._drawing:
                if self._bar is not None:
                    self._bar.refresh()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._close()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if not self._quiet:
            show = self._shown.get(type(event))
            if show is not None:
                show(event)

    def _say(self, line: str) -> None:
        shown, encoding = printable(line), getattr(self._stream, "encoding", None) or "utf-8"
        print(shown.encode(encoding, "replace").decode(encoding), file=self._stream, flush=True)

    def _run_began(self, event: RunBegan) -> None:
        each = f" to each of {event.processes} worker processes" if event.processes > 1 else ""
        self._say(f"{event.name} in {event.workdir}, {format_size(event.allowed)} allowed{each}")
        for note in event.notes:
            self._say(f"note: {note}")

    def _note(self, event: Note) -> None:
        self._say(f"note: {event.text}")

    def _preparing(self, event: Preparing) -> None:
        if self._bars:  # somebody waits
            self._say(f"{event.text} ...")

    def _stage_began(self, event: StageBegan) -> None:
        self._tasks = event.tasks
        if self._bars:
            tqdm = _bar_class()

            form = "{desc:<38} {n_fmt:>4}/{total_fmt:<4} {bar:20} {elapsed}<{remaining}{postfix}"
            title = f"{event.stage}: {event.does}"
            self._bar = tqdm(total=event.tasks, desc=title, bar_format=form, file=self._stream, unit="task")

    def _round_began(self, event: RoundBegan) -> None:
        if self._bar is not None:
            self._bar.update(event.done)

    def _task_ended(self, event: TaskEnded) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(format_size(event.measured), refresh=False)
            self._bar.update()

    def _stage_skipped(self, event: StageSkipped) -> None:
        why = "nothing to do" if event.idle else "done before"
        if self._bar is not None:
            self._bar.set_postfix_str(why)
        else:
            self._say(f"{event.stage}: {why}")
        self._close()

    def _stage_ended(self, event: StageEnded) -> None:
        if self._bar is not None:
            self._bar.n = self._bar.total or 0  # temporary tasks whose results are not needed any more do not run
            self._bar.set_postfix_str(f"peak {format_size(event.measured)}")
        else:
            peak = format_size(event.measured)
            self._say(f"{event.stage}: {self._tasks} tasks in {event.seconds:.1f} s, peak {peak}")
        self._close()
        if self._explain and event.stored + event.kept:
            share = event.kept / (event.stored + event.kept)
            self._say(
                f"{event.stage}: {format_size(event.stored)} of chunks read, {share:.0%} of what was asked in memory"
            )

    def _explained(self, event: Explained) -> None:
        if self._explain:
            for stage, why in event.why.items():
                self._say(f"{stage}: {why}")

    def _close(self) -> None:
        with self._drawing:
            if self._bar is not None:
                self._bar.close()
                self._bar = None


class EventLines:
    """Tells the events of a run as lines of JSON, one an event, for programs.

    Parameters
    ----------
    quiet : bool
        Tell nothing.
    stream : file
        Where to; standard error by default.
    """

    def __init__(self, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet

    def __enter__(self) -> EventLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        if not self._quiet:
            print(msgspec.json.encode(event).decode(), file=self._stream, flush=True)


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _bar_class() -> Any:
    """Bars of tqdm's, not loaded where nobody sees them; a notebook's own where it has such."""
    if not in_notebook():
        from tqdm import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are plainer ones is no fault
        from tqdm.auto import tqdm as of_notebooks

        return of_notebooks


@contextmanager
def following(on_event: OnEvent, progress: bool | None) -> Iterator[OnEvent]:
    """What to call with the events of a run: what the caller gave, and, where wanted, what shows progress.

    Parameters
    ----------
    on_event : callable
        `engine.chunked.events.ignore` where the caller gave nothing.
    progress : bool or None
        None: on a terminal and in a notebook, where the caller gave nothing.
    """
    if progress is None:
        progress = on_event is ignore and (sys.stderr.isatty() or in_notebook())
    if not progress:
        yield on_event
        return
    with Progress() as shown:

        def both(event: Event) -> None:
            shown(event)
            on_event(event)

        yield both
