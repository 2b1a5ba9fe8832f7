"""Rows of a bank that changed, on their way to one watcher. Pure: no clock, no network, no disk.

Policy: keep the latest of each row. However slowly a watcher reads, what waits for it is bounded by the
number of rows, and the last thing that it hears of a row is what the row is.
"""

from collections.abc import Callable, Iterable

ROWS_AT_ONCE = 1_000  # of one take: about 60 KB, so that a bank of 65,535 rows never makes one huge message

RowChange = tuple[int, bytes]  # the row's number, and {row, state, kind, seq} as its node has encoded it


class RowChanges:
    """What one watcher of one bank has not been told yet."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called when there is something to take."""
        self._wake = wake
        self._latest: dict[int, bytes] = {}

    def offer(self, rows: Iterable[RowChange]) -> None:
        """Keep these; a row that waits already is told once, as it is now."""
        for row, encoded in rows:
            self._latest.pop(row, None)  # the order is that of the last change
            self._latest[row] = encoded
        if self._latest:
            self._wake()

    def take(self, limit: int = ROWS_AT_ONCE) -> list[RowChange]:
        """The rows that have waited longest, maybe none."""
        taken = list(self._latest.items())[:limit]
        for row, _ in taken:
            del self._latest[row]
        return taken

    def __bool__(self) -> bool:
        return bool(self._latest)
