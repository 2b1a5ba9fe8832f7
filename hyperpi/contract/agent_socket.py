"""The agent socket: what an agent says to its node."""

from typing import Annotated, Literal

import msgspec

from hyperpi.contract.shape import MAX_SEQ, Shape
from hyperpi.contract.shapes import Card, Session, Usage


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


class AgentBye(Shape):
    """agent.bye: a polite end."""

    reason: str = "quit"
