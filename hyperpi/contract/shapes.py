"""What there is: the shapes that answers and notifications are made of."""

from typing import Annotated, Any, Literal

import msgspec

from hyperpi.contract.shape import Json, Shape


class Evidence(Shape):
    """Why we believe an agent's state: RFC 3339 times of the last proof of each kind, or null."""

    process: str | None = None
    stream: str | None = None
    turn: str | None = None
    heartbeat: str | None = None  # the last time that it answered its node's question whether it is there


class ContextUsage(Shape):
    """How full the window of the model is; `tokens` and `percent` are null where the agent cannot tell."""

    window: int
    tokens: int | None = None
    percent: float | None = None


class Usage(Shape):
    """Totals since the agent registered."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    context: ContextUsage | None = None


class Session(Shape):
    """A conversation as its agent keeps it."""

    id: str | None = None
    file: str | None = None
    name: str | None = None


class TerminalSize(Shape):
    """Of a terminal."""

    cols: int
    rows: int


class Load(Shape):
    """cpu in cores, memory in bytes: of an agent, or of a node's own process."""

    cpu: float
    mem_bytes: int


class Ending(Shape):
    """Why an agent has ended. `interrupted`: in the middle of a turn, which is never run again by itself.

    `closed`: its terminal was; `killed`: by a signal, or it lost its keeper; `unknown`: nobody saw it.
    """

    why: Literal["quit", "crash", "killed", "closed", "stopped", "reboot", "upgrade", "unknown"]
    at: str  # when its node came to know
    interrupted: bool = False
    by: str | None = None  # who stopped it
    code: int | None = None
    signal: str | None = None


class QueuedPrompt(Shape):
    """A prompt that waits. `where`: at its node until the agent is back; in the agent, which can give it
    back; or handed to what runs in it, which cannot; or lost: its agent ended and had not taken it, as far as
    is known (receipt unknown).
    """

    id: str
    text: str  # its beginning; in `agent.show` the whole of a lost one, if `kept`
    cut: Annotated[int, msgspec.Meta(ge=0)] = 0  # characters of it that are not in `text`
    kept: bool = False  # of a lost one: its node has the whole text
    mode: str = "prompt"
    source: str = "api"
    images: int = 0
    at: str | None = None
    where: Literal["node", "agent", "handed", "lost"] = "agent"


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
    pending: int = 0  # approvals that it waits for
    load: Load | None = (
        None  # of its process and all that it has started; told when it has changed noticeably
    )
    ending: Ending | None = None  # of one that has exited, once it is known
    resumed_from: str | None = None  # id of the ended agent whose conversation it goes on with
    resume: Literal["offered", "possible"] | None = None  # agent.resume; offered: it broke off by mishap
    terminal: TerminalSize | None = None  # if it runs in one that its node holds
    thinking: str | None = None  # how hard its model thinks, as the agent calls it
    mode: str | None = None  # in which it works, as the agent calls it: plan, build…; of kinds that have some
    pid_start: str | None = None  # tells that process from others with its pid; opaque
    was: str | None = None  # its state when last heard of, while its node is away and nobody can vouch for it


class AgentKind(Shape):
    """What a node can start."""

    name: str
    command: bool  # node.spawn's `args` name the program; else they are added to the command of node.toml
    prompts: bool  # it takes prompts, also a first one
    headless: bool  # it runs in a terminal unless `headless` is asked for


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
    clock_s: float | None = None  # its clock was so far ahead of the hypivisor's; null: right to a minute


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
    thinking: str | None = None
    models: list[str] = msgspec.field(default_factory=list)  # that it could use instead: see agent.configure
    thinking_levels: list[str] = msgspec.field(default_factory=list)  # that its model knows
    mode: str | None = None
    modes: list[str] = msgspec.field(default_factory=list)  # in which it could work instead


class Action(Shape):
    """What is to be approved. `hash` binds the approval to it: another action is another approval.

    `kind`: "tool" for a tool call, with `detail` {tool, args, cwd, call_id, reasons}; "dialog" for a question
    of an extension, with `detail` {method, title, message?, placeholder?, prefill?}; others as agents like.
    """

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    summary: Annotated[str, msgspec.Meta(max_length=2_000)]  # one line for a person
    hash: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    detail: Any = None


ChoiceKind = Literal["allow_once", "allow_always", "reject_once", "reject_always", "option", "text"]


class Choice(Shape):
    """One way to answer. Kinds: those of ACP; `option`: one of several; `text`: with a typed text."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    label: Annotated[str, msgspec.Meta(max_length=2_000)]
    kind: ChoiceKind


class Approval(Shape):
    """Something that an agent does only if a person lets it. The first answer wins; silence denies."""

    id: str
    agent: str  # its id
    action: Action
    choices: list[Choice]
    asked_at: str
    expires_at: str
    state: Literal["pending", "approved", "denied", "expired", "withdrawn"]
    choice: str | None = None  # the id of the one that was taken
    by: str | None = None
    via: str | None = None  # pide | cli | api | terminal
    at: str | None = None  # when it was decided
    note: str | None = None  # the person's words, or why it was withdrawn
    text: str | None = None  # what was typed, for a choice of kind `text`


class Decision(Shape):
    """What became of an approval, for the tool call that it was about; a snapshot has those of its agent."""

    call_id: str
    state: Literal["approved", "denied", "expired", "withdrawn"]
    by: str | None = None
    via: str | None = None  # pide | cli | api | terminal
    note: str | None = None  # at most its first 500 characters


class AskPolicy(Shape):
    """When one agent has to ask before it calls a tool. Patterns: `TOOL` or `TOOL:GLOB`.

    `ask` is asked in every mode, `allow` in none but for what `ask` names; timeout_s until silence denies.
    """

    mode: Literal["auto", "ask-risky", "ask-all"] = "auto"
    ask: list[str] = msgspec.field(default_factory=list)
    allow: list[str] = msgspec.field(default_factory=list)
    timeout_s: float = 600.0
