"""What is said where something could not be done that finished steps should allow: which file of theirs is at fault.

Comparing all files takes seconds, so that nobody does it before an error that should not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from engine.chunked.errors import DamagedError, EngineError, ProgramError, is_of_machine
from engine.chunked.journal import Committed, Journal


def refuse_doubtful(stages: Mapping[str, Committed], cause: Exception | None = None) -> None:
    """Compare the files of finished steps with their records, and then with what these steps write.

    Parameters
    ----------
    stages : mapping of str to Committed
        By name of the step.
    cause : Exception, optional
        What made that necessary.

    Raises
    ------
    DamagedError
        Where one differs, and nothing where none does: then the cause is a fault of the program.
    """
    for stage in stages.values():
        for fault in Journal(stage.root).damaged().values():
            raise DamagedError(f"{fault}; the next run mends it") from cause
    from engine.artifacts.sound import faults  # loads numerical libraries

    for fault in faults(stages):
        raise DamagedError(f"{fault}, though its record says that it is whole: begin afresh") from cause


@contextmanager
def doubted(stages: Callable[[], Mapping[str, Committed]], *also: type[EngineError]) -> Iterator[None]:
    """Where something fails that reads what finished steps left, say whether that is at fault.

    Parameters
    ----------
    stages : callable
        Gives these steps, by name.
    *also : type of EngineError
        Errors that may come of it, too, beside those that are nobody's to mend and those of unsound content, of which
        records may say more.

    Raises
    ------
    DamagedError
        As `refuse_doubtful`, in the place of such an error.
    """
    try:
        yield
    except Exception as error:
        unsound = isinstance(error, DamagedError) and error.unsound
        if isinstance(error, EngineError) and not unsound and not isinstance(error, (ProgramError, *also)):
            raise
        if is_of_machine(error):
            raise  # no file's fault, and there may be nothing left to compare them with
        refuse_doubtful(stages(), error)
        raise
