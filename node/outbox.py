"""Scrolls as this node knows them: those that were sent from here, and those for agents here.

Pure: what a receipt changes, what is still owed, what has expired. Rows and links are the desk's business.
A receipt only ever moves forward; the states are those of docs/states.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hyperpi import contract, strict_json
from hyperpi.address import AgentId
from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.errors import BadRequest

FINAL = frozenset({"answered", "expired", "refused", "unknown"})
ORDER = {"accepted": 0, "relayed": 1, "stored": 2, "delivered": 3}  # a final state is above all of these
REMEMBERED_S = 7 * 86_400.0  # receipts and idempotency keys outlive rows by this much

Key = tuple[str, str]  # verified sender, scroll_id: the idempotency key


@dataclass(slots=True)
class Receipt:
    """How far a scroll has come with one recipient. `at`: Unix seconds of the last change."""

    to: str
    state: str
    at: float
    reason: str | None = None
    opcode: Json | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self.state in FINAL

    def move(self, state: str, now: float, reason: str | None = None, opcode: Json | None = None) -> bool:
        """Take a newer state. False when it is not newer: then nothing has changed."""
        if self.final or (state not in FINAL and ORDER[state] <= ORDER[self.state]):
            return False
        self.state, self.at, self.reason, self.opcode = state, now, reason, opcode
        return True


@dataclass(slots=True)
class Outgoing:
    """A scroll sent from this node. Its row is freed when every recipient's node has it."""

    sender: str
    scroll: Json  # as the contract has it, `from` set by us
    accepted_at: float
    expires_at: float
    receipts: dict[str, Receipt] = field(default_factory=dict)  # by recipient, none before routing
    row: Any = None  # the disk's reference, None once freed

    @property
    def key(self) -> Key:
        """The idempotency key."""
        return self.sender, self.scroll["scroll_id"]

    @property
    def settled(self) -> bool:
        """Whether nothing more will come from anybody."""
        return bool(self.receipts) and all(receipt.final for receipt in self.receipts.values())

    @property
    def handed_over(self) -> bool:
        """Whether the row is no longer needed here."""
        return bool(self.receipts) and all(
            receipt.final or ORDER[receipt.state] >= ORDER["stored"] for receipt in self.receipts.values()
        )

    def state(self) -> str:
        """One word for all recipients: the least advanced one's."""
        if not self.receipts:
            return "accepted"
        return min(self.receipts.values(), key=lambda receipt: ORDER.get(receipt.state, 4)).state

    def waiting(self) -> Iterator[Receipt]:
        """Receipts of recipients whose node does not have it yet."""
        return (r for r in self.receipts.values() if not r.final and ORDER[r.state] < ORDER["stored"])

    def routed(self, recipients: Iterable[str], away: Iterable[str], now: float) -> list[Receipt]:
        """Whom it goes to; returns the receipts that are new or have moved."""
        absent = frozenset(away)
        changed = []
        for to in recipients:
            receipt = self.receipts.get(to)
            if receipt is None:
                receipt = self.receipts[to] = Receipt(to, "accepted", now)
            if to not in absent and receipt.move("relayed", now):
                changed.append(receipt)
        return changed

    def expire(self, now: float) -> list[Receipt]:
        """The recipients that did not get it in time, if its time is over."""
        if now < self.expires_at:
            return []
        if not self.receipts:
            self.receipts[self.scroll["to"]] = Receipt(self.scroll["to"], "accepted", now)
        return [r for r in self.receipts.values() if r.move("expired", now, "its time to live is over")]


@dataclass(slots=True)
class Incoming:
    """A scroll for an agent of this node, in its row until its sender knows how it ended."""

    sender: str
    sender_node: str  # node id, where receipts go
    agent: AgentId
    to: str
    scroll: Json
    expires_at: float
    receipt: Receipt
    row: Any = None
    opcode_row: Any = None
    told: str = ""  # the last state that the sender's node has acknowledged
    doubtful: bool = False  # came with a copy of a lost disk: it may have been handed over since

    @property
    def key(self) -> tuple[str, str, str]:
        """One per sender, scroll and recipient."""
        return self.sender, self.scroll["scroll_id"], self.to

    @property
    def owed(self) -> bool:
        """Whether the sender's node has not acknowledged the present state yet."""
        return self.told != self.receipt.state


def accepted_scroll(wanted: contract.Scroll, sender: str, new_id: str) -> Json:
    """The scroll as it will travel. Raises BadRequest for what may not."""
    if not wanted.message:
        raise BadRequest("message is missing")
    if not 0 < wanted.ttl_s <= contract.MAX_TTL_S:
        raise BadRequest(f"ttl_s goes up to {contract.MAX_TTL_S}", hint="30 days at most")
    if wanted.scroll_id is not None and not 0 < len(wanted.scroll_id) <= 128:
        raise BadRequest("scroll_id has 1 to 128 characters")
    scroll: Json = {
        "scroll_id": wanted.scroll_id or new_id,
        "from": sender,
        "to": wanted.to,
        "message": wanted.message,
        "intent": wanted.intent,
        "data": wanted.data,
        "urgency": wanted.urgency,
        "reply_to": wanted.reply_to,
        "ttl_s": wanted.ttl_s,
    }
    size = len(strict_json.encode(scroll))
    if size > contract.MAX_SCROLL_BYTES:
        raise BadRequest(
            f"the scroll has {size} bytes, {contract.MAX_SCROLL_BYTES} are allowed",
            hint="put large content into a file and send its path",
        )
    return scroll


def receipt_shape(receipt: Receipt) -> Json:
    """A receipt of the contract."""
    shape: Json = {"to": receipt.to, "state": receipt.state, "at": rfc3339(receipt.at)}
    if receipt.reason is not None:
        shape["reason"] = receipt.reason
    if receipt.opcode is not None:
        shape["opcode"] = receipt.opcode
    return shape


def outgoing_shape(outgoing: Outgoing) -> Json:
    """A sent scroll with its receipts, for scroll.list and scroll.get."""
    return {
        **outgoing.scroll,
        "side": "sender",
        "at": rfc3339(outgoing.accepted_at),
        "expires_at": rfc3339(outgoing.expires_at),
        "state": outgoing.state(),
        "receipts": [receipt_shape(receipt) for receipt in outgoing.receipts.values()],
    }


def incoming_shape(incoming: Incoming) -> Json:
    """A received scroll with the receipt of its recipient here."""
    return {
        **incoming.scroll,
        "side": "recipient",
        "at": rfc3339(incoming.receipt.at),
        "expires_at": rfc3339(incoming.expires_at),
        "state": incoming.receipt.state,
        "receipts": [receipt_shape(incoming.receipt)],
    }
