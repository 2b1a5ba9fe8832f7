"""Starting agents here: the owner's policy, one agent per request, a name before a word was said."""

import asyncio
import logging
import shlex
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from hyperpi import contract
from hyperpi.address import AgentId, clean_name
from hyperpi.config import Home
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, Conflict
from node.agent_record import AgentRecord, past_of
from node.agents import Agents
from node.folders import list_folders, project_of
from node.keepers import KeeperBook
from node.kinds import kind_named
from node.policy import Policy
from node.spawn import SpawnOrder, TerminalSize, start_agent

log = logging.getLogger(__name__)


Start = Callable[[], Coroutine[Any, Any, AgentId]]


class Spawning:
    """Browses folders and starts agents, as far as the policy of this moment allows."""

    def __init__(
        self,
        agents: Agents,
        keepers: KeeperBook,
        policy: Callable[[], Policy],
        *,
        saved: Callable[[AgentId], Awaitable[None]],
        home: Home,
        environment: Mapping[str, str],
        user_home: Path,
    ) -> None:
        self._agents = agents
        self._keepers = keepers
        self._policy = policy
        self._saved = saved
        self._home = home
        self._environment = environment
        self._user_home = user_home
        self._starting: dict[tuple[str, str], asyncio.Task[AgentId]] = {}

    async def folders(self, wanted: contract.Folders) -> Json:
        """See node.folders of the contract."""
        working = [record.cwd for record in self._agents.roster if record.live]
        listing = await asyncio.to_thread(
            list_folders,
            self._policy().roots,
            wanted.path,
            user_home=self._user_home,
            hidden=wanted.hidden,
            agent_folders=working,
        )
        return listing.to_json()

    def kinds(self) -> list[contract.AgentKind]:
        """See node.kinds of the contract."""
        return [
            contract.AgentKind(
                name=name,
                command=not command,
                prompts=kind_named(name).registers,
                headless=kind_named(name).headless is not None,
            )
            for name, command in sorted(self._policy().kinds.items())
        ]

    async def spawn(self, wanted: contract.Spawn) -> AgentId:
        """Start an agent; the same request twice gives the same one. Raises as spawn.start_agent does."""
        if not 0 < len(wanted.request_id) <= 128:
            raise BadRequest("request_id has 1 to 128 characters")
        if wanted.prompt and not kind_named(wanted.kind).registers:
            raise BadRequest(
                f"an agent of kind {wanted.kind} takes no prompts",
                hint="start it, then type into it",
            )
        if (known := self._agents.roster.by_request(wanted.request_id)) is not None and known.pid is not None:
            return known.id
        return await self._once(("spawn", wanted.request_id), lambda: self._spawn(wanted))

    async def resume(self, old: AgentRecord) -> AgentId:
        """Start a new agent that goes on with an ended one's conversation, in its folder and under its name.

        If there is one already, that one. Raises Conflict, and as `spawn` does.
        """
        return await self._once(("resume", old.id), lambda: self._resume(old))

    async def _once(self, wish: tuple[str, str], start: Start) -> AgentId:
        starting = self._starting.get(wish)
        if starting is None:
            starting = asyncio.create_task(start(), name=" ".join(wish))
            self._starting[wish] = starting
            starting.add_done_callback(lambda _: self._starting.pop(wish, None))
        # Shielded: whoever asked may give up, the start is under way all the same.
        return await asyncio.shield(starting)

    async def _spawn(self, wanted: contract.Spawn) -> AgentId:
        folder = wanted.new_folder or Path(wanted.path).name
        name = clean_name(wanted.name or folder, wanted.kind)
        home = wanted.path.removeprefix("~").lstrip("/") if wanted.path.startswith("~") else wanted.path
        place = self._user_home / home / (wanted.new_folder or "")
        # Whoever starts an agent chooses its name, and with it no rules that ask less.
        self._policy().approvals.check_rename(wanted.kind, clean_name(folder, wanted.kind), place, name)
        record = self._agents.roster.expect(
            instance=str(uuid.uuid4()),
            kind=wanted.kind,
            name=name,
            cwd=wanted.path,
            project=None,
            request_id=wanted.request_id,
            now=time.time(),
            args=tuple(wanted.args),
            headless=wanted.headless,
        )
        return await self._start(record, record.args, new_folder=wanted.new_folder)

    async def _resume(self, old: AgentRecord) -> AgentId:
        roster = self._agents.roster
        if old.live:
            raise Conflict(
                f"{old.name} has not ended: it is {old.state}", hint=f"`hyperpi attach {old.name}`"
            )
        if old.session is not None and (now := roster.at_work_on(old.session)) is not None:
            if not roster.stems_from(now, old.id):
                raise Conflict(f"{now.name} has that conversation open", hint=f"`hyperpi attach {now.name}`")
            return now.id
        kind, past = kind_named(old.kind), past_of(old)
        how = kind.resumed(old.args, past) if kind.resumed is not None else None
        if how is None or not await asyncio.to_thread(kind.left, past):
            raise Conflict(
                f"{old.name} left no conversation to go on with",
                hint=f"start another agent: `{_spawned_by(old)}`",
            )
        record = roster.expect(
            instance=str(uuid.uuid4()),
            kind=old.kind,
            name=old.name,
            cwd=old.cwd,
            project=old.project,
            request_id=None,
            now=time.time(),
            args=old.args,
            headless=old.headless,
            resumes=old,
        )
        try:
            return await self._start(record, how.args, session=how.session)
        finally:
            self._agents.told_anew(old.id)

    async def _start(
        self,
        record: AgentRecord,
        args: tuple[str, ...],
        *,
        new_folder: str | None = None,
        session: str | None = None,
    ) -> AgentId:
        self._agents.expect(record)
        order = SpawnOrder(
            agent=record.id,
            instance=record.instance,
            kind=record.kind,
            path=record.cwd,
            new_folder=new_folder,
            args=args,
            headless=record.headless,
            session=session,
        )
        try:
            spawned = await start_agent(
                order,
                self._policy(),
                home=self._home,
                environment=self._environment,
                user_home=self._user_home,
            )
        except BaseException:
            self._agents.give_up(record.id)
            raise
        project = await asyncio.to_thread(project_of, spawned.cwd, self._user_home)
        self._keepers.started(spawned)
        self._agents.placed(record.id, spawned.cwd, project.name if project else None)
        registers = kind_named(record.kind).registers
        self._agents.held(record.id, spawned.pid, spawned.pid_start, registers=registers)
        if spawned.terminal_folder is not None:  # at once: whoever has started it may look right away
            size = TerminalSize()
            self._agents.has_terminal(record.id, contract.TerminalSize(cols=size.cols, rows=size.rows))
        await self._saved(record.id)  # before the answer: the same request after a crash starts no second one
        log.info("agent spawned agent=%s kind=%s pid=%d", record.id, record.kind, spawned.pid)
        return record.id


def _spawned_by(old: AgentRecord) -> str:
    """The command that starts another one like it."""
    kind = [] if old.kind == "pi" else ["--kind", old.kind]
    return shlex.join(["hyperpi", "spawn", old.cwd, *kind, *(["--", *old.args] if old.args else [])])
