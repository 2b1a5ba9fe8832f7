"""What there is: the shapes that answers and notifications are made of."""

from typing import Any, Literal

import msgspec

from hyperpi.contract.shape import Json, Shape


class Evidence(Shape):
    """Why we believe an agent's state: RFC 3339 times of the last proof of each kind, or null."""

    process: str | None = None
    stream: str | None = None
    turn: str | None = None


class Usage(Shape):
    """Totals since the agent registered."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class Session(Shape):
    """A conversation as its agent keeps it."""

    id: str | None = None
    file: str | None = None
    name: str | None = None


class Agent(Shape):
    """One running (or ended) worker on a node. `node` is the node's id, `address` is name@node."""

    id: str
    name: str
    node: str
    address: str
    kind: str
    state: Literal["starting", "idle", "working", "waiting", "stuck", "exited", "unreachable"]
    detail: str | None
    cwd: str
    project: str | None
    pid: int | None
    model: str | None
    session: Session | None
    tools: int
    since: str
    last_event: str | None
    evidence: Evidence
    watchers: int
    usage: Usage
    resumed_from: str | None = None
    pid_start: str | None = None  # tells that process from others with its pid; opaque


class Load(Shape):
    """cpu in cores, memory in bytes, of the node process."""

    cpu: float
    mem_bytes: int


class DiskRoom(Shape):
    """Rows of a node's PXLDisk."""

    banks: int
    live_rows: int
    free_rows: int


class Certificate(Shape):
    """A node's certificate: when it was issued, when its node renews it, when it ends. RFC 3339.

    `issued` and `renews` are null of one that was issued before they were remembered.
    """

    issued: str | None
    renews: str | None
    expires: str


class Node(Shape):
    """One machine of the mesh."""

    id: str
    name: str
    state: Literal["online", "disconnected", "lost", "left", "pending"]
    since: str
    last_heard: str | None
    version: str
    platform: str
    address: str | None
    agents: int
    load: Load | None
    disk: DiskRoom | None
    code: str | None = None  # pending: the six digits that its person sees too
    approved: bool = False  # pending: an admin said yes, its own person has not yet
    certificate: Certificate | None = None  # as the hypivisor issued it; null where that is not known


class Nearby(Shape):
    """A machine on this network that says it runs a node and is in no mesh. Anybody may say anything."""

    name: str
    addresses: list[str]
    version: str


class Token(Shape):
    """What is told of a token: never its secret. `last_used` is exact to a minute."""

    id: str
    role: Literal["node", "viewer", "operator", "admin"]
    name: str | None  # node: the only name it may join as; else whose it is
    created: str
    expires: str
    uses_left: int | None  # null: any number until it expires
    last_used: str | None
    last_from: str | None  # address of that use; null also for this machine's control socket
    joined: str | None  # node: name of the machine that came with it last
    revoked: bool


class LoginSession(Shape):
    """A browser that is logged in. `last_used` is exact to a minute; unused, it ends at `expires`."""

    id: str
    name: str
    role: Literal["viewer", "operator", "admin"]
    origin: str  # the page it was opened on
    address: str  # where its browser is
    created: str
    last_used: str
    expires: str
    token: str | None  # id of the token it was opened with, if it was one


class AuditRow(Shape):
    """One act. An act that is checked first has a row `asked`, then `done` or `refused`."""

    seq: int
    at: str
    who: str
    origin: str
    what: str
    result: str  # asked | done | refused | failed
    details: Json


class Tool(Shape):
    """One tool that an agent may call."""

    name: str
    description: str = ""


class Card(Shape):
    """What an agent says it is."""

    model: str | None = None
    tools: list[Tool] = msgspec.field(default_factory=list)
    skills: list[Any] = msgspec.field(default_factory=list)  # names, or objects with a name
