"""Who follows this node's PXLDisk as it changes: viewers on this machine, and the Link for the mesh.

While nobody does, the disk is not watched and a commit costs nothing more. While somebody does, changes are
gathered for a moment, so that a burst is a few messages, whatever its length.
"""

import asyncio
from collections.abc import Callable, Iterable

from hyperpi import strict_json
from hyperpi.errors import NotFound
from hyperpi.row_changes import RowChange, RowChanges
from pxldisk import Disk, RowDescription, Watch
from pxldisk import RowChange as ChangedRow

GATHER_S = 0.1  # ten times a second is as often as a person can look


class BankFeed:
    """One follower's hold on one bank: a `viewer.BankFeed`."""

    def __init__(self, feeds: "BankFeeds", node: str, bank: int, wake: Callable[[], None]) -> None:
        self.node, self.bank = node, bank
        self.changes = RowChanges(wake)
        self._feeds = feeds

    def release(self) -> None:
        """See viewer.BankFeed. Harmless when repeated."""
        self._feeds.closed(self)


class BankFeeds:
    """All followers of one disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._followers: set[BankFeed] = set()
        self._watch: Watch | None = None
        self._wanted = asyncio.Event()

    def open(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        """Follow a bank from now on; `node` is this one's id. Raises NotFound."""
        if bank not in self._disk.banks:
            raise no_such_bank(bank)
        feed = BankFeed(self, node, bank, wake)
        self._followers.add(feed)
        if self._watch is None:
            self._watch = self._disk.watch()
            self._wanted.set()
        return feed

    def tell_whole(self, feed: BankFeed) -> None:
        """Tell a follower of every row as it is: it may have missed changes."""
        feed.changes.offer(_encoded(self._disk.rows(feed.bank)))

    def closed(self, feed: BankFeed) -> None:
        """A follower has gone; with the last one the watch of the disk ends."""
        self._followers.discard(feed)
        if not self._followers and self._watch is not None:
            self._watch.end()
            self._watch = None
            self._wanted.clear()

    async def run(self) -> None:
        """Pass changes on until cancelled, or until the disk is closed."""
        while True:
            while (watch := self._watch) is None:  # who wanted it may have gone before this wakes
                await self._wanted.wait()
            async for changes in watch:
                self._pass_on(changes)
                await asyncio.sleep(GATHER_S)
            if self._watch is watch:
                return  # nobody here has ended it: the disk is closed

    def _pass_on(self, changes: Iterable[ChangedRow]) -> None:
        banks: dict[int, list[ChangedRow]] = {}
        for change in changes:
            banks.setdefault(change.bank, []).append(change)
        for bank, changed in banks.items():
            if followers := [feed for feed in self._followers if feed.bank == bank]:
                rows = _encoded(changed)
                for feed in followers:
                    feed.changes.offer(rows)


def no_such_bank(bank: int) -> NotFound:
    """The error for a bank that this disk does not have."""
    return NotFound(f"there is no {bank}.png here", hint="`hyperpi disk info` lists the banks")


def _encoded(rows: Iterable[ChangedRow | RowDescription]) -> list[RowChange]:
    """Each row encoded once, for everybody who follows."""
    return [
        (row.row, strict_json.encode({"row": row.row, "state": row.state, "kind": row.kind, "seq": row.seq}))
        for row in rows
    ]
