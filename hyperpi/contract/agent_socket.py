"""The agent socket: what an agent says to its node."""

from typing import Annotated, Literal

import msgspec

from hyperpi.contract.shape import MAX_SEQ, Shape
from hyperpi.contract.shapes import Action, Card, Choice, QueuedPrompt, Session, Usage


class Register(Shape):
    """agent.register: an agent says who it is. `instance` survives reloads and redials."""

    instance: str
    kind: str
    cwd: str
    pid: int
    name: str | None = None
    session: Session | None = None
    card: Card = msgspec.field(default_factory=Card)


class AgentEvents(Shape):
    """agent.events: events numbered by the agent from 1 per instance; `from` is the number of the first."""

    first: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)] = msgspec.field(name="from")
    events: list[msgspec.Raw]


class AgentChanged(Shape):
    """agent.changed: what is named has changed; `reset` says that the conversation itself did."""

    state: Literal["idle", "working", "waiting"] | None = None
    detail: str | None = None
    card: Card | None = None
    session: Session | None = None
    usage: Usage | None = None
    reset: str | None = None
    queue: Annotated[list[QueuedPrompt], msgspec.Meta(max_length=1_000)] | None = None  # all that wait in it


class AgentBye(Shape):
    """agent.bye: a polite end."""

    reason: str = "quit"


APPROVE_OR_DENY = (
    Choice(id="approve", label="Approve", kind="allow_once"),
    Choice(id="deny", label="Deny", kind="reject_once"),
)


class ApprovalAsk(Shape):
    """approval.ask: may this be done? The same id again asks for what became of it, and never asks twice."""

    id: Annotated[str, msgspec.Meta(min_length=4, max_length=64, pattern="^[A-Za-z0-9._-]+$")]
    action: Action
    choices: Annotated[list[Choice], msgspec.Meta(min_length=1, max_length=256)] = msgspec.field(
        default_factory=lambda: list(APPROVE_OR_DENY)
    )
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None  # null: as the policy says


class ApprovalAnswer(Shape):
    """approval.answer: the person at the agent's own terminal has answered, or its time was over (no choice).

    `effective`: it has happened already, since the node was away; then that is what is true.
    """

    id: str
    choice: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None
    effective: bool = False


class ApprovalWithdraw(Shape):
    """approval.withdraw: it is of no interest any more, for instance since the turn was aborted."""

    id: str
    reason: Annotated[str, msgspec.Meta(max_length=1_000)] = "withdrawn"
