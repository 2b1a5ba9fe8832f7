"""The node's view of its keepers: who is kept, by which process, over which connection, and how it ended.

A keeper outlives the node, so all that matters stands in files, `<agent>.json` and `<agent>.exit.json`: a
node that starts reads them, adopts what lives and reports what has ended meanwhile. It knows nothing of
sockets: the edge passes in what keepers say.
"""

import asyncio
import base64
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from hyperpi.errors import BadRequest, Conflict, HyperPiError, NodeUnreachable, NotFound
from hyperpi.rpc import Caller
from node.keeper_files import Ended, Kept, Unstarted, after, forget, leftover, leftovers, read_file
from node.process import ExitWatch, end_tree, is_alive, process_start
from node.spawn import AGENT_ID, START_S, Spawned, TerminalSize

log = logging.getLogger(__name__)

CALL_S = 5.0  # a keeper answers in a millisecond; one that does not is suspended or gone
REDIAL_S = 3.0  # a keeper without a connection dials again within this: some times its own MAX_REDIAL_S
ORPHAN_S = 2.0  # a child whose keeper was killed sees its stdin end, and gets this long to end itself
HEIR_STABLE_S = 60.0  # a keeper that lived this long was a good one
HEIR_FIRST_PAUSE_S, HEIR_MAX_PAUSE_S = 0.1, 30.0  # before the next one is started, when they do not last
RETRY_S = 5.0  # before an end that could not be written down is offered again
MAX_ENDED = 1_000  # ends remembered, to know a repeated report

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TerminalState:
    """What a keeper says of the terminal that it holds."""

    cols: int
    rows: int
    end: int  # offset up to which its output is recorded


@dataclass(frozen=True, slots=True)
class Registration:
    """Params of keeper.register."""

    agent: str
    instance: str
    kind: str
    pid: int
    pid_start: str
    keeper_pid: int
    version: int = 1
    terminal: TerminalState | None = None
    standby_pid: int = 0
    standby_start: str = ""


@dataclass(frozen=True, slots=True)
class StandsBy:
    """Params of keeper.standby: who will be the next keeper; 0: nobody."""

    agent: str
    standby_pid: int = 0
    standby_start: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Params of keeper.shown: the recording of a terminal has grown."""

    agent: str
    end: int


async def nobody(_kept: Kept) -> Kept | None:
    """Nobody takes over an agent whose keeper was killed."""
    return None


# --- the book ---------------------------------------------------------------------------------------


class KeeperBook:
    """All spawned agents of this node and their keepers.

    `on_end(ended)` is awaited for every agent that has ended, one at a time. It must have written the end
    down when it returns, since then nobody else knows it any more; if it raises, the end is offered again.
    After a crash of the node the same end may come twice. `take_over(kept)` gives an agent whose keeper was
    killed another one, if that can be; it may raise.
    """

    def __init__(
        self,
        folder: Path,
        on_end: Callable[[Ended], Awaitable[None]],
        take_over: Callable[[Kept], Awaitable[Kept | None]] = nobody,
    ) -> None:
        self._folder = folder
        self._on_end = on_end
        self._take_over = take_over
        self._kept: dict[str, Kept] = {}
        self._connections: dict[str, Caller] = {}
        self._terminals: dict[str, TerminalState] = {}
        self._watches: dict[int, ExitWatch] = {}  # by the keeper's pid
        # Of whom only run() still has to take care; at most one entry a keeper.
        self._gone: asyncio.Queue[Kept | Ended | Unstarted] = asyncio.Queue()
        self._recovered = False
        self._ended: dict[str, None] = {}  # agents, oldest first
        self._lost: dict[str, tuple[int, float]] = {}  # keepers of an agent in a row, and when the last one
        self._ending = asyncio.Lock()
        self._connected = asyncio.Condition()

    async def recover(self) -> None:
        """Adopt what an earlier node has left. Before this the book knows only what keepers say."""
        self._recovered = True
        for left in await asyncio.to_thread(leftovers, self._folder):
            if isinstance(left, Kept):
                self._adopt(left)
            else:
                self._gone.put_nowait(left)

    async def run(self) -> None:
        """Bury what ends without a word, until cancelled; `recover` first, if nobody has."""
        try:
            if not self._recovered:
                await self.recover()
            async with asyncio.TaskGroup() as tasks:
                while True:
                    gone = await self._gone.get()
                    work = self._bury(gone) if isinstance(gone, Kept) else self._settle(gone)
                    tasks.create_task(work, name=f"bury-{gone.agent}")
        finally:
            self.close()

    def close(self) -> None:
        """Stop watching. Keepers and their agents go on."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()

    def living(self) -> tuple[Kept, ...]:
        """The spawned agents that have not ended, as far as is known."""
        return tuple(self._kept.values())

    def kept(self, agent: str) -> Kept | None:
        """What is known of one of them; None for agents that have ended or are not ours."""
        return self._kept.get(agent)

    def is_connected(self, agent: str) -> bool:
        """Whether its keeper is on the line."""
        return agent in self._connections

    def terminal(self, agent: str) -> TerminalState | None:
        """What its keeper said last of the terminal that it holds, if it holds one."""
        return self._terminals.get(agent)

    def speaks_for(self, agent: str, connection: Caller) -> bool:
        """Whether this is the connection of the agent's keeper."""
        return self._connections.get(agent) is connection

    # what keepers say

    def started(self, spawned: Spawned) -> None:
        """An agent was started: watch its keeper from now on."""
        self._adopt(
            Kept(
                agent=spawned.agent,
                instance=spawned.instance,
                kind=spawned.kind,
                cwd=spawned.cwd,
                pid=spawned.pid,
                pid_start=spawned.pid_start,
                keeper_pid=spawned.keeper_pid,
                keeper_start=spawned.keeper_start,
                terminal_folder=spawned.terminal_folder,
            )
        )

    async def registered(
        self, params: Mapping[str, object], connection: Caller, peer_pid: int | None = None
    ) -> dict[str, object]:
        """keeper.register. The answer; raises BadRequest, NotFound or Conflict, and the keeper comes back.

        `peer_pid` is the caller's pid as the kernel knows it: only its keeper may speak for an agent.
        """
        said = _convert(params, Registration)
        kept = await self._known(said)
        if kept.instance != said.instance or kept.keeper_pid != said.keeper_pid:
            raise Conflict(f"agent {said.agent} has another keeper")
        _check_peer(kept, peer_pid)
        self._adopt(replace(kept, standby_pid=said.standby_pid, standby_start=said.standby_start))
        if said.terminal is not None:
            self._terminals[said.agent] = said.terminal
        async with self._connected:
            self._connections[said.agent] = connection
            self._connected.notify_all()
        return {}

    def stands_by(self, said: StandsBy) -> None:
        """keeper.standby, of the agent's own keeper."""
        if (kept := self._kept.get(said.agent)) is not None:
            now = replace(kept, standby_pid=said.standby_pid, standby_start=said.standby_start)
            self._kept[said.agent] = now

    async def exited(self, params: Mapping[str, object], peer_pid: int | None = None) -> dict[str, object]:
        """keeper.exited. The answer, once the end is written down; a repeated report is only answered."""
        ended = replace(_convert(params, Ended), why="exited")
        kept = self._kept.get(ended.agent)
        if kept is None and ended.agent not in self._ended:
            _check_id(ended.agent)
            kept = await asyncio.to_thread(read_file, self._folder / f"{ended.agent}.json", Kept)
        if kept is None:
            return {}  # known already, perhaps from the file
        if kept.instance != ended.instance:
            raise Conflict(f"agent {ended.agent} has another keeper")
        _check_peer(kept, peer_pid)
        await self._end(ended)
        return {}

    def disconnected(self, connection: Caller) -> None:
        """A connection has ended; its keeper dials again, or its own end is noticed."""
        for agent in [agent for agent, held in self._connections.items() if held is connection]:
            del self._connections[agent]

    # what the node wants of them

    async def stop(self, agent: str, grace_s: float, *, hang_up: bool = True) -> None:
        """Have an agent's whole tree ended; returns when that is under way, `on_end` tells the rest.

        Its stdin is closed, or its terminal hung up, at once, unless whoever calls asks it to end; what still
        runs after the grace is ended by force. Raises NotFound.
        """
        kept = self._living(agent)
        try:
            connection = await self._connection(agent)
            await connection.call("stop", {"grace_s": grace_s, "hang_up": hang_up}, CALL_S)
        except HyperPiError as exc:
            # Its keeper is suspended, or dials another node. Its child can be ended all the same.
            log.warning("a keeper does not take orders agent=%s error=%s", agent, exc)
            await end_tree(kept.pid, kept.pid_start, 0, grace_s)

    async def send_input(self, agent: str, chunk: bytes) -> None:
        """Hand bytes to an agent's stdin. Raises NotFound, NodeUnreachable, Overloaded (it does not read)."""
        self._living(agent)
        connection = await self._connection(agent)
        await connection.call("input", {"data": base64.b64encode(chunk).decode()}, CALL_S)

    async def answer_dialog(self, agent: str, dialog: str, response: Mapping[str, object]) -> None:
        """Hand a person's answer to an extension of a headless pi. Raises NotFound, NodeUnreachable."""
        self._living(agent)
        connection = await self._connection(agent)
        await connection.call("dialog.answer", {"id": dialog, "response": response}, CALL_S)

    async def resize(self, agent: str, size: TerminalSize) -> None:
        """Give an agent's terminal another size. Raises NotFound, NodeUnreachable."""
        self._living(agent)
        connection = await self._connection(agent)
        await connection.call("resize", {"cols": size.cols, "rows": size.rows}, CALL_S)

    async def follow(self, agent: str, on: bool) -> None:
        """Say whether somebody looks at an agent's terminal. Raises NotFound, NodeUnreachable."""
        self._living(agent)
        connection = await self._connection(agent)
        await connection.call("follow", {"on": on}, CALL_S)

    # inside

    def _living(self, agent: str) -> Kept:
        try:
            return self._kept[agent]
        except KeyError:
            raise NotFound(f"no spawned agent {agent} runs here") from None

    async def _connection(self, agent: str) -> Caller:
        """Its keeper's connection; a keeper that is dialling is waited for."""
        try:
            async with asyncio.timeout(REDIAL_S), self._connected:
                await self._connected.wait_for(lambda: agent in self._connections)
                return self._connections[agent]
        except TimeoutError:
            raise NodeUnreachable(f"the keeper of agent {agent} is not connected") from None

    async def _known(self, said: Registration) -> Kept:
        """What we know ourselves of the agent that a keeper speaks of."""
        if (kept := self._kept.get(said.agent)) is not None:
            return kept
        _check_id(said.agent)
        path = self._folder / f"{said.agent}.json"
        if (kept := await asyncio.to_thread(read_file, path, Kept)) is not None:
            return kept
        spec = await asyncio.to_thread(read_file, path, Unstarted)
        if spec is None or said.agent in self._ended:
            raise NotFound("no such agent was started here")
        # The disk was full when the keeper wanted to note its processes, so its word has to do.
        start = process_start(said.keeper_pid) or ""
        return Kept(
            said.agent, spec.instance, spec.kind, "", said.pid, said.pid_start, said.keeper_pid, start
        )

    def _adopt(self, kept: Kept) -> None:
        if kept.agent not in self._ended:
            self._kept[kept.agent] = kept
        if kept.keeper_pid not in self._watches:
            watch = ExitWatch(kept.keeper_pid, kept.keeper_start)
            self._watches[kept.keeper_pid] = watch
            watch.start(lambda: self._on_keeper_gone(kept))

    def _on_keeper_gone(self, kept: Kept) -> None:
        self._watches.pop(kept.keeper_pid, None)
        # If this node started it, it is our child and a zombie until now.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(kept.keeper_pid, os.WNOHANG)
        self._gone.put_nowait(kept)

    async def _bury(self, kept: Kept) -> None:
        """A keeper has ended: normally because its agent has and we know; else find out how."""
        if kept.agent in self._ended:
            return
        left = await asyncio.to_thread(leftover, self._folder, kept.agent)
        if left is None:  # an earlier node has taken the report, and then the keeper removed its files
            self._note_end(kept.agent)
            return
        ended = left if isinstance(left, Ended) else None
        if ended is None and (heir := await self._heir(kept, left)) is not None:
            log.warning(
                "a keeper was killed, another one took over agent=%s keeper=%d", kept.agent, heir.keeper_pid
            )
            self._adopt(heir)
            return
        if ended is None:
            log.warning("a keeper was lost agent=%s keeper=%d", kept.agent, kept.keeper_pid)
            # The child saw its stdin end; one that does not care is ended, as nobody holds it any more.
            await end_tree(kept.pid, kept.pid_start, ORPHAN_S, ORPHAN_S)
            ended = Ended(kept.agent, kept.instance, kept.kind, kept.pid, why="keeper_lost")
        await self._settle(ended)

    async def _heir(self, kept: Kept, left: Kept | Ended | Unstarted) -> Kept | None:
        """The agent with another keeper; None if it has ended too, or nobody can hold it."""
        known = self._kept.get(kept.agent)  # a keeper whose disk was full has told us what its file lacks
        for said in (left, known):
            heir = after(kept, said) if isinstance(said, Kept) else None
            if heir is not None and is_alive(heir.keeper_pid, heir.keeper_start):
                return heir
        if not is_alive(kept.pid, kept.pid_start):
            return None
        await asyncio.sleep(self._heir_pause_s(kept.agent))
        try:
            return await self._take_over(kept)
        except HyperPiError as exc:
            log.warning("no other keeper could be started agent=%s reason=%s", kept.agent, exc)
            return None

    def _heir_pause_s(self, agent: str) -> float:
        """The first keeper that is lost is replaced at once; one after the other, more and more slowly."""
        lost, last = self._lost.get(agent, (0, 0.0))
        now = time.monotonic()
        lost = lost + 1 if lost and now - last < HEIR_STABLE_S else 1
        self._lost[agent] = lost, now
        return 0.0 if lost == 1 else min(HEIR_FIRST_PAUSE_S * 2 ** (lost - 2), HEIR_MAX_PAUSE_S)

    async def _settle(self, left: Ended | Unstarted) -> None:
        """Report an end that no keeper will report, as often as it takes."""
        if isinstance(left, Unstarted):
            await asyncio.sleep(max(0.0, START_S - left.age_s))  # its keeper may still be starting
            again = await asyncio.to_thread(leftover, self._folder, left.agent)
            if isinstance(again, Kept):
                self._adopt(again)
            if not isinstance(again, Unstarted):
                return
            left = Ended(left.agent, left.instance, left.kind, why="never_started")
        while True:
            try:
                await self._end(left)
                break
            except Exception:  # whatever kept it from being written down must not lose the end
                log.exception("an agent's end could not be taken agent=%s", left.agent)
                await asyncio.sleep(RETRY_S)
        await asyncio.to_thread(forget, self._folder, left.agent)

    async def _end(self, ended: Ended) -> None:
        async with self._ending:
            if ended.agent in self._ended:
                return
            await self._on_end(ended)
            self._note_end(ended.agent)
            log.info("spawned agent ended agent=%s detail=%s", ended.agent, ended.detail)

    def _note_end(self, agent: str) -> None:
        self._ended[agent] = None
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        for table in (self._kept, self._connections, self._terminals, self._lost):
            table.pop(agent, None)


def _check_id(agent: str) -> None:
    if not AGENT_ID.fullmatch(agent):
        raise BadRequest("that is no agent's id")


def _check_peer(kept: Kept, peer_pid: int | None) -> None:
    if peer_pid is not None and peer_pid != kept.keeper_pid:
        raise Conflict(f"process {peer_pid} is not the keeper of agent {kept.agent}")


def _convert(params: Mapping[str, object], shape: type[T]) -> T:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as exc:
        raise BadRequest(str(exc)) from None
