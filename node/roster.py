"""The agents of this machine: who is there, under which name, and what state a fact brings them to.

Pure: facts in (a registration, a dropped socket, a dead process), the new state out; the clock is passed in.
docs/states.md holds the table that this module follows.
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from hyperpi import contract
from hyperpi.address import AgentId, clean_name, parse_address, unique_name
from hyperpi.clock import rfc3339
from hyperpi.errors import AmbiguousName, Conflict, NotFound
from node.agent_record import AgentRecord, agent_id
from node.endings import End

GRACE_S = 5.0  # a reload reconnects within it; longer silence is worth telling
KEEP_EXITED_S = 30 * 86_400.0
KEEP_EXITED = 200
MAX_MODELS, MAX_MODES = 200, 100  # that are told of one agent


class Roster:
    """Agents by id, by instance and by name. No method awaits, so each is atomic on the event loop."""

    def __init__(self, records: Iterable[AgentRecord] = ()) -> None:
        self._records: dict[AgentId, AgentRecord] = {record.id: record for record in records}
        self._by_instance = {record.instance: record.id for record in self._records.values()}
        self._displaced: list[AgentId] = []

    def __iter__(self) -> Iterator[AgentRecord]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, agent: object) -> bool:
        return agent in self._records

    def get(self, agent: AgentId) -> AgentRecord:
        """One agent by id. Raises NotFound."""
        try:
            return self._records[agent]
        except KeyError:
            raise NotFound(f"no agent {agent} here", hint="`hyperpi ls` lists them") from None

    def by_instance(self, instance: str) -> AgentRecord | None:
        """The agent that an instance was given, or None."""
        agent = self._by_instance.get(instance)
        return self._records[agent] if agent else None

    def by_request(self, request_id: str) -> AgentRecord | None:
        """The agent that a spawn request has started, or None."""
        return next((r for r in self if r.request_id == request_id), None)

    def at_work_on(self, session: contract.Session) -> AgentRecord | None:
        """The live agent whose conversation is this one: two that write to it would spoil it."""
        return next((r for r in self if r.live and r.session is not None and _same(r.session, session)), None)

    def stems_from(self, record: AgentRecord, ancestor: AgentId) -> bool:
        """Whether an agent goes on, perhaps over others in between, with what that one had been at."""
        seen = set()
        while record.resumed_from in self._records and record.id not in seen:
            seen.add(record.id)
            if record.resumed_from == ancestor:
                return True
            record = self._records[record.resumed_from]
        return False

    def lineage(self, agent: AgentId) -> list[AgentId]:
        """An agent and those whose conversation it goes on with, newest first."""
        found: list[AgentId] = []
        next_: AgentId | None = agent
        while next_ in self._records and next_ not in found:
            found.append(next_)
            next_ = self._records[next_].resumed_from
        return found

    def resolve(self, text: str, node_names: frozenset[str]) -> AgentRecord:
        """An agent by id, name or name@node; a live one wins over ended ones of the same name.

        Raises NotFound, AmbiguousName.
        """
        if text in self._records:
            return self._records[AgentId(text)]
        address = parse_address(text)
        if address.node is not None and address.node not in node_names:
            raise NotFound(f"no node {address.node} here", hint="`hyperpi node ls` lists them")
        named = [record for record in self if record.name == address.name]
        if len(named) == 1:
            return named[0]
        if not named:
            raise NotFound(f"no agent {text}", hint="`hyperpi ls` lists them")
        live = [record for record in named if record.live]
        if len(live) == 1:
            return live[0]
        raise AmbiguousName(f"{text} fits several agents", data={"candidates": [r.id for r in named]})

    # --- facts -----------------------------------------------------------------------------------------

    def expect(
        self,
        *,
        instance: str,
        kind: str,
        name: str,
        cwd: str,
        project: str | None,
        request_id: str | None,
        now: float,
        args: tuple[str, ...] = (),
        headless: bool = False,
        resumes: AgentRecord | None = None,
    ) -> AgentRecord:
        """An agent is being spawned: it is listed as `starting` before it has said a word.

        One that goes on with an ended one's conversation inherits its session, and what it has to ask.
        """
        wished = name
        if resumes is not None and resumes.name == name:
            wished = resumes.wished or name
        record = AgentRecord(
            id=agent_id(instance),
            instance=instance,
            name=self._free_name(name),
            wished=wished,
            kind=kind,
            cwd=cwd,
            project=project,
            since=now,
            spawned=True,
            request_id=request_id,
            args=args,
            headless=headless,
        )
        if resumes is not None:
            record.resumed_from, resumes.resumed_as = resumes.id, record.id
            record.session, record.ask_mode, record.model = resumes.session, resumes.ask_mode, resumes.model
        self._add(record)
        return record

    def register(
        self, hello: contract.Register, *, pid: int, pid_start: str | None, project: str | None, now: float
    ) -> AgentRecord:
        """An instance has connected: a new agent, or the one that it already was."""
        record = self.by_instance(hello.instance)
        if record is None:
            fallback = project or PurePath(hello.cwd).name or hello.kind
            wished = clean_name(hello.name or fallback, hello.kind)
            record = AgentRecord(
                id=agent_id(hello.instance),
                instance=hello.instance,
                name=self._free_name(wished),
                wished=wished,
                kind=hello.kind,
                cwd=hello.cwd,
                project=project,
                since=now,
            )
            self._add(record)
        record.pid, record.pid_start = pid, pid_start
        record.cwd, record.project = hello.cwd, project
        record.said_bye = record.ending = None
        record.interrupted = False
        record.process_seen = record.stream_seen = now
        self._take_card(record, hello.card)
        if hello.session is not None:
            record.session = hello.session
        if record.own_state == "starting":
            record.own_state = "idle"
        if record.state in {"starting", "exited"}:
            self._enter(record, "idle", None, now)
        elif record.state == "unreachable":
            self._enter(record, record.state_before, record.asking, now)
        return record

    def changed(self, agent: AgentId, change: contract.AgentChanged, now: float) -> bool:
        """The agent says what is new about it. Returns whether its state changed."""
        record = self.get(agent)
        if change.card is not None:
            self._take_card(record, change.card)
        if change.session is not None:
            record.session = change.session
        if change.usage is not None:
            record.usage = change.usage
        record.stream_seen = now
        if change.state is None or not record.live:
            return False
        if change.state == "working" or record.state == "working":
            record.turn_seen = now
        if record.asking is not None:
            record.own_state, record.own_detail = change.state, change.detail
            return False
        return self._enter(record, change.state, change.detail, now)

    def asks(self, agent: AgentId, what: str | None, now: float) -> bool:
        """A person is asked something on its behalf; None: no more. Returns whether its state changed."""
        record = self.get(agent)
        away = record.state == "unreachable"
        if record.asking is None:
            record.own_state = record.state_before if away else record.state
            record.own_detail = None if away else record.detail
            if record.own_state == "stuck":  # whoever answers has looked at it
                record.own_state, record.own_detail = "working", None
        was, record.asking = record.asking, what
        if not record.live or (was is None and what is None):
            return False
        state, detail = ("waiting", what) if what is not None else (record.own_state, record.own_detail)
        if away:
            record.state_before = state
            return False
        return self._enter(record, state, detail, now)

    def stuck(self, agent: AgentId, on: str | None, now: float) -> bool:
        """Its turn gets nowhere, for this reason; None: it gets on. Returns whether its state changed."""
        record = self.get(agent)
        if record.asking is not None:  # it waits for somebody
            return False
        if on is not None and record.state in {"working", "stuck"}:
            return self._enter(record, "stuck", on, now)
        if on is None and record.state == "stuck":
            return self._enter(record, "working", None, now)
        return False

    def heard(self, agent: AgentId, now: float, *, event: bool = False) -> AgentRecord:
        """A byte from the agent proves its process and its stream; an event also that something happened."""
        record = self.get(agent)
        record.process_seen = record.stream_seen = now
        if event:
            record.last_event = now
            if record.own in {"working", "stuck"}:
                record.turn_seen = now
        if record.state == "unreachable":
            self._enter(record, record.state_before, record.asking, now)
        return record

    def held(self, agent: AgentId, now: float, *, registers: bool) -> bool:
        """Its keeper is there, and so is its process. Returns whether its state changed."""
        record = self.get(agent)
        record.process_seen = now
        if registers or record.state not in {"starting", "unreachable"}:
            return False
        return self._enter(record, "idle", None, now)

    def shown(self, agent: AgentId, now: float, *, registers: bool) -> bool:
        """Its terminal has shown something. Returns whether its state changed."""
        record = self.get(agent)
        record.process_seen = record.stream_seen = now
        if registers or not record.live:
            return False
        record.last_event = now
        return self._enter(record, "working", None, now)

    def quiet(self, agent: AgentId, now: float) -> bool:
        """Its terminal has shown nothing for a while. Returns whether its state changed."""
        record = self.get(agent)
        return record.state == "working" and self._enter(record, "idle", None, now)

    def bye(self, agent: AgentId, reason: str) -> None:
        """A polite end is announced; the process may still be running for a moment."""
        self.get(agent).said_bye = reason

    def unreachable(self, agent: AgentId, detail: str, now: float) -> bool:
        """The process is there, but does not talk to us."""
        record = self.get(agent)
        if not record.live or record.state == "unreachable":
            return False
        record.state_before = record.state
        return self._enter(record, "unreachable", detail, now)

    def exited(self, agent: AgentId, end: End | None, now: float) -> bool:
        """The process has ended. Why may be known only later: it is added once and then stays.

        Only a goodbye gives way to what was done to it: some say one when they are told to end, or lose their
        keeper.
        """
        record = self.get(agent)
        if record.state == "exited":
            if end is None:
                return False
            forced = end.why in {"killed", "closed"} and record.stopped_by is None
            if record.ending is not None and not (record.ending.why == "quit" and forced):
                return False
        if record.live:
            record.interrupted = record.in_a_turn
        if end is None:
            return self._enter(record, "exited", None, now)
        record.ending = contract.Ending(
            why=end.why,
            at=rfc3339(now),
            interrupted=record.interrupted,
            by=end.by,
            code=end.code,
            signal=end.signal,
        )
        record.last_output = end.output
        turn = "; it was in the middle of a turn" if record.interrupted else ""
        return self._enter(record, "exited", end.detail + turn, now)

    def rename(self, agent: AgentId, name: str) -> AgentRecord:
        """Give it another name. Raises Conflict when it is taken, NotFound."""
        record = self.get(agent)
        wanted = clean_name(name)
        if wanted != record.name and wanted in self._names():
            raise Conflict(f"{wanted} is taken", hint="choose another name")
        record.name = record.wished = wanted
        return record

    def forget(self, agent: AgentId) -> AgentRecord:
        """Drop an ended agent. Raises Conflict while it may still run, NotFound."""
        record = self.get(agent)
        if record.live:
            raise Conflict(f"{record.name} is {record.state}", hint="stop it first: `hyperpi stop`")
        return self._remove(record)

    def give_up(self, agent: AgentId) -> AgentRecord:
        """Drop an agent whose start failed: nobody was told that it exists."""
        record = self.get(agent)
        if record.resumed_from in self._records:
            self._records[record.resumed_from].resumed_as = None
        return self._remove(record)

    def outdated(self, now: float) -> list[AgentRecord]:
        """Ended agents that are too old, or too many; the caller forgets them."""
        ended = sorted((r for r in self if not r.live), key=lambda r: r.since)
        too_many = max(0, len(ended) - KEEP_EXITED)
        return [r for i, r in enumerate(ended) if i < too_many or now - r.since > KEEP_EXITED_S]

    # --- inside ----------------------------------------------------------------------------------------

    def _add(self, record: AgentRecord) -> None:
        self._records[record.id] = record
        self._by_instance[record.instance] = record.id

    def _remove(self, record: AgentRecord) -> AgentRecord:
        del self._records[record.id]
        self._by_instance.pop(record.instance, None)
        return record

    def _names(self) -> set[str]:
        return {record.name for record in self}

    def _free_name(self, wished: str) -> str:
        """A name that no live agent has. An ended one gives its name up: who is meant by it now is here."""
        name = unique_name(wished, {record.name for record in self if record.live})
        for record in self:
            if record.name == name:
                # Our own `api-2` becomes `api-3`, and neither `api-2-2` nor another's `api`; a number that
                # was wished for is part of the name.
                base = record.wished or name
                record.name = unique_name(base, self._names() | {base})
                self._displaced.append(record.id)
        return name

    def displaced(self) -> list[AgentId]:
        """Ended agents that have given up their names since this was last asked."""
        displaced, self._displaced = self._displaced, []
        return displaced

    @staticmethod
    def _take_card(record: AgentRecord, card: contract.Card) -> None:
        record.model, record.tools, record.skills = card.model, card.tools, card.skills
        record.thinking, record.thinking_levels = card.thinking, card.thinking_levels
        record.models = card.models[:MAX_MODELS]
        record.mode, record.modes = card.mode, card.modes[:MAX_MODES]

    @staticmethod
    def _enter(record: AgentRecord, state: str, detail: str | None, now: float) -> bool:
        if record.state == state and record.detail == detail:
            return False
        if record.state != state:
            if not (record.unheard and state == record.state_before):
                record.since = now
            record.unheard = False
        record.state, record.detail = state, detail
        return True


def _same(one: contract.Session, other: contract.Session) -> bool:
    if one.file is not None or other.file is not None:
        return one.file == other.file
    return one.id is not None and one.id == other.id
