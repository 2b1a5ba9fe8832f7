"""Who watches which node's bank: a node tells of its rows only while somebody asks for them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from hyperpi.address import NodeId
from hyperpi.errors import NodeUnreachable
from hyperpi.row_changes import RowChanges
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from hypivisor.demand import Demand


@dataclass(frozen=True, slots=True)
class Bank:
    """One bank of one node's PXLDisk."""

    node: NodeId
    number: int  # 8 for 8.png


class BankLink(Protocol):
    """As much of a node's stream as is needed here."""

    def send(self, *, unwatch_bank: mesh_pb2.UnwatchBank) -> None:
        """Queue one frame."""

    async def watch_bank(self, bank: int, whole: bool) -> None:
        """Have the node tell of a bank's rows. Raises its error, or NodeUnreachable."""


class BankWatcher:
    """One front end's stream of one bank: keeps the latest of each row, and is never waited for."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.changes = RowChanges(self.wake.set)
        self.gone = False  # its node cannot be reached any more

    def node_gone(self) -> None:
        """Nothing comes from there now; the front end comes back, and asks for the whole."""
        self.gone = True
        self.wake.set()


class BankDemand:
    """The watchers of all banks."""

    def __init__(
        self, link: Callable[[NodeId], BankLink], link_soon: Callable[[NodeId], Awaitable[BankLink]]
    ) -> None:
        """`link` gives a node's stream or raises NodeUnreachable; `link_soon` waits for it a little."""
        self._link = link
        self._link_soon = link_soon
        self._demand: Demand[Bank, BankWatcher] = Demand()

    async def watch(self, bank: Bank, *, whole: bool) -> BankWatcher:
        """Begin to follow a bank; what changes after this has returned is told. Raises NotFound,
        NodeUnreachable.
        """
        link = await self._link_soon(bank.node)
        watcher = BankWatcher()
        self._demand.add(bank, watcher)  # before it is asked for, or the first rows would find nobody
        try:
            await link.watch_bank(bank.number, whole)
        except BaseException:
            self.unwatch(bank, watcher)
            raise
        return watcher

    def unwatch(self, bank: Bank, watcher: BankWatcher) -> None:
        """Stop following; when it was the last, the node stops telling."""
        if not self._demand.remove(bank, watcher):
            self._stop(bank)

    def rows(self, node: NodeId, told: mesh_pb2.BankRows) -> None:
        """What a node tells of its own bank."""
        bank = Bank(node, told.bank)
        watchers, rows = self._demand.of(bank), convert.rows_from_wire(told.rows)
        for watcher in watchers:
            watcher.changes.offer(rows)
        if not watchers:  # the last one left while these were on their way
            self._stop(bank)

    def node_gone(self, node: NodeId) -> None:
        """A node's stream has ended: its watchers' streams end, and come back when it does."""
        for bank in self._demand.watched():
            if bank.node == node:
                for watcher in self._demand.of(bank):
                    watcher.node_gone()

    def _stop(self, bank: Bank) -> None:
        with contextlib.suppress(NodeUnreachable):  # then nothing is told anyway
            self._link(bank.node).send(unwatch_bank=mesh_pb2.UnwatchBank(bank=bank.number))
