"""The scroll desk: what this node does with scrolls, for agents, people, the Link and the disk.

`sending` and `receiving` do the work; this is where both meet the rest of the node. A restart finds live rows
and goes on from there.
"""

import asyncio
import time
from typing import Any

import msgspec

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.contract import Json
from hyperpi.errors import NotFound, Unusable
from hyperpi.roles import Caller
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.agents import Agents, Observer
from node.receipts import ReceiptStore
from node.receiving import Receiving
from node.scroll_rows import IN_KIND, OUT_KIND, OUTPUT, ScrollRows, Tell, Work
from node.sending import Sending, Uplink
from pxldisk import Disk

SWEEP_S = 1.0  # how late an expiry may be noticed
MAX_LISTED = 1_000


class ScrollDesk(Observer):
    """Every scroll that this node sends or receives. Also an observer of the agents."""

    def __init__(
        self, disk: Disk, receipts: ReceiptStore, agents: Agents, tell: Tell, restored_below: int = 0
    ) -> None:
        """Records with a sequence number below `restored_below` came with a copy of a lost disk."""
        self._agents = agents
        self._rows = ScrollRows(disk)
        self._sending = Sending(self._rows, receipts, agents, tell, self._take_in)
        self._restored = bool(restored_below)
        self._receiving = Receiving(self._rows, agents, self._sending.receipt_here, restored_below)

    def use(self, uplink: Uplink) -> None:
        """How the hypivisor is reached."""
        self._sending.uplink = self._receiving.uplink = uplink

    async def run(self) -> None:
        """Take up what rows and receipts tell of, then expire what is late; until cancelled.

        Raises Unusable when the disk has failed.
        """
        async with asyncio.TaskGroup() as tasks:
            self._rows.use(tasks)
            await self._sending.load()
            self._read_rows()
            self._receiving.begin()
            self._sending.offer_again()
            if self._restored:
                self._sending.offer_whatever_has_not_ended(self._agents.node_name)
            while not self._rows.failed.is_set():
                await asyncio.sleep(SWEEP_S)
                now = time.time()
                self._sending.sweep(now)
                self._receiving.sweep(now)
            raise Unusable(
                "the disk has failed and nothing can be acknowledged any more; this node ends",
                hint="check the drive, then start the node again: its agents go on meanwhile",
            )

    def _read_rows(self) -> None:
        readers = {OUT_KIND: self._sending.read, IN_KIND: self._receiving.read}
        for record in self._rows.scrolls():
            if (read := readers.get(record.kind)) is not None:
                read(record, msgspec.json.decode(record.payload))
        for record in self._rows.disk.scan(OUTPUT):
            self._rows.free(self._receiving.read_opcode(record, msgspec.json.decode(record.payload)))

    def _take_in(self, sender: str, node: str, agent: AgentId, to: str, scroll: Json) -> Work:
        return self._receiving.take_in(sender, node, agent, to, scroll)

    # --- for agents and people -------------------------------------------------------------------------

    async def send_from_agent(self, agent: AgentId, scroll: contract.Scroll) -> Json:
        """Accept a scroll of an agent; durable on return. Raises BadRequest, Overloaded."""
        record = self._agents.roster.get(agent)
        return await self._sending.send(f"{record.name}@{self._agents.node_name}", scroll)

    async def send_from_caller(self, caller: Caller, scroll: contract.Scroll) -> Json:
        """A scroll of somebody at a keyboard, a program with a token, or an agent's tool. Raises as above."""
        return await self._sending.send(caller.sender, scroll)

    async def answer(self, agent: AgentId, answer: contract.ScrollAnswer) -> Json:
        """Take an agent's opcode for a scroll that it was given."""
        await self._receiving.answer(agent, answer)
        return {}

    def list(self, wanted: contract.ScrollList) -> list[Json]:
        """Scrolls in the order of time, the newest `limit` of them."""
        shapes = list(self._sending.shapes())
        seen = {shape["scroll_id"] for shape in shapes}
        shapes += [shape for shape in self._receiving.shapes() if shape["scroll_id"] not in seen]
        if wanted.agent is not None:
            shapes = [s for s in shapes if wanted.agent in {s["from"], s["to"], *_recipients(s)}]
        if wanted.state is not None:
            shapes = [s for s in shapes if s["state"] == wanted.state]
        shapes.sort(key=lambda shape: str(shape["at"]))
        if wanted.after is not None:
            ids = [shape["scroll_id"] for shape in shapes]
            shapes = shapes[ids.index(wanted.after) + 1 :] if wanted.after in ids else shapes
        return shapes[-max(1, min(wanted.limit, MAX_LISTED)) :]

    def get(self, scroll_id: str) -> Json:
        """One scroll with its receipts. Raises NotFound."""
        for shape in (*self._sending.shapes(), *self._receiving.shapes()):
            if shape["scroll_id"] == scroll_id:
                return shape
        raise NotFound(f"no scroll {scroll_id}", hint="`hyperpi scrolls` lists them")

    # --- frames of the Link ----------------------------------------------------------------------------

    def linked(self) -> None:
        """See node.link.ScrollFrames."""
        self._sending.tell_again()
        self._sending.offer_again()
        self._receiving.report_again()

    def node_back(self, name: str, restored: bool) -> None:
        """See node.link.ScrollFrames."""
        if restored:
            self._sending.offer_whatever_has_not_ended(name)
        self._sending.offer_again(name)
        self._receiving.report_again()

    def routed(self, frame: mesh_pb2.ScrollRouted) -> None:
        """See node.link.ScrollFrames."""
        self._sending.routed(frame)

    def delivered(self, frame: mesh_pb2.ScrollDelivery) -> None:
        """See node.link.ScrollFrames. `from` is what the hypivisor has verified, whatever the scroll says."""
        scroll = {**msgspec.json.decode(frame.scroll_json), "from": frame.sender}
        taking = self._receiving.take_in(
            frame.sender, frame.sender_node, AgentId(frame.agent), frame.to, scroll
        )
        self._rows.spawn(taking, f"deliver-{frame.scroll}")

    def receipt(self, frame: mesh_pb2.ScrollReceipt) -> None:
        """See node.link.ScrollFrames."""
        if frame.ack:
            self._receiving.acknowledged((frame.sender, frame.scroll, frame.to), frame.state)
            return
        opcode: Any = msgspec.json.decode(frame.opcode_json) if frame.opcode_json else None
        self._sending.receipt(frame, opcode)

    # --- observer of agents ----------------------------------------------------------------------------

    def agent_connected(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._receiving.agent_connected(agent)

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        record = self._agents.roster.get(agent)
        if not record.live:
            self._receiving.agent_ended(agent, record.name, record.detail)


def _recipients(shape: Json) -> set[str]:
    return {receipt["to"] for receipt in shape["receipts"]}
