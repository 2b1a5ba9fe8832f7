"""The agents of this machine, alive: the roster, each agent's log, its connection and its process.

The one owner of all three. Edges (the agent socket, the local endpoint, the Link) call its methods and follow
it as observers; what a fact means is decided in `roster`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.clock import rfc3339
from hyperpi.errors import NodeUnreachable
from hyperpi.event import Reset
from hyperpi.process_tree import Relative
from node import tty
from node.agent_record import AgentRecord, agent_shape
from node.endings import End, by_goodbye, by_order, found_dead, without_a_word
from node.eventlog import EventLog
from node.heartbeats import HEARTBEAT_S, Heartbeats
from node.keeping.processes import BOOT_TAG
from node.process import ExitWatch, is_alive, process_start
from node.roster import GRACE_S, Roster
from node.waiting_texts import lost_prompt

log = logging.getLogger(__name__)

QUIET_S = 3.0  # a program in a terminal that has shown nothing for so long waits for somebody


class AgentConnection(Protocol):
    """The agent's end of the agent socket."""

    async def call_raw(
        self, method: str, params: dict[str, Any], timeout_s: float, at_answer: Any = ...
    ) -> tuple[msgspec.Raw, Any]:
        """See hyperpi.rpc.Connection.call_raw."""

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> Any:
        """See hyperpi.rpc.Connection.call."""

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """See hyperpi.rpc.Connection.notify."""


class Observer:
    """Who follows the agents: local viewers, the Link, scrolls, prompts, the store. Override what matters."""

    def agent_changed(self, agent: AgentId) -> None:
        """Its record is new or different."""

    def watchers_changed(self, agent: AgentId, *, here: bool) -> None:
        """More or fewer follow it, on this machine (`here`) or over the mesh."""

    def agent_gone(self, agent: AgentId) -> None:
        """It was forgotten."""

    def stream_reset(self, agent: AgentId, reset: Reset) -> None:
        """Its epoch is over."""

    def agent_connected(self, agent: AgentId) -> None:
        """It can be asked things now."""

    def events_came(self, agent: AgentId, raws: Sequence[bytes]) -> None:
        """Events that are new to its log, as the agent encoded them."""

    def prompt_entered(self, agent: AgentId, prompt_id: str) -> None:
        """A prompt has become part of the conversation."""


class Agents:
    """Facts from sockets and processes go in; observers are told what changed."""

    def __init__(self, roster: Roster, *, node: str, node_name: str) -> None:
        self.roster = roster
        self.node, self.node_name = node, node_name
        self.watchers: dict[AgentId, int] = {}  # on this machine
        self._watchers_afar: dict[AgentId, int] = {}
        self.loads: dict[AgentId, contract.Load] = {}
        self.observers: list[Observer] = []
        self.pending: Callable[[AgentId], list[contract.Approval]] = lambda _: []  # what it waits for
        self.decisions: Callable[[AgentId], list[contract.Decision]] = lambda _: []  # on its newest calls
        self.stored: Callable[[AgentId], list[contract.QueuedPrompt]] = lambda _: []  # kept here for it
        self.whole: Callable[[AgentId, str], str | None] = lambda *_: None  # the text of a prompt, if known
        self.settled: Callable[[AgentId, str], bool] = lambda *_: False  # a prompt was taken, or taken back
        self._queues: dict[AgentId, list[contract.QueuedPrompt]] = {}  # what waits in the agent
        self._lost: dict[AgentId, list[contract.QueuedPrompt]] = {}  # what waited for one that has ended
        self._logs: dict[AgentId, EventLog] = {}
        self._connections: dict[AgentId, AgentConnection] = {}
        self._exits: dict[AgentId, ExitWatch] = {}
        self._graces: dict[AgentId, asyncio.TimerHandle] = {}
        self._quiet: dict[AgentId, asyncio.TimerHandle] = {}  # until a terminal counts as idle
        self._beats = Heartbeats(self._is_silent, self._answered)

    # --- reading ---------------------------------------------------------------------------------------

    def resolve(self, text: str) -> AgentRecord:
        """An agent by id, name or name@node. Raises NotFound, AmbiguousName."""
        return self.roster.resolve(text, frozenset({self.node_name, self.node}))

    def shape(self, agent: AgentId) -> contract.Agent:
        """The Agent of the contract."""
        record = self.roster.get(agent)
        return agent_shape(
            record,
            node=self.node,
            node_name=self.node_name,
            watchers=self.watchers.get(agent, 0) + self._watchers_afar.get(agent, 0),
            pending=len(self.pending(agent)),
            load=self.loads.get(agent),
        )

    def by_process(self) -> dict[Relative, str]:
        """The address of every living agent, by its process."""
        return {
            Relative(record.pid, record.pid_start): f"{record.name}@{self.node_name}"
            for record in self.roster
            if record.live and record.pid is not None and record.pid_start is not None
        }

    def log_of(self, agent: AgentId) -> EventLog:
        """The agent's event log, begun when it is first needed."""
        return self._logs.setdefault(agent, EventLog())

    def connection(self, agent: AgentId) -> AgentConnection:
        """A way to ask the agent. Raises NodeUnreachable when it is not connected."""
        connection = self._connections.get(agent)
        if connection is None:
            record = self.roster.get(agent)
            raise NodeUnreachable(
                f"{record.name} is {record.state}" + (f": {record.detail}" if record.detail else "")
            )
        return connection

    def is_connected(self, agent: AgentId) -> bool:
        """Whether the agent can be asked now."""
        return agent in self._connections

    def watched(self, agent: AgentId, count: int) -> None:
        """How many viewers on this machine follow an agent."""
        if self.watchers.get(agent, 0) != count:
            self.watchers[agent] = count
            for observer in self.observers:
                observer.watchers_changed(agent, here=True)

    def watched_afar(self, agent: AgentId, count: int) -> None:
        """How many follow it over the mesh, as the hypivisor counts them."""
        if agent in self.roster and self._watchers_afar.get(agent, 0) != count:
            self._watchers_afar[agent] = count
            for observer in self.observers:
                observer.watchers_changed(agent, here=False)

    def set_name(self, node: str, node_name: str) -> None:
        """The mesh has given this node another id or name: every agent's address changes."""
        if (self.node, self.node_name) != (node, node_name):
            self.node, self.node_name = node, node_name
            for record in self.roster:
                self._changed(record.id)

    # --- facts from the agent socket -------------------------------------------------------------------

    def register(
        self, hello: contract.Register, connection: AgentConnection, *, pid: int, project: str | None
    ) -> AgentRecord:
        """An instance has dialled. An older connection of the same instance is superseded."""
        now = time.time()
        known = self.roster.by_instance(hello.instance)
        before = known.session.id if known and known.session else None
        record = self.roster.register(hello, pid=pid, pid_start=process_start(pid), project=project, now=now)
        if self._lost.pop(record.id, None):
            self.tell_queue(record.id)
        record.tty = None if record.spawned else tty.terminal_of(pid)
        self._connections[record.id] = connection
        self._cancel_grace(record.id)
        self._beats.heard(record.id)
        self._watch_exit(record)
        if before is not None and hello.session is not None and hello.session.id != before:
            self._reset(record.id, "new")
        self._say_state(record)
        log.info("agent registered agent=%s kind=%s pid=%d", record.id, record.kind, pid)
        self._tell_displaced()
        self._changed(record.id)
        for observer in self.observers:
            observer.agent_connected(record.id)
        return record

    def events(self, agent: AgentId, run: contract.AgentEvents) -> int:
        """Take a run of events; returns the number up to which the agent may forget them."""
        eventlog = self.log_of(agent)
        now = time.time()
        raws = [bytes(raw) for raw in run.events]
        new, reset = eventlog.ingest(run.first, raws, rfc3339(now))
        if reset is not None:
            self._tell_reset(agent, reset)
        fresh = raws[len(raws) - new :] if new else []
        self._notice_prompts(agent, fresh)
        record = self.roster.get(agent)
        stale = record.last_event is None or now - record.last_event > 1.0
        state = record.state
        self.roster.heard(agent, now, event=new > 0)
        # The time of the last event is shown, but it is not worth a roster change per token.
        if stale or record.state != state:
            self._changed(agent)
        if fresh:
            for observer in self.observers:
                observer.events_came(agent, fresh)
        return eventlog.acked

    def _notice_prompts(self, agent: AgentId, raws: Sequence[bytes]) -> None:
        for raw in raws:
            if b'"user_message"' in raw and b'"prompt_id"' in raw:
                event = msgspec.json.decode(raw)
                if event.get("type") == "user_message" and isinstance(event.get("prompt_id"), str):
                    for observer in self.observers:
                        observer.prompt_entered(agent, event["prompt_id"])

    def changed(self, agent: AgentId, change: contract.AgentChanged) -> None:
        """The agent says what is new about it."""
        new_state = self.roster.changed(agent, change, time.time())
        if change.reset is not None:
            self._reset(agent, change.reset)
        if new_state:
            self._say_state(self.roster.get(agent))
        if change.queue is not None and change.queue != self._queues.get(agent, []):
            self._queues[agent] = change.queue
            self.tell_queue(agent)
        self._changed(agent)

    def queue(self, agent: AgentId) -> list[contract.QueuedPrompt]:
        """Prompts that wait, here and in the agent, in the order in which they will be taken; of one that has
        ended those that it had not taken. Their texts are beginnings: many are told of each change.
        """
        if agent in self._lost:
            return [lost_prompt(one, self.whole(agent, one.id)) for one in self._lost[agent]]
        return self._queues.get(agent, []) + self.stored(agent)

    def queue_in_full(self, agent: AgentId) -> list[contract.QueuedPrompt]:
        """The queue, with the whole texts of what an ended agent had not taken, as far as they are kept."""
        if agent in self._lost:
            return [lost_prompt(one, self.whole(agent, one.id), in_full=True) for one in self._lost[agent]]
        return self.queue(agent)

    def tell_queue(self, agent: AgentId) -> None:
        """Something waits that did not, or no more."""
        self.say(agent, {"type": "queue", "prompts": self.queue(agent)})

    def heard(self, agent: AgentId) -> None:
        """A line came from the agent."""
        record = self.roster.get(agent)
        self._beats.heard(agent)
        was = record.state
        self.roster.heard(agent, time.time())
        if record.state != was:
            self._say_state(record)
            self._changed(agent)

    def bye(self, agent: AgentId, reason: str) -> None:
        """The agent announces its end."""
        self.roster.bye(agent, reason)

    def dropped(self, agent: AgentId, connection: AgentConnection) -> None:
        """The agent's socket has ended: dead is said at once, silence after a grace."""
        if self._connections.get(agent) is not connection:
            return  # superseded: the instance has dialled again
        del self._connections[agent]
        record = self.roster.get(agent)
        if record.pid is None or not is_alive(record.pid, record.pid_start):
            self._ended(agent)
            return
        self._cancel_grace(agent)
        loop = asyncio.get_running_loop()
        self._graces[agent] = loop.call_later(GRACE_S, self._grace_over, agent)

    # --- facts from processes and keepers --------------------------------------------------------------

    def recover(self) -> None:
        """After a start of the node: find out which of the agents that were here still run."""
        for record in self.roster:
            if not record.live or record.pid is None:
                continue
            if is_alive(record.pid, record.pid_start):
                self._watch_exit(record)
                continue
            end = found_dead(record.pid_start, BOOT_TAG)
            # What was held has a keeper who knows more, unless that one went down with the machine.
            if end.why == "reboot" or not record.spawned:
                self.exited(record.id, end)

    def expect(self, record: AgentRecord) -> None:
        """A spawned agent was put in the roster."""
        self._tell_displaced()
        self._say_state(record)
        self._changed(record.id)

    def held(self, agent: AgentId, pid: int, pid_start: str | None, *, registers: bool) -> None:
        """A keeper says which process it holds for an agent. One that does not register by itself is there
        as soon as its keeper is.
        """
        record = self.roster.get(agent)
        if record.pid is None:
            record.pid, record.pid_start = pid, pid_start
        if agent not in self._exits and record.live:
            self._watch_exit(record)
        if self.roster.held(agent, time.time(), registers=registers):
            self._say_state(record)
        self._changed(agent)

    def has_terminal(self, agent: AgentId, size: contract.TerminalSize) -> None:
        """It runs in a terminal of this size."""
        record = self.roster.get(agent)
        if record.terminal != size:
            record.terminal = size
            self._changed(agent)

    def shown(self, agent: AgentId, *, registers: bool) -> None:
        """Its terminal has shown something: of one that does not register, all that is to be known."""
        if agent not in self.roster:
            return
        record, now = self.roster.get(agent), time.time()
        stale = record.last_event is None or now - record.last_event > 1.0
        entered = self.roster.shown(agent, now, registers=registers)
        if entered:
            self._say_state(record)
        if stale or entered:
            self._changed(agent)
        if not registers:
            if (timer := self._quiet.pop(agent, None)) is not None:
                timer.cancel()
            self._quiet[agent] = asyncio.get_running_loop().call_later(QUIET_S, self._is_quiet, agent)

    def _is_quiet(self, agent: AgentId) -> None:
        self._quiet.pop(agent, None)
        if agent in self.roster and self.roster.quiet(agent, time.time()):
            self._say_state(self.roster.get(agent))
            self._changed(agent)

    def exited(self, agent: AgentId, end: End | None) -> None:
        """The process has ended, as its keeper or the kernel says; None: how is not known yet."""
        record = self.roster.get(agent)
        if record.stopped_by is not None:
            end = by_order(record.stopped_by, end)
        self.loads.pop(agent, None)
        if record.live and (queue := [one for one in self.queue(agent) if not self.settled(agent, one.id)]):
            # Said while it is known what they were: what asks for them again is a person.
            self._lost[agent] = queue
        if self.roster.exited(agent, end, time.time()):
            log.info("agent exited agent=%s detail=%s", agent, record.detail)
            self._say_state(record)
            self._changed(agent)
        if self._queues.pop(agent, None) or agent in self._lost:
            self.tell_queue(agent)
        self._cancel_grace(agent)
        if (watch := self._exits.pop(agent, None)) is not None:
            watch.close()
        self._beats.forget(agent)

    def seen_running(self, agent: AgentId) -> None:
        """Its process was found among those that run."""
        self.roster.get(agent).process_seen = time.time()

    def costs(self, agent: AgentId, load: contract.Load) -> None:
        """What it costs now, with all that it has started."""
        if self.roster.get(agent).live:
            self.loads[agent] = load
            self._changed(agent)

    def stuck(self, agent: AgentId, on: str | None) -> None:
        """Its turn gets nowhere, for this reason; None: it does."""
        if self.roster.stuck(agent, on, time.time()):
            self._say_state(self.roster.get(agent))
            self._changed(agent)

    def stopping(self, agent: AgentId, by: str) -> None:
        """Somebody asked for its end: that is why it will have ended."""
        self.roster.get(agent).stopped_by = by

    def asks(self, agent: AgentId, what: str | None) -> None:
        """A person is asked something on its behalf; None: no more."""
        if self.roster.asks(agent, what, time.time()):
            self._say_state(self.roster.get(agent))
        self._changed(agent)

    def rename(self, agent: AgentId, name: str) -> None:
        """Give it another name. Raises Conflict, NotFound."""
        self.roster.rename(agent, name)
        self._changed(agent)

    def placed(self, agent: AgentId, cwd: str, project: str | None) -> None:
        """Where a spawned agent really is, once its folder was opened."""
        record = self.roster.get(agent)
        record.cwd, record.project = cwd, project
        self._changed(agent)

    def told_anew(self, agent: AgentId) -> None:
        """What else its shape says may have changed."""
        if agent in self.roster:
            self._changed(agent)

    def forget(self, agent: AgentId) -> None:
        """Drop an ended agent and its log. Raises Conflict, NotFound."""
        self.roster.forget(agent)
        self._dropped_from_roster(agent)

    def give_up(self, agent: AgentId) -> None:
        """Drop an agent that could not be started."""
        self.roster.give_up(agent)
        self._dropped_from_roster(agent)

    def _dropped_from_roster(self, agent: AgentId) -> None:
        for table in (self._queues, self._lost, self._logs, self.watchers, self._watchers_afar, self.loads):
            table.pop(agent, None)
        self._beats.forget(agent)
        if (timer := self._quiet.pop(agent, None)) is not None:
            timer.cancel()
        if (watch := self._exits.pop(agent, None)) is not None:
            watch.close()
        for observer in self.observers:
            observer.agent_gone(agent)

    def _ended(self, agent: AgentId) -> None:
        record = self.roster.get(agent)
        terminal_open = tty.is_open(record.tty) if record.tty else None
        if record.said_bye is not None and terminal_open is not False:  # some say goodbye as it closes
            self.exited(agent, by_goodbye(record.said_bye))
        elif record.spawned:
            self.exited(agent, None)  # its keeper will say how
        else:
            self.exited(agent, without_a_word(terminal_open))

    def _grace_over(self, agent: AgentId) -> None:
        self._graces.pop(agent, None)
        record = self.roster.get(agent)
        if record.said_bye is not None:
            self._ended(agent)  # its process may have others to serve, or be slow to end
            return
        detail = "running, but its connection dropped and has not come back"
        if self.roster.unreachable(agent, detail, time.time()):
            self._say_state(record)
            self._changed(agent)

    def _watch_exit(self, record: AgentRecord) -> None:
        if (watch := self._exits.pop(record.id, None)) is not None:
            watch.close()
        assert record.pid is not None
        watch = ExitWatch(record.pid, record.pid_start)
        self._exits[record.id] = watch
        watch.start(lambda: self._ended(record.id))

    # --- heartbeat -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask silent agents whether they are there, and forget what ended long ago; until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await asyncio.sleep(HEARTBEAT_S)
                    for agent, connection in list(self._connections.items()):
                        self._beats.beat(agent, connection, tasks)
                    for record in self.roster.outdated(time.time()):
                        self.forget(record.id)
        finally:
            self._close()

    def answers(self, agent: AgentId) -> bool:
        """Whether it is worth asking: connected, and not known to be silent."""
        return self.is_connected(agent) and self.roster.get(agent).state != "unreachable"

    def left_open(self, agent: AgentId, heard: float | None) -> None:
        """It did not answer a question in time. `heard`: when it had last been heard of as it was asked."""
        if self.is_connected(agent) and self.roster.get(agent).stream_seen == heard:
            self._is_silent(agent)

    def _is_silent(self, agent: AgentId) -> None:
        if self.roster.unreachable(agent, "connected, but not answering", time.time()):
            self._say_state(self.roster.get(agent))
            self._changed(agent)

    def _answered(self, agent: AgentId) -> None:
        if agent in self.roster:
            self.roster.get(agent).beat_seen = time.time()

    def _close(self) -> None:
        for timer in (*self._graces.values(), *self._quiet.values()):
            timer.cancel()
        for watch in self._exits.values():
            watch.close()

    # --- telling ---------------------------------------------------------------------------------------

    def _cancel_grace(self, agent: AgentId) -> None:
        if (timer := self._graces.pop(agent, None)) is not None:
            timer.cancel()

    def say(self, agent: AgentId, event: Mapping[str, object]) -> None:
        """Put an event of the node's own into an agent's stream."""
        self.log_of(agent).say(event, rfc3339())

    def _say_state(self, record: AgentRecord) -> None:
        event: dict[str, Any] = {"type": "state", "state": record.state, "detail": record.detail}
        if record.state == "exited" and record.interrupted:
            event["interrupted"] = True  # who looks on has an open message, which nobody will end
        self.say(record.id, event)

    def _tell_displaced(self) -> None:
        for agent in self.roster.displaced():
            self._changed(agent)

    def _changed(self, agent: AgentId) -> None:
        for observer in self.observers:
            observer.agent_changed(agent)

    def _reset(self, agent: AgentId, reason: str) -> None:
        old = self.log_of(agent).ring
        reset = self.log_of(agent).begin(reason)
        self._tell_reset(agent, reset)
        old.wake()

    def _tell_reset(self, agent: AgentId, reset: Reset) -> None:
        for observer in self.observers:
            observer.stream_reset(agent, reset)
