"""A home with a policy, and a stand-in for the node: a real agent socket with a real KeeperBook behind it."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hyperpi.config import Home
from hyperpi.lines import Lines
from node import keeper, spawn
from node.keeper_files import Ended, Kept, read_file
from node.keepers import KeeperBook, StandsBy
from node.keeping import keeper as keeping
from node.keeping.link import TERMINALS
from node.masters import Masters
from node.policy import Policy
from node.process import process_start
from node.spawn import Spawned, SpawnOrder, start_agent, start_heir

PATIENCE_S = 15.0  # for an event that takes milliseconds on an idle machine


class Node:
    """One life of a node, as far as keepers see it."""

    def __init__(self, home: Home, sockets: Path) -> None:
        self.home = home
        self.path = sockets / "agent.sock"
        self.ends: list[Ended] = []
        self.calls: list[tuple[str, Any]] = []
        self.on_end: Callable[[Ended], None] = lambda ended: None  # may raise, as a full disk would
        self.dialogs = False  # somebody will answer them
        self.refuse: set[str] = set()  # methods that are not answered
        self.book = KeeperBook(home.path / "node" / "keepers", self._ended, self._take_over)
        self.masters = Masters(lambda agent: kept.keeper_pid if (kept := self.book.kept(agent)) else None)
        self._happened = asyncio.Condition()
        self._peers: dict[Lines, asyncio.Task[None] | None] = {}
        self._dead = False

    async def start(self) -> "Node":
        await self.book.recover()
        self._running = asyncio.create_task(self.book.run())
        self.path.unlink(missing_ok=True)
        self._handed_over = asyncio.create_task(self.masters.serve(self.path.parent / TERMINALS))
        self._server = await asyncio.start_unix_server(self._accept, str(self.path), limit=1 << 20)
        self.home.make("node")
        (self.home.node / "agent.addr").write_text(str(self.path) + "\n")
        return self

    async def die(self) -> None:
        """As a SIGKILL would have it: connections break, nothing is said, no file is touched."""
        self._dead = True
        self._server.close()
        self._running.cancel()
        self._handed_over.cancel()
        for peer in list(self._peers):
            peer.cut()
        tasks = (self._running, self._handed_over)
        await asyncio.gather(*tasks, *(t for t in self._peers.values() if t), return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a keeper's message, or an end, makes true."""
        async with asyncio.timeout(PATIENCE_S), self._happened:
            await self._happened.wait_for(condition)

    async def end_of(self, agent: str) -> Ended:
        await self.until(lambda: any(e.agent == agent for e in self.ends))
        return next(e for e in self.ends if e.agent == agent)

    async def connected(self, agent: str) -> None:
        await self.until(lambda: self.book.is_connected(agent))

    async def _take_over(self, kept: Kept) -> Kept | None:
        if (master := self.masters.of(kept.agent)) is None:
            return None
        pid, start = await start_heir(kept.agent, master, self.home)
        return replace(kept, keeper_pid=pid, keeper_start=start)

    async def _ended(self, ended: Ended) -> None:
        self.on_end(ended)
        self.ends.append(ended)
        async with self._happened:
            self._happened.notify_all()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def serve_one(method: str, raw: msgspec.Raw) -> object:
            params = msgspec.json.decode(raw)
            self.calls.append((method, params))
            if method in self.refuse:
                await asyncio.Event().wait()
            if method == "keeper.register":
                answer = await self.book.registered(params, peer.rpc, peer.peer_pid)
            elif method == "keeper.standby":
                self.book.stands_by(msgspec.convert(params, StandsBy))
                answer = {}
            elif method in {"keeper.shown", "keeper.notice"} or (method == "keeper.dialog" and self.dialogs):
                answer = {}
            else:
                answer = await self.book.exited(params, peer.peer_pid)
            async with self._happened:
                self._happened.notify_all()
            return answer

        peer = Lines(reader, writer, serve_one)
        if self._dead:  # accepted just before
            peer.cut()
        self._peers[peer] = asyncio.current_task()
        try:
            await peer.run()
        finally:
            del self._peers[peer]
            self.book.disconnected(peer.rpc)


@dataclass
class Rig:
    """A home, its policy, and the agents that a test has started in it."""

    home: Home
    work: Path
    sockets: Path
    policy: Policy
    environment: dict[str, str]
    nodes: list[Node] = field(default_factory=list)
    spawned: list[Spawned] = field(default_factory=list)

    @property
    def keepers(self) -> Path:
        return self.home.path / "node" / "keepers"

    async def node(self) -> Node:
        node = await Node(self.home, self.sockets).start()
        self.nodes.append(node)
        return node

    async def start(self, *argv: str, kind: str = "program", **changes: Any) -> Spawned:
        """Start a program as an agent. Without `argv` the kind's own command."""
        order = SpawnOrder(
            agent=f"agent-{len(self.spawned)}", instance=str(uuid.uuid4()), kind=kind, path=str(self.work)
        )
        policy = self.policy
        if argv:
            policy = replace(policy, kinds={**policy.kinds, kind: argv})
        spawned = await start_agent(
            replace(order, **changes),
            policy,
            home=self.home,
            environment=self.environment,
            user_home=self.work.parent,
        )
        self.spawned.append(spawned)
        if self.nodes:
            self.nodes[-1].book.started(spawned)
        return spawned

    async def start_python(self, code: str, *args: str, **changes: Any) -> Spawned:
        return await self.start(sys.executable, "-I", "-S", "-u", "-c", code, *args, **changes)


@contextlib.asynccontextmanager
async def rig_in(tmp_path: Path) -> AsyncIterator[Rig]:
    """At the end every process of the rig is ended, so that a failed test leaves nothing behind."""
    user_home = Path(os.path.realpath(tmp_path)) / "user"
    work = user_home / "projects"
    work.mkdir(parents=True)
    sockets = Path(tempfile.mkdtemp(prefix="hyperpi-"))  # short: paths of Unix sockets are limited
    policy = Policy(roots=(user_home,), kinds={"cat": ("cat",)})
    environment = {"PATH": os.environ["PATH"], "HOME": str(user_home)}
    rig = Rig(Home(tmp_path / "home"), work, sockets, policy, environment)
    try:
        yield rig
    finally:
        for node in rig.nodes:
            await node.die()
        for one in rig.spawned:
            lose_keepers(rig, one)
            if process_start(one.pid) in (None, one.pid_start):  # else the pid is somebody else's by now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one.keeper_pid, 0)
        shutil.rmtree(sockets)


def patient(rig: Rig, monkeypatch: pytest.MonkeyPatch, **constants: float) -> None:
    """Let keepers run with other durations than the shipped ones."""
    assert all(hasattr(keeping, name) for name in constants)
    entry = rig.home.make() / "keeper.py"
    entry.write_text(
        "import sys\n"
        f"sys.path.append({str(Path(keeper.__file__).parent.parent)!r})\n"
        "from node.keeping import keeper as keeping\n"
        f"vars(keeping).update({constants!r})\n"
        "from node.keeper import main\n"
        "main(sys.argv[1])\n"
    )
    monkeypatch.setattr(spawn, "KEEPER", entry)


def lose_keepers(rig: Rig, one: Spawned) -> None:
    """Kill whoever holds a program, and whoever stands by to hold it, so that nobody does."""
    known = read_file(rig.keepers / f"{one.agent}.json", Kept)
    holders = [(one.keeper_pid, one.keeper_start)]
    if known is not None:  # the one that stands by first: it is replaced later than the keeper is
        holders = [(known.standby_pid, known.standby_start), (known.keeper_pid, known.keeper_start)]
    for pid, start in holders:
        if pid and process_start(pid) in (None, start):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


async def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for something in the outside world that sends us no event."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
