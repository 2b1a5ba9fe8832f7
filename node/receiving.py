"""Scrolls for agents of this node: stored in a row, handed over in order, answered, receipted until heard.

The recipient's row is written before `stored` is said, an opcode's before `answered`. Both are freed when the
sender's node has acknowledged how it ended.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

from hyperpi import contract, strict_json
from hyperpi.address import AgentId, new_id
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, Conflict, HyperPiError, NodeUnreachable, NotFound, UnknownMethod
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.agents import AgentConnection, Agents
from node.outbox import FINAL, Incoming, Key, Receipt, incoming_shape
from node.scroll_rows import IN_KIND, INPUT, OPCODE_KIND, OUTPUT, ScrollRows
from node.sending import Uplink
from pxldisk import Record, RowRef

log = logging.getLogger(__name__)

AGAIN_S = 0.2
DELIVER_S = 3_600.0  # a busy agent takes a scroll at its next turn boundary; then it is offered again


class Receiving:
    """Every scroll that waits for an agent here, or whose sender does not know yet how it ended."""

    def __init__(
        self,
        rows: ScrollRows,
        agents: Agents,
        receipt_here: Callable[[Key, Receipt], str],
        restored_below: int,
    ) -> None:
        self.uplink: Uplink | None = None
        self._rows = rows
        self._agents = agents
        self._receipt_here = receipt_here
        self._restored_below = restored_below
        self._incoming: dict[tuple[str, str, str], Incoming] = {}
        self._mailboxes: dict[AgentId, deque[Incoming]] = {}
        self._postmen: dict[AgentId, asyncio.Task[None]] = {}

    # --- life ------------------------------------------------------------------------------------------

    def read(self, record: Record, row: Json) -> None:
        """Take up a live row of an earlier start."""
        incoming = Incoming(
            sender=row["sender"],
            sender_node=row["sender_node"],
            agent=AgentId(row["agent"]),
            to=row["to"],
            scroll=row["scroll"],
            expires_at=row["expires_at"],
            receipt=Receipt(row["to"], "stored", record.at),
            row=record.ref,
            doubtful=record.ref.seq < self._restored_below,
        )
        self._incoming[incoming.key] = incoming

    def read_opcode(self, record: Record, row: Json) -> RowRef | None:
        """Take up a live opcode; the row to free when nobody waits for it any more."""
        opcode = row["opcode"]
        incoming = self._incoming.get((row["sender"], opcode["scroll_id"], opcode["from"]))
        if incoming is None:
            return record.ref
        incoming.opcode_row = record.ref
        incoming.receipt.move("answered", record.at, None, opcode)
        return None

    def begin(self) -> None:
        """All rows were read: hand over what was not delivered. What is doubtful is asked about first."""
        for incoming in list(self._incoming.values()):
            if incoming.receipt.state == "stored" and incoming.doubtful:
                self._report(incoming)
            elif incoming.receipt.state == "stored":
                self._post(incoming)

    def report_again(self) -> None:
        """Repeat what sender's nodes have not acknowledged."""
        for incoming in list(self._incoming.values()):
            if incoming.owed:
                self._report(incoming)

    def sweep(self, now: float) -> None:
        """Expire what is late."""
        for incoming in list(self._incoming.values()):
            if now >= incoming.expires_at:
                self._now(incoming, "expired", "its time to live is over")

    def agent_connected(self, agent: AgentId) -> None:
        """It can be handed its scrolls."""
        self._call_postman(agent)

    def agent_ended(self, agent: AgentId, name: str, detail: str | None) -> None:
        """It takes no more scrolls, and answers none."""
        why = f"{name} has ended: {detail or 'it was stopped'}"
        for incoming in [i for i in self._incoming.values() if i.agent == agent]:
            self._now(incoming, "refused", why)
        self._mailboxes.pop(agent, None)

    # --- taking in -------------------------------------------------------------------------------------

    async def take_in(self, sender: str, sender_node: str, agent: AgentId, to: str, scroll: Json) -> None:
        """Store a scroll for an agent here, then hand it over. One that is known is only receipted again."""
        key = (sender, scroll["scroll_id"], to)
        known = self._incoming.get(key)
        if known is not None:
            if known.receipt.state != "accepted":  # else it is being stored at this moment
                known.told = ""
                self._report(known)
            return
        now = time.time()
        incoming = Incoming(
            sender=sender,
            sender_node=sender_node,
            agent=agent,
            to=to,
            scroll=scroll,
            expires_at=now + scroll["ttl_s"],
            receipt=Receipt(to, "accepted", now),
        )
        disk_key = f"in {sender} {scroll['scroll_id']} {to}"
        if self._rows.disk.ref_of(disk_key) is not None:
            # Taken before, and its row freed since the sender's node knew how it ended: nothing is owed.
            return
        self._incoming[key] = incoming
        try:
            self._check_recipient(agent)
            row = {
                "sender": sender,
                "sender_node": sender_node,
                "agent": agent,
                "to": to,
                "scroll": scroll,
                "expires_at": incoming.expires_at,
            }
            incoming.row = await self._rows.append(INPUT, row, kind=IN_KIND, owner=to, key=disk_key)
        except HyperPiError as exc:
            self._now(incoming, "refused", str(exc))
            return
        self._now(incoming, "stored")
        self._post(incoming)

    def _check_recipient(self, agent: AgentId) -> None:
        record = self._agents.roster.get(agent)
        if not record.live:
            raise Conflict(f"{record.name} has ended: {record.detail or 'it was stopped'}")

    def _post(self, incoming: Incoming) -> None:
        mailbox = self._mailboxes.setdefault(incoming.agent, deque())
        mailbox.append(incoming)
        self._call_postman(incoming.agent)

    def _call_postman(self, agent: AgentId) -> None:
        """One postman per agent, so that the order of arrival is the order of delivery."""
        postman = self._postmen.get(agent)
        at_work = postman is not None and not postman.done()
        if at_work or not self._mailboxes.get(agent) or not self._agents.is_connected(agent):
            return
        self._postmen[agent] = self._rows.spawn(self._hand_over(agent), f"postman-{agent}")

    async def _hand_over(self, agent: AgentId) -> None:
        mailbox = self._mailboxes[agent]
        while mailbox:
            incoming = mailbox[0]
            if incoming.receipt.state == "stored":
                connection = self._agents.connection(agent)
                try:
                    await self._deliver(incoming, connection)
                except NodeUnreachable:
                    await asyncio.sleep(AGAIN_S)  # its end of the connection may be about to be noticed
                    if not self._agents.is_connected(agent):
                        raise
                    continue  # it has dialled again meanwhile, or was busy for an hour
            mailbox.popleft()

    async def _deliver(self, incoming: Incoming, connection: AgentConnection) -> None:
        """Hand over one scroll. What an agent makes of it is the sender's to hear, and harms nobody else."""
        try:
            answer = await connection.call("deliver", {"scroll": incoming.scroll}, DELIVER_S)
        except UnknownMethod:
            self._now(incoming, "refused", f"{incoming.to} takes no scrolls")
            return
        except NodeUnreachable:
            raise
        except HyperPiError as exc:
            self._now(incoming, "refused", f"{incoming.to} did not take it: {exc}")
            return
        self._now(incoming, "delivered")
        if not isinstance(answer, dict) or "opcode_type" not in answer:
            return
        try:
            await self._answered(incoming, contract.params_of(contract.Opcode, answer))
        except HyperPiError as exc:  # no opcode, or one too large for the disk: told rather than lost
            said = f"the answer of {incoming.to} cannot be passed on: {exc}"
            await self._answered(incoming, contract.Opcode(opcode_type="error", content=said))

    # --- answers and receipts --------------------------------------------------------------------------

    async def answer(self, agent: AgentId, answer: contract.ScrollAnswer) -> None:
        """Take an agent's opcode for a scroll that it was given. Raises NotFound, BadRequest, Overloaded."""
        found = [i for i in self._incoming.values() if i.agent == agent and i.key[1] == answer.scroll_id]
        if not found:
            raise NotFound(f"no scroll {answer.scroll_id} waits for an answer of yours")
        # Two senders may have used one id: the older one that still waits is meant.
        await self._answered(next((i for i in found if not i.receipt.final), found[0]), answer.opcode)

    async def _answered(self, incoming: Incoming, opcode: contract.Opcode) -> None:
        """An opcode is in its row before anybody hears of it. A second one for the same scroll is dropped."""
        if incoming.receipt.final:
            return
        travelling: Json = {
            "opcode_id": opcode.opcode_id or new_id("OPCODE"),
            "scroll_id": incoming.key[1],
            "from": incoming.to,
            "to": incoming.sender,
            "opcode_type": opcode.opcode_type,
            "content": opcode.content,
        }
        size = len(strict_json.encode(travelling))
        if size > contract.MAX_SCROLL_BYTES:
            raise BadRequest(f"the opcode has {size} bytes, {contract.MAX_SCROLL_BYTES} are allowed")
        row = {"sender": incoming.sender, "opcode": travelling}
        key = f"op {incoming.sender} {incoming.key[1]} {incoming.to}"
        incoming.opcode_row = await self._rows.append(
            OUTPUT, row, kind=OPCODE_KIND, owner=incoming.to, key=key
        )
        self._now(incoming, "answered", opcode=travelling)

    def _now(
        self, incoming: Incoming, state: str, reason: str | None = None, opcode: Json | None = None
    ) -> None:
        if incoming.receipt.move(state, time.time(), reason, opcode):
            self._report(incoming)

    def _report(self, incoming: Incoming) -> None:
        """Tell the sender's node, and repeat it until that node acknowledges."""
        receipt = incoming.receipt
        if incoming.sender_node == self._agents.node:
            known = self._receipt_here((incoming.sender, incoming.key[1]), receipt)
            self.acknowledged(incoming.key, known)
        elif self.uplink is not None:
            frame = mesh_pb2.ScrollReceipt(
                scroll=incoming.key[1],
                sender=incoming.sender,
                to=incoming.to,
                node=incoming.sender_node,
                state=receipt.state,
                reason=receipt.reason or "",
                opcode_json=strict_json.encode(receipt.opcode) if receipt.opcode is not None else b"",
            )
            self.uplink.send(receipt=frame)

    def acknowledged(self, key: tuple[str, str, str], state: str) -> None:
        """The sender's node knows this state. Of a final one nothing needs to be kept.

        It may be a final one that we do not know of: after a restoration, how it ended on the lost disk.
        """
        incoming = self._incoming.get(key)
        if incoming is None:
            return
        incoming.told = state
        if state in FINAL:
            incoming.receipt.move(state, time.time())  # so that it is not handed over any more
            del self._incoming[key]
            self._rows.free(incoming.row, incoming.opcode_row)
        elif incoming.doubtful:
            incoming.doubtful = False
            self._post(incoming)

    # --- reading ---------------------------------------------------------------------------------------

    def shapes(self) -> Iterable[Json]:
        """Every received scroll that is still kept, with the receipt of its recipient here."""
        return (incoming_shape(incoming) for incoming in self._incoming.values())
