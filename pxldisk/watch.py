"""Telling watchers which rows changed. The loop's side only; no files, no threads."""

import asyncio
from collections.abc import Sequence

from .values import RowChange


class Watch:
    """Changed rows, as an asynchronous iterator of tuples in the order of their last change.

    Policy: keep latest. A slow watcher gets each row once, as it is now, so what waits for it is
    bounded by the number of rows. Iteration ends when the disk is closed.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[int, int], RowChange] = {}
        self._wake: asyncio.Future[None] | None = None
        self._ended = False

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> tuple[RowChange, ...]:
        while not self._latest:
            if self._ended:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        changes = tuple(self._latest.values())
        self._latest.clear()
        return changes

    def offer(self, changes: Sequence[RowChange]) -> None:
        """Keep the latest change of each row for the watcher."""
        for change in changes:
            self._latest.pop((change.bank, change.row), None)
            self._latest[change.bank, change.row] = change
        self._rouse()

    def end(self) -> None:
        """No more changes will come; what waits is still given."""
        self._ended = True
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
