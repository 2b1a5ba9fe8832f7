"""Scrolls that are sent from here: accepted into a row, offered until every recipient's node has them.

Nothing is acknowledged that is not in a row. The row is freed when all recipients' nodes have the scroll; its
receipts outlive it in the receipt store.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from hyperpi import contract, strict_json
from hyperpi.address import AgentId, new_id
from hyperpi.contract import Json
from hyperpi.errors import HyperPiError, NotFound
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.agents import Agents
from node.outbox import Key, Outgoing, Receipt, accepted_scroll, outgoing_shape
from node.receipts import ReceiptStore
from node.scroll_rows import INPUT, OUT_KIND, ScrollRows, Tell, Work
from pxldisk import Record, RowRef

log = logging.getLogger(__name__)

# sender, node of the sender, agent, address of the recipient, scroll: into the recipient's mailbox here
TakeIn = Callable[[str, str, AgentId, str, Json], Work]


class Uplink(Protocol):
    """The Link, as scrolls use it."""

    @property
    def up(self) -> bool:
        """Whether the hypivisor can be reached."""

    def send(self, **frame: Any) -> bool:
        """Queue one frame; False when there is no link."""


class Sending:
    """Every scroll that was sent from this node and is remembered."""

    def __init__(
        self, rows: ScrollRows, store: ReceiptStore, agents: Agents, tell: Tell, take_in: TakeIn
    ) -> None:
        self.uplink: Uplink | None = None
        self._rows = rows
        self._store = store
        self._agents = agents
        self._notify = tell
        self._take_in = take_in
        self._outgoing: dict[Key, Outgoing] = {}
        self._untold: dict[tuple[Key, str], tuple[Outgoing, Receipt]] = {}  # while unlinked

    # --- life ------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up what receipts tell of."""
        for outgoing in await self._store.load():
            self._outgoing[outgoing.key] = outgoing

    def read(self, record: Record, row: Json) -> None:
        """Take up a live row of an earlier start."""
        fresh = Outgoing(row["sender"], row["scroll"], record.at, row["expires_at"])
        outgoing = self._outgoing.setdefault(fresh.key, fresh)
        outgoing.row = record.ref

    def tell_again(self) -> None:
        """Tell people what they could not be told while the hypivisor was away."""
        untold, self._untold = self._untold, {}
        for outgoing, receipt in untold.values():
            self._tell(outgoing, receipt)

    def offer_again(self, node_name: str | None = None) -> None:
        """Offer what waits, all of it or what waits for one node."""
        for outgoing in list(self._outgoing.values()):
            if node_name is None or any(r.to.endswith(f"@{node_name}") for r in outgoing.waiting()):
                self._dispatch(outgoing)

    def offer_whatever_has_not_ended(self, node_name: str) -> None:
        """Offer a node again what it had said to have: its disk came from a copy, which may lack it.

        What it has is known to it by its id, and only receipted again.
        """
        for outgoing in list(self._outgoing.values()):
            for receipt in list(outgoing.receipts.values()):
                if not receipt.final and receipt.to.endswith(f"@{node_name}"):
                    self._offer(outgoing, receipt.to)

    def sweep(self, now: float) -> None:
        """Expire what is late, and forget what is old."""
        for outgoing in list(self._outgoing.values()):
            for receipt in outgoing.expire(now):
                self._tell(outgoing, receipt)
                self._store.keep(outgoing)
            self._free_if_handed_over(outgoing)
            if outgoing.settled and outgoing.row is None and self._store.is_old(outgoing, now):
                del self._outgoing[outgoing.key]

    # --- sending ---------------------------------------------------------------------------------------

    async def send(self, sender: str, wanted: contract.Scroll) -> Json:
        """Accept a scroll: it is in a row of our disk when this returns. Raises BadRequest, Overloaded."""
        scroll = accepted_scroll(wanted, sender, new_id("SCROLL"))
        key = (sender, scroll["scroll_id"])
        known = self._outgoing.get(key) or await self._store.find(key)
        if known is None:
            now = time.time()
            outgoing = Outgoing(sender, scroll, now, now + scroll["ttl_s"])
            row = {"sender": sender, "scroll": scroll, "expires_at": outgoing.expires_at}
            outgoing.row = await self._rows.append(
                INPUT, row, kind=OUT_KIND, owner=sender, key=f"out {sender} {key[1]}"
            )
            known = self._outgoing.setdefault(key, outgoing)
            if known is outgoing:
                self._store.keep(outgoing)
                self._dispatch(outgoing)
        shape = outgoing_shape(known)
        return {"scroll_id": key[1], "state": "accepted", "at": shape["at"], "receipts": shape["receipts"]}

    def _dispatch(self, outgoing: Outgoing) -> None:
        """Offer it to whoever lacks it: by the hypivisor, or to an agent here when there is none."""
        if outgoing.settled or outgoing.handed_over:
            return
        waiting = [receipt.to for receipt in outgoing.waiting()] or [""]
        for to in waiting:
            self._offer(outgoing, to)

    def _offer(self, outgoing: Outgoing, to: str) -> None:
        """Offer it to one recipient, or with "" to whom the scroll itself says."""
        if self._is_ours(to or outgoing.scroll["to"]):
            self._deliver_here(outgoing, to or outgoing.scroll["to"])
        elif self.uplink is not None and self.uplink.up:
            offer = mesh_pb2.ScrollOffer(
                scroll=outgoing.key[1],
                sender=outgoing.sender,
                scroll_json=strict_json.encode(outgoing.scroll),
                to=to,
            )
            self.uplink.send(scroll=offer)
        elif to == "":
            self._deliver_here(outgoing, outgoing.scroll["to"], only_if_known=True)

    def _is_ours(self, to: str) -> bool:
        """Whether an address says this node: then nobody else needs to be asked."""
        name, at, node = to.rpartition("@")
        return bool(at) and name != "*" and node == self._agents.node_name

    def _deliver_here(self, outgoing: Outgoing, to: str, *, only_if_known: bool = False) -> None:
        try:
            record = self._agents.resolve(to)
        except HyperPiError as exc:
            if not only_if_known:
                self._moved(outgoing, self._receipt(outgoing, to), "unknown", str(exc))
            return
        address = f"{record.name}@{self._agents.node_name}"
        self._receipt(outgoing, address)
        self._rows.spawn(
            self._take_in(outgoing.sender, self._agents.node, record.id, address, outgoing.scroll),
            f"deliver-{outgoing.key[1]}",
        )

    def _receipt(self, outgoing: Outgoing, to: str) -> Receipt:
        return outgoing.receipts.setdefault(to, Receipt(to, "accepted", time.time()))

    # --- receipts --------------------------------------------------------------------------------------

    def routed(self, frame: mesh_pb2.ScrollRouted) -> None:
        """See node.link.ScrollFrames."""
        outgoing = self._outgoing.get((frame.sender, frame.scroll))
        if outgoing is None:
            return
        if frame.HasField("error"):
            if outgoing.handed_over:
                return  # offered again, and its recipient is not known there now: that it has it still holds
            error = convert.error_from_wire(frame.error)
            state = "unknown" if isinstance(error, NotFound) else "refused"
            self._moved(outgoing, self._receipt(outgoing, outgoing.scroll["to"]), state, str(error))
            return
        for receipt in outgoing.routed(frame.recipients, frame.away, time.time()):
            self._tell(outgoing, receipt)
        self._store.keep(outgoing)

    def receipt(self, frame: mesh_pb2.ScrollReceipt, opcode: Json | None) -> None:
        """A receipt from a recipient's node."""
        self._rows.spawn(self._take_receipt(frame, opcode), f"receipt-{frame.scroll}")

    async def _take_receipt(self, frame: mesh_pb2.ScrollReceipt, opcode: Json | None) -> None:
        outgoing = self._outgoing.get((frame.sender, frame.scroll))
        known = frame.state
        if outgoing is not None:
            receipt = self._receipt(outgoing, frame.to)
            self._moved(outgoing, receipt, frame.state, frame.reason or None, opcode)
            await self._store.kept(outgoing)
            known = _known(receipt, frame.state)
        # Acknowledged even if it is unknown here: nobody is left to be told.
        if self.uplink is not None:
            ack = mesh_pb2.ScrollReceipt(
                scroll=frame.scroll,
                sender=frame.sender,
                to=frame.to,
                node=frame.from_node,
                state=known,
                ack=True,
            )
            self.uplink.send(receipt=ack)

    def receipt_here(self, key: Key, receipt: Receipt) -> str:
        """A receipt of an agent of this very node; the state that is known here then."""
        outgoing = self._outgoing.get(key)
        if outgoing is None:
            return receipt.state
        mine = self._receipt(outgoing, receipt.to)
        self._moved(outgoing, mine, receipt.state, receipt.reason, receipt.opcode)
        return _known(mine, receipt.state)

    def _moved(
        self,
        outgoing: Outgoing,
        receipt: Receipt,
        state: str,
        reason: str | None = None,
        opcode: Json | None = None,
    ) -> None:
        if not receipt.move(state, time.time(), reason, opcode):
            return
        self._tell(outgoing, receipt)
        self._store.keep(outgoing)
        self._free_if_handed_over(outgoing)

    def _free_if_handed_over(self, outgoing: Outgoing) -> None:
        if outgoing.handed_over and outgoing.row is not None:
            row, outgoing.row = outgoing.row, None
            self._rows.spawn(self._free(row, outgoing), f"free-{outgoing.key[1]}")

    async def _free(self, row: RowRef, outgoing: Outgoing) -> None:
        """Only what the receipt store has may leave the disk: else nobody would know of its receipts."""
        self._store.keep(outgoing)
        await self._store.kept(outgoing)
        self._rows.free(row)

    def _tell(self, outgoing: Outgoing, receipt: Receipt) -> None:
        """Tell the sender, whoever it is, how far its scroll has come."""
        params: Json = {"scroll_id": outgoing.key[1], "to": receipt.to, "state": receipt.state}
        if receipt.reason is not None:
            params["reason"] = receipt.reason
        if receipt.opcode is not None:
            params["opcode"] = receipt.opcode
        self._notify(f"sender:{outgoing.sender}", "scroll.changed", params)
        if outgoing.sender.startswith("user:"):
            if self.uplink is None or not self.uplink.up:
                self._untold[outgoing.key, receipt.to] = (outgoing, receipt)
            return
        try:
            sender = self._agents.resolve(outgoing.sender)
            self._agents.connection(sender.id).notify("scroll.changed", params)
        except HyperPiError:
            log.debug("the sender is away scroll=%s", outgoing.key[1])

    # --- reading ---------------------------------------------------------------------------------------

    def shapes(self) -> Iterable[Json]:
        """Every sent scroll with its receipts."""
        return (outgoing_shape(outgoing) for outgoing in self._outgoing.values())


def _known(receipt: Receipt, told: str) -> str:
    """What to acknowledge: what was told; or how it ended, for a recipient that does not know it any more."""
    return receipt.state if receipt.final else told
