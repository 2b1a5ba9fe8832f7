"""The banks of this node's disk that somebody in the mesh watches: what the Link tells of them."""

from collections.abc import Callable

from hyperpi.errors import HyperPiError
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.bank_feeds import BankFeed, BankFeeds


class LinkBanks:
    """One stream's watched banks. Rows are not queued: of each the latest waits for the stream's writer."""

    def __init__(self, feeds: BankFeeds, node: Callable[[], str], wake: Callable[[], None]) -> None:
        self._feeds = feeds
        self._node = node
        self._wake = wake
        self._watched: dict[int, BankFeed] = {}

    def watch(self, wanted: mesh_pb2.WatchBank) -> mesh_pb2.Reply:
        """Begin to tell of a bank, or tell of all its rows again; the answer to that."""
        try:
            feed = self._watched.get(wanted.bank)
            if feed is None:
                feed = self._watched[wanted.bank] = self._feeds.open(self._node(), wanted.bank, self._wake)
        except HyperPiError as exc:
            return mesh_pb2.Reply(call=wanted.call, error=convert.error_to_wire(exc))
        if wanted.whole:
            self._feeds.tell_whole(feed)
        return mesh_pb2.Reply(call=wanted.call, result_json=b"{}")

    def unwatch(self, bank: int) -> None:
        """Nobody in the mesh watches it any more."""
        if (feed := self._watched.pop(bank, None)) is not None:
            feed.release()

    def frames(self) -> list[mesh_pb2.NodeFrame]:
        """What is to be told now: of each bank a bounded number of rows, the others come next."""
        told = []
        for bank, feed in self._watched.items():
            if rows := feed.changes.take():
                rows_frame = mesh_pb2.BankRows(bank=bank, rows=convert.rows_to_wire(rows))
                told.append(mesh_pb2.NodeFrame(bank_rows=rows_frame))
        return told

    def close(self) -> None:
        """The stream has ended: the next one is asked anew."""
        while self._watched:
            self._watched.popitem()[1].release()
