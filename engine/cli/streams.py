"""Standard output, whose errors have its name."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TextIO

from engine.chunked.storage.folders import named

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT = "standard output"


class _Named(io.FileIO):
    """A stream, whose errors have a name as those of files have theirs."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream.fileno(), "wb", closefd=False)
        self._stream = stream  # which closes it when nobody has it any more

    def write(self, content: ReadableBuffer, /) -> int:
        """As any file does."""
        with named(STANDARD_OUTPUT):
            return super().write(content)


def named_output(stream: TextIO) -> TextIO:
    """The same stream with `STANDARD_OUTPUT` in its errors; another kind, such as a notebook's, as it is."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)  # where Python is told not to buffer, there is nothing between
    if type(raw) is not io.FileIO:
        return stream
    stream.flush()
    named_raw = _Named(stream)
    return io.TextIOWrapper(
        named_raw if raw is stream.buffer else io.BufferedWriter(named_raw),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
