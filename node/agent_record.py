"""What a node knows of one agent, and how it shows it.

Pure values; what a fact changes in a record is decided in `roster`.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.clock import rfc3339
from node.endings import MISHAPS
from node.kinds import Past, kind_named

LIVE_STATES = frozenset({"starting", "idle", "working", "waiting", "stuck", "unreachable"})
IN_A_TURN = frozenset({"working", "waiting", "stuck"})


@dataclass(slots=True)
class AgentRecord:
    """All that the node knows of one agent. Times are Unix seconds; owned and changed by the Roster alone."""

    id: AgentId
    instance: str
    name: str
    kind: str
    cwd: str
    project: str | None
    since: float
    state: str = "starting"
    detail: str | None = None
    pid: int | None = None
    pid_start: str | None = None  # identity of the process behind the pid, which may be reused
    model: str | None = None
    session: contract.Session | None = None
    thinking: str | None = None
    models: list[str] = field(default_factory=list)
    thinking_levels: list[str] = field(default_factory=list)
    mode: str | None = None
    modes: list[str] = field(default_factory=list)
    tools: list[contract.Tool] = field(default_factory=list)
    skills: list[Any] = field(default_factory=list)
    usage: contract.Usage = field(default_factory=contract.Usage)
    last_event: float | None = None
    process_seen: float | None = None
    stream_seen: float | None = None
    turn_seen: float | None = None
    beat_seen: float | None = None
    terminal: contract.TerminalSize | None = None  # of the one that it runs in, if we hold it
    spawned: bool = False  # held by a keeper of ours
    request_id: str | None = None
    said_bye: str | None = None
    state_before: str = "idle"  # what `unreachable` returns to
    unheard: bool = False  # unreachable since the node started; `since` is of the state before
    asking: str | None = None  # what a person is asked on its behalf: shown in place of its own state,
    own_state: str = "idle"  # which is kept here meanwhile
    own_detail: str | None = None
    ask_mode: str | None = None  # an operator's wish when it has to ask; None: as node.toml says
    tty: str | None = None  # identity of the terminal that it was typed into
    stopped_by: str | None = None  # who asked for its end
    ending: contract.Ending | None = None
    last_output: str = ""  # the last lines that it showed, of one that ended otherwise than well
    interrupted: bool = False  # it ended in the middle of a turn
    left: bool | None = None  # a conversation that can be gone on with; None: nobody has looked yet
    args: tuple[str, ...] = ()  # that it was spawned with
    headless: bool = False
    resumed_from: AgentId | None = None
    resumed_as: AgentId | None = None
    wished: str | None = None  # the name without a number that the roster put behind it; None: not known

    @property
    def live(self) -> bool:
        """Whether it may still be running."""
        return self.state in LIVE_STATES

    @property
    def own(self) -> str:
        """What it does itself, whatever a person is asked on its behalf."""
        return self.state if self.asking is None else self.own_state

    @property
    def in_a_turn(self) -> bool:
        """Whether it was doing something for somebody when last heard of."""
        state = self.state_before if self.state == "unreachable" else self.state
        return state in IN_A_TURN and self.turn_seen is not None


def agent_id(instance: str) -> AgentId:
    """The id of an instance: made from it, so that it survives even a node that forgot everything."""
    digest = hashlib.sha256(instance.encode()).digest()
    return AgentId("a-" + base64.b32encode(digest[:5]).decode().lower())


def resume_of(record: AgentRecord) -> Literal["offered", "possible"] | None:
    """Whether an ended agent's conversation can be gone on with, and is worth offering to be."""
    if not record.left or not may_be_resumed(record):
        return None
    why = record.ending.why if record.ending else "unknown"
    broke_off = why == "reboot" or (record.interrupted and why in MISHAPS)
    return "offered" if broke_off else "possible"


def may_be_resumed(record: AgentRecord) -> bool:
    """Whether an ended agent could be gone on with, if it has left its conversation."""
    kind = kind_named(record.kind)
    if record.live or record.resumed_as is not None or record.session is None or kind.resumed is None:
        return False
    return kind.resumed(record.args, past_of(record)) is not None


def past_of(record: AgentRecord) -> Past:
    """What an agent leaves behind."""
    session = record.session or contract.Session()
    return Past(session.id, session.file)


def agent_shape(
    record: AgentRecord,
    *,
    node: str,
    node_name: str,
    watchers: int,
    pending: int = 0,
    load: contract.Load | None = None,
) -> contract.Agent:
    """The Agent of the contract."""

    def when(unix_s: float | None) -> str | None:
        return None if unix_s is None else rfc3339(unix_s)

    return contract.Agent(
        id=record.id,
        name=record.name,
        node=node,
        address=f"{record.name}@{node_name}",
        kind=record.kind,
        state=record.state,  # type: ignore[arg-type]  # only states of the contract are ever entered
        detail=record.detail,
        cwd=record.cwd,
        project=record.project,
        pid=record.pid,
        model=record.model,
        session=record.session,
        tools=len(record.tools),
        since=rfc3339(record.since),
        last_event=when(record.last_event),
        evidence=contract.Evidence(
            process=when(record.process_seen),
            stream=when(record.stream_seen),
            turn=when(record.turn_seen),
            heartbeat=when(record.beat_seen),
        ),
        load=load,
        pending=pending,
        ending=record.ending,
        resumed_from=record.resumed_from,
        resume=resume_of(record),
        pid_start=record.pid_start,
        terminal=record.terminal,
        thinking=record.thinking,
        mode=record.mode,
        watchers=watchers,
        usage=record.usage,
    )
