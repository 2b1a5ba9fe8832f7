"""What this node answers, whoever asks: the hypivisor over the Link, or a viewer on this machine.

One table from methods to what they do here. Who may call what was checked before; the node's own policy is
checked where it matters, in `spawning`.
"""

import asyncio
import base64
import logging
import os
import signal
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hyperpi import contract, roles, strict_json
from hyperpi.address import NAMES, AgentId, clean_name, new_id
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, Conflict, NodeUnreachable, NotFound, UnknownMethod
from hyperpi.event import Cursor, Reset
from hyperpi.mesh_view import MeshView
from hyperpi.ring import Ring
from hyperpi.roles import Caller
from node import completion
from node.agents import Agents, Observer
from node.approval_desk import ApprovalDesk
from node.bank_feeds import BankFeed, BankFeeds
from node.disk_methods import DiskMethods
from node.keepers import KeeperBook
from node.kinds import kind_named
from node.mirrors import Mirrors
from node.process import is_alive, wait_for_end
from node.prompts import Prompts
from node.scroll_desk import ScrollDesk
from node.snapshots import Snapshots
from node.spawn import TerminalSize
from node.spawning import Spawning
from node.terminals import Terminals
from pxldisk import Disk

log = logging.getLogger(__name__)

ASK_S = 5.0
STOP_GRACE_S = 5.0

Handler = Callable[[Json, Caller], Awaitable[Any]]


class LocalFeed:
    """One viewer's hold on an agent's ring: a `viewer.Feed`."""

    def __init__(
        self, agent: AgentId, ring: Ring, snapshots: Snapshots, released: Callable[["LocalFeed"], None]
    ) -> None:
        self.agent: str = agent
        self.ring = ring
        self.ended: Reset | None = None
        self._snapshots = snapshots
        self._released = released

    async def snapshot(self) -> tuple[Cursor, bytes]:
        """See viewer.Feed."""
        return await self._snapshots.snapshot(AgentId(self.agent))

    def release(self) -> None:
        """See viewer.Feed."""
        self._released(self)


class LocalTerminal:
    """One viewer's hold on an agent's terminal: a `terminal_view.TerminalFeed`."""

    def __init__(self, agent: AgentId, terminals: Terminals) -> None:
        self.agent: str = agent
        self.ring: Ring = terminals.hold(agent)
        self.ended: Reset | None = None
        self._terminals = terminals

    async def scrollback(self, offset: int | None) -> bytes:
        """See terminal_view.TerminalFeed."""
        found = await self._terminals.scrollback(
            AgentId(self.agent), offset, None, contract.MAX_TERMINAL_BYTES
        )
        return strict_json.encode(found)

    def release(self) -> None:
        """See terminal_view.TerminalFeed."""
        self._terminals.release(AgentId(self.agent))


@dataclass(frozen=True, slots=True)
class Desks:
    """The parts that answer."""

    agents: Agents
    snapshots: Snapshots
    prompts: Prompts
    approvals: ApprovalDesk
    scrolls: ScrollDesk
    spawning: Spawning
    keepers: KeeperBook
    terminals: Terminals
    disk: Disk
    banks: BankFeeds
    mirrors: Mirrors
    saved: Callable[[AgentId], Awaitable[None]]  # returns when an agent's record is on disk


class Backend(Observer):
    """A `viewer.Backend` of this node alone, and the hypivisor's counterpart for calls."""

    def __init__(self, desks: Desks, node_shape: Callable[[], contract.Node]) -> None:
        self.view = MeshView("", new_id("r", 8), {})
        self._desks = desks
        self._node_shape = node_shape
        self._feeds: dict[AgentId, set[LocalFeed]] = {}
        self._handlers: dict[str, Handler] = {
            "agent.show": self._agent_show,
            "agent.snapshot": self._agent_snapshot,
            "agent.history": self._agent_history,
            "agent.prompt": self._agent_prompt,
            "agent.abort": self._agent_abort,
            "agent.stop": self._agent_stop,
            "agent.input": self._agent_input,
            "agent.resize": self._agent_resize,
            "agent.scrollback": self._agent_scrollback,
            "agent.recording": self._agent_recording,
            "agent.forget": self._agent_forget,
            "agent.rename": self._agent_rename,
            "agent.configure": self._agent_configure,
            "agent.resume": self._agent_resume,
            "agent.unqueue": self._agent_unqueue,
            "agent.complete": self._agent_complete,
            "agent.answer": self._agent_answer,
            "agent.policy": self._agent_policy,
            "approval.list": self._approval_list,
            "node.folders": self._node_folders,
            "node.kinds": self._node_kinds,
            "node.spawn": self._node_spawn,
            "scroll.send": self._scroll_send,
            "scroll.list": self._scroll_list,
            "scroll.get": self._scroll_get,
            **DiskMethods(desks.disk).handlers(),
            **desks.mirrors.methods(),
        }

    # --- viewer.Backend --------------------------------------------------------------------------------

    async def mesh(self, caller: Caller) -> bytes:
        """See viewer.Backend: this node and its agents."""
        return self.view.whole_json({"name": caller.name, "role": caller.role})

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        """See viewer.Backend."""
        handler = self._handlers.get(method)
        if handler is None:
            raise UnknownMethod(
                f"a node alone does not answer {method}",
                hint="ask the hypivisor: start one with `hyperpi up`",
            )
        if "node" in params:
            self._must_be_us(str(params["node"]))
        return strict_json.encode(await handler(dict(params), caller))

    async def feed(self, agent: str, cursor: Cursor | None) -> LocalFeed:
        """See viewer.Backend."""
        record = self._desks.agents.resolve(agent)
        feed = LocalFeed(
            record.id, self._desks.agents.log_of(record.id).ring, self._desks.snapshots, self._release
        )
        self._feeds.setdefault(record.id, set()).add(feed)
        self._count_watchers(record.id)
        return feed

    async def terminal(self, agent: str) -> LocalTerminal:
        """See viewer.Backend."""
        return LocalTerminal(self._desks.agents.resolve(agent).id, self._desks.terminals)

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        """See viewer.Backend."""
        self._must_be_us(node)
        return self._desks.banks.open(self._desks.agents.node, bank, wake)

    def _must_be_us(self, node: str) -> None:
        """What is meant for another machine is not done here in its stead."""
        if node not in {self._desks.agents.node, self._desks.agents.node_name}:
            raise NodeUnreachable(
                f"{node} is not this machine, which answers here for itself alone",
                hint="ask the hypivisor; `hyperpi doctor` says whether it can be reached",
            )

    def _release(self, feed: LocalFeed) -> None:
        feeds = self._feeds.get(AgentId(feed.agent), set())
        feeds.discard(feed)
        if not feeds:
            self._feeds.pop(AgentId(feed.agent), None)
        self._count_watchers(AgentId(feed.agent))

    def _count_watchers(self, agent: AgentId) -> None:
        agents = self._desks.agents
        if agent in agents.roster:  # else it was forgotten while somebody looked
            agents.watched(agent, len(self._feeds.get(agent, ())))

    # --- observer of agents ----------------------------------------------------------------------------

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        shape = self._desks.agents.shape(agent)
        self.view.put({}, {agent: strict_json.encode(shape)})

    def watchers_changed(self, agent: AgentId, *, here: bool) -> None:
        """See node.agents.Observer."""
        self.agent_changed(agent)

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self.view.put(gone=[agent])

    def stream_reset(self, agent: AgentId, reset: Reset) -> None:
        """See node.agents.Observer."""
        for feed in self._feeds.pop(agent, set()):
            feed.ended = reset
            feed.ring.wake()

    def node_changed(self) -> None:
        """This node's own line in the roster is out of date."""
        shape = self._node_shape()
        self.view.put({shape.id: strict_json.encode(shape)})

    # --- agents ----------------------------------------------------------------------------------------

    def _agent(self, params: Json) -> AgentId:
        return self._desks.agents.resolve(contract.params_of(contract.AgentParams, params).agent).id

    async def _agent_show(self, params: Json, _caller: Caller) -> Json:
        agent = self._agent(params)
        record = self._desks.agents.roster.get(agent)
        shape: Json = msgspec.to_builtins(self._desks.agents.shape(agent))
        shape["approvals"] = self._desks.approvals.shown_policy(record)
        shape["queue"] = self._desks.agents.queue_in_full(agent)
        shape["last_output"] = record.last_output
        card = contract.Card(
            model=record.model,
            tools=record.tools,
            skills=record.skills,
            thinking=record.thinking,
            models=record.models,
            thinking_levels=record.thinking_levels,
            mode=record.mode,
            modes=record.modes,
        )
        return {**shape, "card": card}

    async def _agent_snapshot(self, params: Json, _caller: Caller) -> Json:
        cursor, snapshot = await self._desks.snapshots.snapshot(self._agent(params))
        return {"epoch": cursor.epoch, "seq": cursor.seq, "snapshot": msgspec.Raw(snapshot)}

    async def _agent_history(self, params: Json, _caller: Caller) -> Any:
        wanted = contract.params_of(contract.History, params)
        limit = max(1, min(wanted.limit, 500))
        return msgspec.Raw(await self._desks.snapshots.history(self._agent(params), wanted.before, limit))

    async def _agent_prompt(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.Prompt, params)
        agent = self._agent(params)
        record = self._desks.agents.roster.get(agent)
        if record.live and not kind_named(record.kind).registers:
            raise Conflict(
                f"{record.name} is a program in a terminal and takes no prompts",
                hint=f"`hyperpi attach {record.name} --tty` types into it",
            )
        return await self._desks.prompts.take(agent, wanted, caller)

    async def _agent_abort(self, params: Json, _caller: Caller) -> Json:
        await self._desks.agents.connection(self._agent(params)).call("abort", {}, ASK_S)
        return {}

    async def _agent_stop(self, params: Json, caller: Caller) -> Json:
        """A spawned agent through its keeper, another by asking it, and by SIGTERM if it does not hear."""
        agent = self._agent(params)
        agents = self._desks.agents
        record = agents.roster.get(agent)
        if not record.live:
            return {"ended": record.detail or "exited"}
        agents.stopping(agent, caller.name)
        if (kept := self._desks.keepers.kept(agent)) is not None:
            # A pi in a terminal says goodbye when it is asked, and not when its window is closed.
            asks = kept.terminal_folder is not None and agents.is_connected(agent)
            await self._desks.keepers.stop(agent, STOP_GRACE_S, hang_up=not asks)
            if asks and not await self._asked_to_stop(agent):
                await self._desks.keepers.stop(agent, STOP_GRACE_S)
            return {}
        if await self._asked_to_stop(agent) and (
            record.pid is None or await wait_for_end(record.pid, record.pid_start, STOP_GRACE_S)
        ):
            return {}
        if record.pid is not None and is_alive(record.pid, record.pid_start):
            os.kill(record.pid, signal.SIGTERM)
        return {}

    async def _asked_to_stop(self, agent: AgentId) -> bool:
        """Whether the agent itself has taken the order."""
        try:
            await self._desks.agents.connection(agent).call("stop", {}, ASK_S)
        except (UnknownMethod, NodeUnreachable):
            return False
        return True

    async def _agent_input(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Input, params)
        agent = self._terminal_of(params)
        try:
            typed = base64.b64decode(wanted.data, validate=True)
        except ValueError:
            raise BadRequest("data must be base64") from None
        await self._desks.keepers.send_input(agent, typed)
        return {}

    async def _agent_resize(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Resize, params)
        agent, size = self._terminal_of(params), TerminalSize(wanted.cols, wanted.rows)
        await self._desks.keepers.resize(agent, size)
        self._desks.terminals.resized(agent, size)
        return {}

    def _terminal_of(self, params: Json) -> AgentId:
        """An agent that has a terminal. Raises Conflict, NotFound."""
        agent = self._agent(params)
        record = self._desks.agents.roster.get(agent)
        if record.terminal is None:
            raise Conflict(f"{record.name} has no terminal here", hint="prompt it instead")
        if not record.live:
            raise Conflict(f"{record.name} has ended", hint="what its terminal showed can still be read")
        return agent

    async def _agent_scrollback(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Scrollback, params)
        terminals = self._desks.terminals
        return await terminals.scrollback(self._agent(params), wanted.offset, wanted.before, wanted.limit)

    async def _agent_recording(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Recording, params)
        return await self._desks.terminals.recording(self._agent(params), wanted.offset)

    async def _agent_forget(self, params: Json, _caller: Caller) -> Json:
        self._desks.agents.forget(self._agent(params))
        return {}

    async def _agent_rename(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Rename, params)
        if not clean_name(wanted.name, fallback=""):
            raise BadRequest(f"{wanted.name!r} holds nothing that a name is made of", hint=NAMES)
        agent = self._agent(params)
        self._desks.approvals.check_rename(self._desks.agents.roster.get(agent), wanted.name)
        self._desks.agents.rename(agent, wanted.name)
        self._desks.approvals.tell_policies()
        return {}

    async def _agent_complete(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Complete, params)
        agent = self._agent(params)
        before = wanted.text if wanted.cursor is None else wanted.text[: wanted.cursor]
        asked = completion.asked_for(before)
        if asked is None:
            return {"word": "", "items": [], "more": False}
        if asked.kind == "command":
            items = completion.commands(asked.query, await self._commands(agent))
        else:
            cwd = self._desks.agents.roster.get(agent).cwd
            items = await asyncio.to_thread(completion.files, cwd, asked.query)
        shown = items[: completion.MAX_ITEMS]
        return {"word": asked.word, "items": shown, "more": len(items) > len(shown)}

    async def _commands(self, agent: AgentId) -> list[Json]:
        """What the agent runs when it is told its name; of one without commands none."""
        try:
            answer = await self._desks.agents.connection(agent).call("commands", {}, ASK_S)
        except (UnknownMethod, NodeUnreachable):
            return []
        found = answer.get("commands") if isinstance(answer, dict) else None
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    async def _agent_unqueue(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.Unqueue, params)
        return await self._desks.prompts.cancel(self._agent(params), wanted.id)

    async def _agent_configure(self, params: Json, _caller: Caller) -> Json:
        """What holds then, as the agent says."""
        wanted = contract.params_of(contract.Configure, params)
        asked = {"model": wanted.model, "thinking": wanted.thinking, "mode": wanted.mode}
        asked = {key: value for key, value in asked.items() if value is not None}
        if not asked:
            raise BadRequest("name a model, a thinking level or a mode", hint="agent.show lists them")
        agent = self._agent(params)
        record = self._desks.agents.roster.get(agent)
        if wanted.mode is not None and not record.modes:
            raise BadRequest(f"{record.name} has no modes")
        try:
            answer = await self._desks.agents.connection(agent).call("configure", asked, ASK_S)
        except UnknownMethod:
            why = f"{record.name} cannot be told what to use"
            raise Conflict(why, hint="do it in the agent") from None
        if not isinstance(answer, dict):
            raise Conflict("the agent did not say what it uses now", hint="look with `hyperpi show`")
        return {key: answer.get(key) for key in ("model", "thinking", "mode")}

    async def _agent_resume(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.Resume, params)
        old = self._desks.agents.roster.get(self._agent(params))
        agent = await self._desks.spawning.resume(old)
        if wanted.prompt:
            # Asked twice, since the answer was lost, it is one agent and one prompt.
            prompt_id = f"resume-{old.id}-{zlib.crc32(wanted.prompt.encode()):08x}"
            first = contract.Prompt(agent=agent, text=wanted.prompt, id=prompt_id)
            await self._desks.prompts.take(agent, first, caller)
        return {"agent": agent, "address": self._desks.agents.shape(agent).address}

    # --- approvals -------------------------------------------------------------------------------------

    async def _agent_answer(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.Answer, params)
        return {"approval": await self._desks.approvals.answer(self._agent(params), wanted, caller)}

    async def _agent_policy(self, params: Json, _caller: Caller) -> Json:
        """Durable on return: an agent that had to ask must not stop to, since the node was restarted."""
        wanted = contract.params_of(contract.AgentPolicy, params)
        agent = self._agent(params)
        record = self._desks.agents.roster.get(agent)
        self._desks.approvals.set_mode(record, wanted.mode)
        await self._desks.saved(agent)
        return self._desks.approvals.shown_policy(record)

    async def _approval_list(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.ApprovalList, params)
        return {"approvals": self._desks.approvals.list(wanted), "complete": True}

    # --- folders and spawning --------------------------------------------------------------------------

    async def _node_folders(self, params: Json, _caller: Caller) -> Json:
        return await self._desks.spawning.folders(contract.params_of(contract.Folders, params))

    async def _node_kinds(self, _params: Json, _caller: Caller) -> Json:
        return {"kinds": self._desks.spawning.kinds()}

    async def _node_spawn(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.Spawn, params)
        agent = await self._desks.spawning.spawn(wanted)
        if wanted.prompt:
            first = contract.Prompt(agent=agent, text=wanted.prompt, id=f"first-{wanted.request_id}")
            await self._desks.prompts.take(agent, first, caller)
        return {"agent": agent, "address": self._desks.agents.shape(agent).address}

    # --- scrolls ---------------------------------------------------------------------------------------

    async def _scroll_send(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.Scroll, params)
        return await self._desks.scrolls.send_from_caller(caller, wanted)

    async def _scroll_list(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.ScrollList, roles.narrowed(caller, "scroll.list", params))
        return {"scrolls": self._desks.scrolls.list(wanted), "complete": True}

    async def _scroll_get(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.ScrollGet, params).scroll_id
        scroll = self._desks.scrolls.get(wanted)
        if not roles.may_read(caller, scroll):
            raise NotFound(f"no scroll {wanted}", hint="`hyperpi scrolls` lists them")
        return scroll
