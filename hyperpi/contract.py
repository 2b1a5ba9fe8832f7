"""The public contract as typed structs: what JSON-RPC methods take, what shapes they answer with.

JSON Schemas in docs/contract/ are generated from here (scripts/gen_contract.py), edges decode with these
types, tests use them. Fields follow the names of the contract; unknown fields are accepted and ignored.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from hyperpi.errors import BadRequest

Json = dict[str, Any]

AGENT_STATES = ("starting", "idle", "working", "waiting", "stuck", "exited", "unreachable")
NODE_STATES = ("online", "disconnected", "lost", "left", "pending")
SCROLL_STATES = (
    "accepted",
    "relayed",
    "stored",
    "delivered",
    "answered",
    "expired",
    "refused",
    "unknown",
)

MAX_SCROLL_BYTES = 64 << 10
MAX_FRAME_BYTES = 1 << 20  # a line on the agent socket, a text frame from a viewer
MAX_SEQ = 2**63 - 1  # places in a stream are 64 bits on the wire between machines
MAX_ROWS = 4_096  # of one answer
DEFAULT_TTL_S = 86_400
MAX_TTL_S = 30 * 86_400


class Shape(msgspec.Struct, kw_only=True):
    """A value of the contract."""


S = TypeVar("S", bound=Shape)


# --- what there is -------------------------------------------------------------------------------------


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
    tools: list[Tool] = []
    skills: list[Any] = []  # names, or objects with a name


# --- the agent socket ----------------------------------------------------------------------------------


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


# --- methods of viewers --------------------------------------------------------------------------------


class AgentParams(Shape):
    """Methods that take just an agent."""

    agent: str


class Attach(Shape):
    """agent.attach: what the viewer already has, or nothing."""

    agent: str
    epoch: str | None = None
    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    terminal: bool = False
    offset: int | None = None


class History(Shape):
    """agent.history: entries older than the entry `before`."""

    agent: str
    before: str
    limit: int = 100


class Prompt(Shape):
    """agent.prompt. `id` is an idempotency key, made here if it is missing."""

    agent: str
    text: str
    mode: Literal["prompt", "steer", "follow_up"] = "prompt"
    images: list[Json] = []
    id: str | None = None


class Rename(Shape):
    """agent.rename."""

    agent: str
    name: str


class NodeParams(Shape):
    """Methods that take just a node."""

    node: str


class Folders(Shape):
    """node.folders: no path means the home of the node's user."""

    node: str
    path: str | None = None
    hidden: bool = False


class Spawn(Shape):
    """node.spawn. The same request_id twice starts one agent."""

    node: str
    path: str
    request_id: str
    new_folder: str | None = None
    kind: str = "pi"
    name: str | None = None
    prompt: str | None = None
    args: list[str] = []


class Scroll(Shape):
    """A message from someone to someone. `from` is set from the verified sender, never believed."""

    to: str
    message: str
    scroll_id: str | None = None
    sender: str | None = msgspec.field(default=None, name="from")
    intent: str | None = None
    data: Any = None
    urgency: str = "normal"
    reply_to: str | None = None
    ttl_s: float = DEFAULT_TTL_S


class Opcode(Shape):
    """The structured reply to a scroll."""

    opcode_type: Literal["text_display", "write", "error", "image_display", "handoff"]
    content: Any = None
    opcode_id: str | None = None
    scroll_id: str | None = None
    sender: str | None = msgspec.field(default=None, name="from")
    to: str | None = None


class ScrollAnswer(Shape):
    """scroll.answer: an agent's opcode for a scroll that it was given."""

    scroll_id: str
    opcode: Opcode


class ScrollList(Shape):
    """scroll.list: newest last; `after` is a scroll_id."""

    agent: str | None = None
    state: str | None = None
    after: str | None = None
    limit: int = 100


class ScrollGet(Shape):
    """scroll.get."""

    scroll_id: str


class TokenCreate(Shape):
    """token.create. ttl_s in seconds; uses 0 = until it expires."""

    role: Literal["node", "viewer", "operator", "admin"] = "operator"
    ttl_s: float = 900.0
    uses: int | None = None
    name: str | None = None
    qr: bool = False  # with a QR code of the command that joins a machine with it, or of the token


class LoginCreate(Shape):
    """login.create. A link without a name that gives the caller's own role is for the caller."""

    role: Literal["viewer", "operator", "admin"] | None = None  # null: admin
    name: str | None = None
    qr: bool = False  # with a QR code of the link


class AuditList(Shape):
    """audit.list: newest first, every condition must hold. Texts are found anywhere in a field, in any case.

    `what`: in the act's name, as `node.` or `revoke`. `about`: a node, an agent or any other word in the
    details. `since`, `until`: RFC 3339. `before`: the `next` of the page before. `limit`: at most 500 rows.
    """

    who: str | None = None
    what: str | None = None
    result: str | None = None
    about: str | None = None
    since: str | None = None
    until: str | None = None
    before: int | None = None
    limit: int = 100


class CodeParams(Shape):
    """node.approve and node.deny: the code of a machine that waits."""

    code: str


class IdParams(Shape):
    """Methods that take just an id."""

    id: str


class DiskBank(Shape):
    """disk.watch, disk.unwatch: a bank is its number, 8 for 8.png."""

    node: str
    bank: int = 8


class DiskRows(DiskBank):
    """disk.rows: from..to, at most 4,096, or just the rows in `only`. With `content` also their bytes."""

    first: int | None = msgspec.field(default=None, name="from")
    last: int | None = msgspec.field(default=None, name="to")
    only: Annotated[list[int], msgspec.Meta(max_length=MAX_ROWS)] | None = None
    content: bool = False


class DiskPicture(DiskBank):
    """disk.png: as it is, or as it was after a commit or at a time (Unix seconds).

    `unless`: etags of pictures that the caller has; for one of those the answer has no `png`.
    """

    commit: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    at: float | None = None
    unless: Annotated[list[str], msgspec.Meta(max_length=16)] = []


class DiskHistory(DiskBank):
    """disk.history: the newest `limit` commits up to and with the commit `until`."""

    until: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 200


class DiskMirror(Shape):
    """disk.mirror: a node's disk is mirrored to the node `to` from now on, or with `off` no more."""

    node: str
    to: str
    off: bool = False


class DiskDrop(Shape):
    """disk.drop: what `node` holds of the disks of the node `of` is deleted."""

    node: str
    of: str


class DiskRestore(Shape):
    """disk.restore: a node's disk becomes the copy that the node `from` holds of it.

    `copy`: its number; else the newest whole one of another disk than there is now, or the newest. `of`: the
    copy of that node's disk instead, which only an admin may hand over. `force`: even over live rows.
    """

    node: str
    source: str = msgspec.field(name="from")
    copy: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    of: str | None = None
    force: bool = False


METHOD_PARAMS: dict[str, type[Shape]] = {
    "agent.attach": Attach,
    "agent.detach": AgentParams,
    "agent.history": History,
    "agent.prompt": Prompt,
    "agent.abort": AgentParams,
    "agent.stop": AgentParams,
    "agent.forget": AgentParams,
    "agent.rename": Rename,
    "agent.snapshot": AgentParams,
    "node.folders": Folders,
    "node.spawn": Spawn,
    "scroll.send": Scroll,
    "scroll.list": ScrollList,
    "scroll.get": ScrollGet,
    "token.create": TokenCreate,
    "token.revoke": IdParams,
    "login.create": LoginCreate,
    "session.revoke": IdParams,
    "audit.list": AuditList,
    "node.approve": CodeParams,
    "node.deny": CodeParams,
    "node.revoke": NodeParams,
    "disk.list": NodeParams,
    "disk.rows": DiskRows,
    "disk.png": DiskPicture,
    "disk.watch": DiskBank,
    "disk.unwatch": DiskBank,
    "disk.history": DiskHistory,
    "disk.verify": NodeParams,
    "disk.mirrors": NodeParams,
    "disk.mirror": DiskMirror,
    "disk.drop": DiskDrop,
    "disk.restore": DiskRestore,
}


def params_of(kind: type[S], params: object) -> S:
    """Check params against their struct. Raises BadRequest with the path of what is wrong."""
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as exc:
        raise BadRequest(str(exc), hint="see docs/contract") from None
