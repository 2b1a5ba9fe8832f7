"""Log lines that stay lines: what is told in one comes from strangers, and must not read as another.

A name or a reason may hold line breaks, which would begin a line that looks like ours, or escapes that steer
the terminal of whoever reads it.
"""

import logging
from types import TracebackType
from typing import TypeAlias

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
BESIDE = "  | "  # before each line of a traceback: none of them can pass for a line of the log


class LogLines(logging.Formatter):
    """One record is one line, and under it those of a traceback, which are marked as such."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return plain(super().formatMessage(record))

    def formatException(self, ei: ExcInfo) -> str:
        """The traceback below it."""
        return _beside(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """The stack below it."""
        return _beside(super().formatStack(stack_info))


def plain(text: str) -> str:
    """The same text with everything that is not printed as itself written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _beside(text: str) -> str:
    # Split at \n alone: every other break in it is somebody's, and is escaped.
    return "\n".join(BESIDE + plain(line) for line in text.split("\n"))
