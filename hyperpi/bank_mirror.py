"""One bank's changes, mirrored from the Console service while somebody in this process follows them.

The stream comes back by itself. What changed meanwhile is made up for by asking, when it is back, for every
row as it is: a watcher may be told what it knows already, and never misses what a row came to be.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc

from hyperpi.errors import NodeUnreachable, NotFound
from hyperpi.redial import backoff, error_of
from hyperpi.row_changes import RowChanges
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import console_pb2

log = logging.getLogger(__name__)

OPEN_S = 10.0


class BankMirror:
    """The one stream of a bank, and everybody here who follows it."""

    def __init__(
        self, node: str, bank: int, stream: Callable[[bool], Any], ended: Callable[["BankMirror"], None]
    ) -> None:
        """`stream(whole)` opens it, with every row as it is when `whole`. `ended` is told at the end."""
        self.node = node  # as it was asked for, until the stream tells its id
        self.bank = bank
        self._stream = stream
        self._ended = ended
        self._feeds: set[MirroredBank] = set()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"bank-{node}-{bank}")

    async def join(self, wake: Callable[[], None]) -> "MirroredBank":
        """One more who follows: changes from now on. Raises why there are none."""
        feed = MirroredBank(self, wake)
        self._feeds.add(feed)
        try:
            async with asyncio.timeout(OPEN_S):
                await asyncio.shield(self._opened)
        except TimeoutError:
            self.leave(feed)
            raise NodeUnreachable("the node did not answer") from None
        except BaseException:
            self.leave(feed)
            raise
        feed.node = self.node
        return feed

    def leave(self, feed: "MirroredBank") -> None:
        """One less; the last one closes the stream. Harmless when repeated."""
        self._feeds.discard(feed)
        if not self._feeds:
            self.close()

    def close(self) -> None:
        """End the stream."""
        self._task.cancel()
        self._ended(self)

    async def _run(self) -> None:
        waits = backoff()
        try:
            while True:
                try:
                    async for batch in self._stream(self._opened.done()):
                        self._take(batch)
                        waits = backoff()
                except grpc.aio.AioRpcError as exc:
                    error = error_of(exc)
                    if not self._opened.done():
                        self._opened.set_exception(error)
                        self._opened.exception()  # looked at, should everybody have gone meanwhile
                        return
                    if isinstance(error, NotFound):
                        return  # the machine has left the mesh: nothing will change there for us
                except Exception:  # a boundary: one bad batch must not leave everybody waiting for ever
                    log.exception("a bank could not be followed node=%s bank=%d", self.node, self.bank)
                await asyncio.sleep(next(waits))
        finally:
            self._ended(self)

    def _take(self, batch: console_pb2.BankBatch) -> None:
        if batch.node:
            self.node = batch.node
            if not self._opened.done():
                self._opened.set_result(None)
        rows = convert.rows_from_wire(batch.rows)
        for feed in self._feeds:
            feed.changes.offer(rows)


class MirroredBank:
    """One viewer's hold on a bank: a `viewer.BankFeed`."""

    def __init__(self, mirror: BankMirror, wake: Callable[[], None]) -> None:
        self.node, self.bank = mirror.node, mirror.bank
        self.changes = RowChanges(wake)
        self._mirror = mirror

    def release(self) -> None:
        """See viewer.BankFeed."""
        self._mirror.leave(self)
