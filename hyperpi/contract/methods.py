"""The methods of viewers: what each takes."""

from typing import Annotated, Any, Literal

import msgspec

from hyperpi.contract.shape import DEFAULT_TTL_S, MAX_ROWS, MAX_SEQ, MAX_TERMINAL_BYTES, Shape

MAX_TYPED_CHARS = 128 << 10  # of base64 in one call; a paste is typed in several


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


class Picture(Shape):
    """A picture of a prompt: its bytes in base64 (PNG, JPEG, GIF, WebP), or the id of an upload."""

    mime: str | None = None
    data: Annotated[str, msgspec.Meta(max_length=1_000_000)] | None = None
    upload: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class Prompt(Shape):
    """agent.prompt. `id` is an idempotency key, made here if it is missing."""

    agent: str
    text: str
    mode: Literal["prompt", "steer", "follow_up"] = "prompt"
    images: Annotated[list[Picture], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=list)
    id: str | None = None


class Resume(Shape):
    """agent.resume: a new agent goes on with an ended one's conversation. Nothing is run by itself."""

    agent: str
    prompt: str | None = None


class Rename(Shape):
    """agent.rename."""

    agent: str
    name: str


class Configure(Shape):
    """agent.configure: another model, thinking level or mode, or several of them; as its card lists them."""

    agent: str
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=512)] | None = None
    thinking: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    mode: Annotated[str, msgspec.Meta(min_length=1, max_length=512)] | None = None


class Complete(Shape):
    """agent.complete: how the word before `cursor` (in characters; null: the end) could go on."""

    agent: str
    text: Annotated[str, msgspec.Meta(max_length=64_000)]
    cursor: Annotated[int, msgspec.Meta(ge=0, le=64_000)] | None = None


class Unqueue(Shape):
    """agent.unqueue: a prompt that waits is taken back."""

    agent: str
    id: str


class Answer(Shape):
    """agent.answer: `choice` is one of the approval's; `text` for one of kind `text`: what was typed."""

    agent: str
    approval: str
    choice: str
    note: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None
    text: Annotated[str, msgspec.Meta(max_length=65_536)] | None = None


class AgentPolicy(Shape):
    """agent.policy: when this agent has to ask. null: as its machine's node.toml says."""

    agent: str
    mode: Literal["auto", "ask-risky", "ask-all"] | None = None


class ApprovalList(Shape):
    """approval.list: of one agent or of all; `state` null: the decided ones too, as long as they are kept."""

    agent: str | None = None
    state: Literal["pending", "approved", "denied", "expired", "withdrawn"] | None = "pending"
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 200


class Input(Shape):
    """agent.input: bytes that are typed into its terminal, base64."""

    agent: str
    data: Annotated[str, msgspec.Meta(max_length=MAX_TYPED_CHARS)]


class Resize(Shape):
    """agent.resize: the last one holds, for everybody who looks."""

    agent: str
    cols: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    rows: Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class Scrollback(Shape):
    """agent.scrollback: what its terminal showed from `offset`, or just before `before`, or last of all."""

    agent: str
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    before: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_TERMINAL_BYTES)] = MAX_TERMINAL_BYTES


class Recording(Shape):
    """agent.recording: a piece of it as asciinema has it; `offset` is the `next` of the piece before."""

    agent: str
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] = 0


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
    args: list[str] = msgspec.field(default_factory=list)
    headless: bool = False  # without a terminal, where the kind can


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
    unless: Annotated[list[str], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=list)


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
    "agent.configure": Configure,
    "agent.resume": Resume,
    "agent.unqueue": Unqueue,
    "agent.complete": Complete,
    "agent.snapshot": AgentParams,
    "agent.answer": Answer,
    "agent.policy": AgentPolicy,
    "approval.list": ApprovalList,
    "agent.input": Input,
    "agent.resize": Resize,
    "agent.scrollback": Scrollback,
    "agent.recording": Recording,
    "node.folders": Folders,
    "node.kinds": NodeParams,
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
