"""What is seen while it runs: one bar per stage on a terminal, plain lines elsewhere; lines of JSON for programs."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from engine.chunked.planning import DONE, IDLE
from engine.chunked.printable import printable
from engine.chunked.terminal import columns, fitted

if TYPE_CHECKING:
    from tqdm import tqdm


# Seconds without a line after which one says that it goes on, and those that are enough when it takes long.
_SILENT = 2.0
_SELDOM = 60.0
# What is done where no event says what.
_BETWEEN = "making ready"
# Columns of a line with a bar, at most; those of what stands in it beside title and bar; and of the shortest bar.
_WIDEST, _BESIDE, _BAR = 100, len("  1234/1234   00:00<00:00, peak 1023 MiB"), 6


class _Doing:
    """What is being done, for a log: a line where there has been none for long, the less often the longer it takes."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()
        self._what, self._tasks, self._done = _BETWEEN, 0, 0

    def now(self, what: str, tasks: int = 0) -> None:
        """Something else is being done, in so many tasks, or in none that are counted."""
        self._began = time.monotonic()
        self._what, self._tasks, self._done = what, tasks, 0

    def count(self, tasks: int) -> None:
        """So many tasks more are done."""
        self._done += tasks

    def said(self) -> None:
        """There has been a line."""
        self._said = time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Until there is to be a line."""
        pause = min(max(_SILENT, (self._said - self._began) / 4), _SELDOM)
        return self._said + pause - time.monotonic()

    def __str__(self) -> str:
        tasks = f"{self._done} of {self._tasks} tasks " if self._tasks else ""
        return f"{self._what}: {tasks}after {time.monotonic() - self._began:.0f} s"


class Progress:
    """Shows the events of a run.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    explain : bool
        Also why each stage runs or is skipped, and what it read through a cache.
    stream : file
        Where to; a terminal and a notebook get bars, all else a line for each stage, and more where one takes long.
    """

    def __init__(self, quiet: bool = False, explain: bool = False, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._explain = explain
        self._bars = self._stream.isatty() or in_notebook()
        self._bar: tqdm[NoReturn] | None = None
        self._tasks = 0
        self._doing = _Doing()
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
        if not self._quiet:
            tell = self._tick if self._bars else self._go_on
            threading.Thread(target=tell, name="progress", daemon=True).start()
        return self

    def _go_on(self) -> None:
        """Say what is being done where nothing has been said for long."""
        with suppress(OSError, ValueError):  # nobody reads any more
            while not self._left.wait(max(0.01, self._doing.seconds_left)):
                if self._doing.seconds_left <= 0:
                    self._say(str(self._doing))

    def _tick(self) -> None:
        """Show each second that time passes, though no task has ended; between bars as in a log."""
        with suppress(OSError, ValueError):  # nobody reads any more
            while not self._left.wait(1):
                with self._drawing:
                    bar = self._bar
                    if bar is not None:
                        bar.refresh()
                if bar is None and self._doing.seconds_left <= 0:
                    self._say(str(self._doing))

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
        with self._drawing:
            told = fitted(shown.encode(encoding, "replace").decode(encoding), self._stream, hang="  ")
            print(told, file=self._stream, flush=True)
            self._doing.said()

    def _run_began(self, event: RunBegan) -> None:
        each = f" to each of {event.processes} worker processes" if event.processes > 1 else ""
        self._say(f"{event.name} in {event.workdir}, {format_size(event.allowed)} allowed{each}")
        for note in event.notes:
            self._say(f"note: {note}")

    def _note(self, event: Note) -> None:
        self._say(f"note: {event.text}")

    def _preparing(self, event: Preparing) -> None:
        self._doing.now(event.text)
        if self._bars:  # somebody waits
            self._say(f"{event.text} ...")

    def _stage_began(self, event: StageBegan) -> None:
        self._tasks = event.tasks
        self._doing.now(event.stage, event.tasks)
        if self._bars:
            tqdm, shape = _bar_class(), _shape(event, None if in_notebook() else columns(self._stream))
            self._bar = tqdm(total=event.tasks, file=self._stream, unit="task", **shape)
            self._doing.said()

    def _round_began(self, event: RoundBegan) -> None:
        self._doing.count(event.done)
        if self._bar is not None:
            self._bar.update(event.done)

    def _task_ended(self, event: TaskEnded) -> None:
        self._doing.count(1)
        if self._bar is not None:
            self._bar.set_postfix_str(format_size(event.measured), refresh=False)
            self._bar.update()

    def _stage_skipped(self, event: StageSkipped) -> None:
        why = IDLE if event.idle else DONE
        if self._bar is not None:
            self._bar.leave = False  # a bar at 0 looks like a stage that is stuck
            self._close()
        self._say(f"{event.stage}: {why}")
        self._doing.now(_BETWEEN)

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
        self._doing.now(_BETWEEN)

    def _explained(self, event: Explained) -> None:
        if self._explain:
            for stage, why in event.why.items():
                self._say(f"{stage}: {why}")

    def _close(self) -> None:
        with self._drawing:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
                self._doing.said()


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
            line = msgspec.json.encode(event).decode()
            print(printable(line) if self._stream.isatty() else line, file=self._stream, flush=True)


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _shape(event: StageBegan, width: int | None) -> dict[str, Any]:
    """Title and form of a stage's bar, which takes what room a terminal has left for it; none is told in a notebook."""
    title, form = f"{event.stage}: {event.does}", "{n_fmt:>4}/{total_fmt:<4} {bar} {elapsed}<{remaining}{postfix}"
    if width is None:
        return {"desc": title, "bar_format": "{desc:<38} " + form.replace("{bar}", "{bar:20}")}
    whole = min(width - 1, _WIDEST)  # some terminals go on in the next line where the last column is written to
    room = max(len(f"{event.stage}: ...: "), whole - _BESIDE - _BAR)
    return {
        "desc": textwrap.shorten(title, room - len(": "), placeholder=" ..."),
        "bar_format": f"{{desc:<{room}}}{form}",
        "ncols": whole,
    }


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
