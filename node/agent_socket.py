"""The agent socket: how any program on this machine becomes an agent, and how keepers report.

Newline-delimited JSON-RPC on a Unix socket that only the owner can open. The first call says who is there:
`agent.register` for an agent, `keeper.register` for a keeper.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from hyperpi import contract, lines
from hyperpi.address import AgentId
from hyperpi.errors import BadRequest, NotForThisRole, UnknownMethod
from hyperpi.process_tree import descends_from
from node.agent_record import AgentRecord
from node.agents import Agents
from node.heartbeats import HEARTBEAT_S
from node.keepers import KeeperBook, Shown, StandsBy
from node.kinds import kind_named
from node.process import is_alive
from node.spawn import TerminalSize
from node.terminals import Terminals

LEVELS = frozenset({"info", "warning", "error"})
NOTICE_CHARS = 2_000


class Scrolls(Protocol):
    """What agents may do with scrolls."""

    async def send_from_agent(self, agent: AgentId, scroll: contract.Scroll) -> dict[str, Any]:
        """Accept a scroll of an agent; durable on return."""

    async def answer(self, agent: AgentId, answer: contract.ScrollAnswer) -> dict[str, Any]:
        """Take an agent's opcode for a scroll that it was given."""


class Asks(Protocol):
    """What agents ask of people."""

    def policy_of(self, record: AgentRecord) -> contract.AskPolicy:
        """When the agent has to ask."""

    def ask(self, agent: AgentId, wanted: contract.ApprovalAsk, peer_pid: int) -> contract.Approval:
        """Ask for leave, or what became of it."""

    async def answer_at_agent(
        self, agent: AgentId, said: contract.ApprovalAnswer, peer_pid: int
    ) -> contract.Approval:
        """The person at the agent's terminal has answered."""

    def withdraw(self, agent: AgentId, said: contract.ApprovalWithdraw, peer_pid: int) -> None:
        """It needs no answer any more."""

    def ask_dialog(self, agent: AgentId, request: dict[str, Any]) -> dict[str, Any]:
        """A keeper tells of a dialog of its pi; what is to be said to it now."""

    def withdraw_dialog(self, agent: AgentId, dialog: str, reason: str) -> None:
        """A dialog waits no more."""


class KeeperDialog(msgspec.Struct):
    """keeper.dialog: pi's own request; keeper.dialog_closed: the id of one that waits no more."""

    agent: str
    request: dict[str, Any] = msgspec.field(default_factory=dict)
    id: str = ""


class KeeperNotice(msgspec.Struct):
    """keeper.notice: an extension of a headless pi says something."""

    agent: str
    text: str
    level: str = "info"


class AgentSocket:
    """Serves the socket; one `_Peer` per connection."""

    def __init__(
        self,
        agents: Agents,
        scrolls: Scrolls,
        approvals: Asks,
        keepers: KeeperBook,
        terminals: Terminals,
        *,
        url_of: Callable[[AgentRecord], str],
        project_of: Callable[[Path], str | None],
        peers: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self.agents = agents
        self.scrolls = scrolls
        self.approvals = approvals
        self.keepers = keepers
        self.terminals = terminals
        self.url_of = url_of
        self.project_of = project_of
        self.peers = peers

    async def serve(self, path: Path, address_file: Path) -> None:
        """Listen until cancelled. Raises Conflict when another node of this home listens."""
        await lines.serve(path, self._serve_one, lambda: address_file.write_text(f"{path}\n"))

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _peer_pid: int
    ) -> None:
        await _Peer(self, reader, writer).run()


class _Peer:
    """One connection: silent until it registers, then one agent's or one keeper's."""

    def __init__(self, edge: AgentSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._edge = edge
        self._lines = lines.Lines(reader, writer, self._handle)
        self._agent: AgentId | None = None

    async def run(self) -> None:
        """Until the peer has gone."""
        try:
            await self._lines.run(self._heard)
        finally:
            self._edge.keepers.disconnected(self._lines.rpc)
            if self._agent is not None:
                self._edge.agents.dropped(self._agent, self._lines.rpc)

    def _heard(self) -> None:
        if self._agent is not None:
            self._edge.agents.heard(self._agent)

    def _handle(self, method: str, raw: msgspec.Raw) -> Awaitable[Any] | Any:
        agents = self._edge.agents
        match method:
            case "agent.register":
                return self._register(_decode(raw, contract.Register))
            case "agent.events":
                return {"acked": agents.events(self._me(), _decode(raw, contract.AgentEvents))}
            case "agent.changed":
                agents.changed(self._me(), _decode(raw, contract.AgentChanged))
                return {}
            case "agent.bye":
                agents.bye(self._me(), _decode(raw, contract.AgentBye).reason)
                return {}
            case "scroll.send":
                return self._edge.scrolls.send_from_agent(self._me(), _decode(raw, contract.Scroll))
            case "scroll.answer":
                return self._edge.scrolls.answer(self._me(), _decode(raw, contract.ScrollAnswer))
            case "approval.ask":
                wanted = _decode(raw, contract.ApprovalAsk)
                return self._edge.approvals.ask(self._me(), wanted, self._lines.peer_pid)
            case "approval.answer":
                said = _decode(raw, contract.ApprovalAnswer)
                return self._edge.approvals.answer_at_agent(self._me(), said, self._lines.peer_pid)
            case "approval.withdraw":
                withdrawn = _decode(raw, contract.ApprovalWithdraw)
                self._edge.approvals.withdraw(self._me(), withdrawn, self._lines.peer_pid)
                return {}
            case "mesh.peers":
                self._me()
                return {"agents": self._edge.peers()}
            case "keeper.register":
                return self._keeper_registers(_decode(raw, dict[str, Any]))
            case "keeper.shown":
                return self._keeper_shows(_decode(raw, Shown))
            case "keeper.dialog" | "keeper.dialog_closed":
                return self._keeper_asks(method, _decode(raw, KeeperDialog))
            case "keeper.standby":
                return self._keeper_is_followed(_decode(raw, StandsBy))
            case "keeper.notice":
                return self._keeper_says(_decode(raw, KeeperNotice))
            case "keeper.exited":
                return self._edge.keepers.exited(_decode(raw, dict[str, Any]), self._lines.peer_pid)
            case _:
                raise UnknownMethod(f"there is no method {method}", hint="see docs/contract")

    async def _keeper_registers(self, said: dict[str, Any]) -> dict[str, object]:
        answer = await self._edge.keepers.registered(said, self._lines.rpc, self._lines.peer_pid)
        kept = self._edge.keepers.kept(said["agent"])
        if kept is not None:
            agent = AgentId(kept.agent)
            registers = kind_named(kept.kind).registers
            self._edge.agents.held(agent, kept.pid, kept.pid_start, registers=registers)
            if (terminal := self._edge.keepers.terminal(agent)) is not None:
                size = TerminalSize(terminal.cols, terminal.rows)
                self._edge.terminals.held(agent, size, terminal.end)
                self._edge.agents.has_terminal(agent, contract.TerminalSize(cols=size.cols, rows=size.rows))
        return answer

    def _keeper_shows(self, said: Shown) -> dict[str, object]:
        agent = AgentId(said.agent)
        if self._edge.keepers.speaks_for(agent, self._lines.rpc):
            self._edge.terminals.shown(agent, said.end)
            registers = kind_named(self._edge.agents.roster.get(agent).kind).registers
            self._edge.agents.shown(agent, registers=registers)
        return {}

    def _keeper_asks(self, method: str, said: KeeperDialog) -> dict[str, Any]:
        agent = AgentId(said.agent)
        if not self._edge.keepers.speaks_for(agent, self._lines.rpc):
            raise NotForThisRole("that agent has another keeper")
        if method == "keeper.dialog":
            return self._edge.approvals.ask_dialog(agent, said.request)
        self._edge.approvals.withdraw_dialog(agent, said.id, "nobody answered in time")
        return {}

    def _keeper_is_followed(self, said: StandsBy) -> dict[str, Any]:
        if self._edge.keepers.speaks_for(said.agent, self._lines.rpc):
            self._edge.keepers.stands_by(said)
        return {}

    def _keeper_says(self, said: KeeperNotice) -> dict[str, Any]:
        agent = AgentId(said.agent)
        if self._edge.keepers.speaks_for(agent, self._lines.rpc) and said.text.strip():
            level = said.level if said.level in LEVELS else "info"
            self._edge.agents.say(agent, {"type": "notice", "level": level, "text": said.text[:NOTICE_CHARS]})
        return {}

    def _me(self) -> AgentId:
        if self._agent is None:
            raise NotForThisRole("register first", hint="call agent.register")
        return self._agent

    def _register(self, hello: contract.Register) -> dict[str, Any]:
        if not hello.instance or len(hello.instance) > 128:
            raise BadRequest("instance is a UUID that survives reloads")
        # An adapter may dial for a child of its own. Any other pid would let `stop` end a stranger.
        peer = self._lines.peer_pid
        pid = hello.pid if is_alive(hello.pid) and descends_from(hello.pid, peer) else peer
        agents = self._edge.agents
        project = self._edge.project_of(Path(hello.cwd))
        if self._agent is not None:
            known = agents.roster.by_instance(hello.instance)
            if known is None or known.id != self._agent:
                agents.dropped(self._agent, self._lines.rpc)
        record = agents.register(hello, self._lines.rpc, pid=pid, project=project)
        self._agent = record.id
        return {
            "agent": record.id,
            "name": record.name,
            "url": self._edge.url_of(record),
            "heartbeat_s": HEARTBEAT_S,
            "acked": agents.log_of(record.id).acked,
            "approvals": self._edge.approvals.policy_of(record),
        }


T = TypeVar("T")


def _decode(raw: msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(str(exc), hint="see docs/contract") from None
