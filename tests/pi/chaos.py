"""Killing every process of a whole system in the middle of turns, in an order that a seed gives.

Three real pis with a scripted model: one spawned in a terminal, one spawned headless, one typed into a
terminal of its owner's. A round gives each of them a turn, kills one process while they work, hands out more
prompts at once, brings back what a person or a service manager would, and then compares: who has to live
does, under its id; every conversation equals its own session file; every prompt has run once, and no turn was
run again by itself. A viewer follows all along, and fails at the first hole or repeat in any stream.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from live import COMMAND, TOKEN, Following, Program, Refused, System, is_running, socket_to
from live import until as until_file
from model_server import ModelServer
from owners_pi import OwnersPi
from rig import TerminalPi
from websockets.exceptions import WebSocketException

from hyperpi.holder import holder_of
from node.kinds.pi_session import read_page

Json = dict[str, Any]

VICTIMS = (
    "hypivisor",
    "pide",
    "node",
    "terminal keeper",
    "pipe keeper",
    "node and keepers",
    "terminal pi",
    "headless pi",
    "typed pi",
)
KEPT = {"terminal keeper": "terminal pi", "pipe keeper": "headless pi"}
TURN_WORDS = 40  # 50 ms each: long enough that a kill comes in the middle, on a busy machine too
KILL_WITHIN_S = 0.8
PATIENCE_S = 40.0
EVERYTHING = 1_000_000


@dataclass(slots=True)
class Subject:
    """One pi over all its lives: a resumed one goes on with its conversation."""

    name: str
    agent: str = ""
    pid: int = 0
    lives: int = 1
    taken_over: bool = False  # by another keeper, in this life
    interrupted: set[str] = field(default_factory=set)  # prompts that were being run when it was killed


@dataclass(slots=True)
class Tally:
    """What came of it."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    prompts: int = 0
    receipts: Counter[str] = field(default_factory=Counter)
    attaches: Counter[str] = field(default_factory=Counter)
    events: int = 0
    seconds: float = 0.0


class Chaos:
    """A running system, its subjects, and what was asked of them."""

    def __init__(self, system: System, model: ModelServer, seed: int) -> None:
        self.system = system
        self.model = model
        self.random = random.Random(seed)
        self.tally = Tally()
        self.subjects = {name: Subject(name) for name in ("terminal pi", "headless pi", "typed pi")}
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._port = ""  # of Pi-DE
        self._hypivisor: tuple[str, ...] = ()
        self._asked: dict[str, str] = {}  # prompt -> subject
        self._typed: TerminalPi | None = None
        self._project = Path()

    # --- processes -------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start the system, each part as a process of its own, and the three pis."""
        self.system.start()
        said = self.system.said("hypivisor")
        ports = ("--grpc-port", str(said["grpc_port"]), "--enrol-port", str(said["enrol_port"]))
        self._hypivisor = ("hypivisor", "run", *ports, "--no-mdns")
        self.system.end_up(signal.SIGINT)
        self._start_hypivisor()
        self._start_pide()
        for name in ("terminal pi", "headless pi"):
            work = Path(tempfile.mkdtemp(dir=self.system.folder / "user"))
            where = {"node": "den", "path": str(work), "kind": "pi", "request_id": uuid.uuid4().hex}
            started = await self.ask("node.spawn", {**where, "headless": name == "headless pi"})
            self.subjects[name].agent = started["agent"]
        self._project = Path(tempfile.mkdtemp(dir=self.system.folder / "user"))
        self._type_pi()
        typed = await self.sees(lambda agents: [a for a in agents.values() if a["cwd"] == str(self._project)])
        self.subjects["typed pi"].agent = typed[0]["id"]
        for subject in self.subjects.values():
            subject.pid = (await self.rests(subject))["pid"]
            # pi writes its session file once the model has answered: before that there is nothing to resume.
            await self._at_the_model(await self.prompt(subject, 1))
            await self.rests(subject)

    def _start(self, part: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.system.folder / f"{part}.out").open("ab") as out:
            process = subprocess.Popen(
                [*COMMAND, *argv], env=self.system.environment, stdout=out, stderr=out, start_new_session=True
            )
        self.system.pids.add(process.pid)
        self._parts[part] = process
        return process

    def _start_hypivisor(self) -> None:
        pid = self._start("hypivisor", *self._hypivisor).pid
        until_file(lambda: self.system.said("hypivisor")["pid"] == pid, "the hypivisor")

    def _start_pide(self) -> None:
        out = self.system.folder / "pide.out"
        before = out.stat().st_size if out.exists() else 0
        self._start("pide", "pide", "run", "--port", self._port or "0")
        address = re.compile(r"http://127\.0\.0\.1:(\d+)\b")
        self._port = until_file(lambda: address.findall(out.read_text()[before:]), "Pi-DE")[0]

    def _type_pi(self, *args: str) -> None:
        self._typed = TerminalPi(OwnersPi(self.system, self._project))  # type: ignore[arg-type]
        self._typed.start(*args)

    def end(self) -> None:
        """End what does not belong to the node."""
        if self._typed is not None:
            self._typed.end()
        for process in self._parts.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)

    def victims(self, name: str) -> list[int]:
        """The pids of what is to be killed."""
        if name in self._parts:
            return [self._parts[name].pid]
        if name == "node":
            return [self.system.node_pid()]
        if name == "node and keepers":
            return [self.system.node_pid(), *map(self._keeper_of, ("terminal pi", "headless pi"))]
        if name in KEPT:
            return [self._keeper_of(KEPT[name])]
        return [self.subjects[name].pid]

    def _keeper_of(self, subject: str) -> int:
        agent = self.subjects[subject].agent
        kept = json.loads((self.system.home / "node" / "keepers" / f"{agent}.json").read_text())
        return int(kept["keeper_pid"])

    # --- asking, over whatever happens -----------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def program(self) -> AsyncIterator[Program]:
        """A program on Pi-DE's /ws."""
        async with socket_to(f"ws://127.0.0.1:{self._port}/ws", Authorization=f"Bearer {TOKEN}") as socket:
            program = Program(socket)
            try:
                yield program
            finally:
                await program.leave()

    async def ask(self, method: str, params: Json) -> Json:
        """The result; asked again while somebody between here and there is away. Repeats are harmless."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                async with self.program() as program:
                    return await program.call(method, **params)
            except (OSError, WebSocketException, TimeoutError) as exc:
                failed: Exception = exc
            except Refused as exc:
                if exc.code not in {-32011, -32029, -32004}:
                    raise
                failed = exc
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {params}: {failed!r}")
            await asyncio.sleep(0.05)

    async def sees(self, wanted: Callable[[dict[str, Json]], Any]) -> Any:
        """What `wanted` finds in the roster, once it does."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            mesh = await self.ask("mesh.get", {})
            agents = {agent["id"]: agent for agent in mesh["agents"]}
            if found := wanted(agents):
                return found
            if time.monotonic() > deadline:
                states = {a["name"]: (a["id"], a["state"], a["detail"]) for a in agents.values()}
                raise AssertionError(f"never seen; there is {states}")
            await asyncio.sleep(0.05)

    async def rests(self, subject: Subject) -> Json:
        """The subject's agent, once it is idle."""
        found: Json = await self.sees(
            lambda agents: agents.get(subject.agent, {}).get("state") == "idle" and agents[subject.agent]
        )
        return found

    async def prompt(self, subject: Subject, words: int) -> str:
        """Hand out a prompt; its id, once its receipt is known."""
        prompt_id = f"p{len(self._asked)}-{uuid.uuid4().hex[:6]}"
        self._asked[prompt_id] = subject.name
        text = f"mark {prompt_id}\nslow: {words}"
        said = await self.ask("agent.prompt", {"agent": subject.agent, "text": text, "id": prompt_id})
        self.tally.receipts[said["receipt"]] += 1
        self.tally.prompts += 1
        return prompt_id

    # --- a round ---------------------------------------------------------------------------------------

    async def round(self, name: str) -> None:
        """One victim."""
        running = {subject.name: await self.prompt(subject, TURN_WORDS) for subject in self.subjects.values()}
        for prompt_id in running.values():
            await self._at_the_model(prompt_id)
        await asyncio.sleep(self.random.uniform(0, KILL_WITHIN_S))
        pids = self.victims(name)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.tally.kills[name] += 1
        for keeper, subject in KEPT.items():
            if name in {keeper, "node and keepers"}:
                self.subjects[subject].taken_over = True
        # What is asked while it is away must be neither lost nor doubled.
        others = [s for s in self.subjects.values() if s.name != name]
        asking = [asyncio.create_task(self.prompt(subject, 2)) for subject in others]
        try:
            self._bring_back(name)
            if name in self.subjects:
                await self._resumed(self.subjects[name], running[name])
            for task in asking:
                await task
        finally:
            for task in asking:
                task.cancel()
        for prompt_id, subject in self._asked.items():
            if prompt_id not in self.subjects[subject].interrupted:
                await self._at_the_model(prompt_id)
        await self._check(name, pids)
        self.tally.rounds += 1

    async def _at_the_model(self, prompt_id: str) -> None:
        """Return once the turn of a prompt has reached the model."""
        deadline = time.monotonic() + PATIENCE_S
        while prompt_id not in self.runs():
            assert time.monotonic() < deadline, f"{prompt_id} of {self._asked[prompt_id]} never ran"
            await asyncio.sleep(0.01)

    def runs(self) -> Counter[str]:
        """How often each prompt has been the one that the model was asked to answer."""
        found: Counter[str] = Counter()
        for request in self.model.requests:
            last = next(str(m["content"]) for m in reversed(request["messages"]) if m["role"] == "user")
            found[last.partition("mark ")[2].split("\\n")[0].split("\n")[0].split("'")[0]] += 1
        return found

    def _bring_back(self, name: str) -> None:
        if name in self._parts:
            self._parts[name].wait(PATIENCE_S)
            self._start_hypivisor() if name == "hypivisor" else self._start_pide()
        elif name.startswith("node"):
            if self.system.node is not None:
                self.system.node.wait(PATIENCE_S)
            lock = self.system.home / "node" / "lock"
            until_file(
                lambda: holder_of(lock) is None or not is_running(int(holder_of(lock) or 0)), "its end"
            )
            self.system.start_node()

    async def _resumed(self, subject: Subject, running: str) -> None:
        """A killed pi is told as ended in the middle of its turn; somebody goes on with it."""
        # A window goes with its own program, and a keeper that took over is not told of its child's signal.
        why = "unknown" if subject.name == "typed pi" or subject.taken_over else "killed"
        ended = await self.sees(
            lambda agents: (agents[subject.agent]["ending"] or {}).get("why") == why and agents[subject.agent]
        )
        assert ended["ending"]["interrupted"], ended["detail"]
        subject.interrupted.add(running)
        requests = len(self.model.requests)
        if subject.name == "typed pi":
            assert self._typed is not None
            self._typed.end()
            known = set((await self.sees(lambda agents: agents)).keys())
            self._type_pi("--session", ended["session"]["file"])
            new = await self.sees(
                lambda agents: [
                    a for a in agents.values() if a["cwd"] == str(self._project) and a["id"] not in known
                ]
            )
            subject.agent = new[0]["id"]
        else:
            again = await self.ask("agent.resume", {"agent": subject.agent})
            assert again["agent"] != subject.agent
            subject.agent = again["agent"]
        subject.pid = (await self.rests(subject))["pid"]
        subject.lives += 1
        subject.taken_over = False
        mine = [r for r in self.model.requests[requests:] if running in str(r["messages"][-1])]
        assert not mine, f"{running} was run again by itself"

    async def _check(self, name: str, killed: list[int]) -> None:
        runs = self.runs()
        doubled = {prompt_id: runs[prompt_id] for prompt_id in self._asked if runs[prompt_id] != 1}
        assert not doubled, f"after {name}: prompts that did not run once: {doubled}"
        for subject in self.subjects.values():
            agent = await self.rests(subject)
            assert agent["pid"] == subject.pid, f"after {name}: {subject.name} is another process"
            assert is_running(subject.pid)
            assert subject.pid not in killed
            told = await self._conversation(subject.agent)
            file = await asyncio.to_thread(read_page, Path(agent["session"]["file"]), None, EVERYTHING)
            assert file is not None
            kept = [_shown(entry) for entry in file[0]][-len(told) :]
            assert told == kept, f"after {name}: {subject.name} tells another conversation than its session"
            said = "\n".join(text for _, text in [_shown(entry) for entry in file[0]])
            for prompt_id, whose in self._asked.items():
                times = said.count(f"mark {prompt_id}\n")
                wanted = whose == subject.name
                assert times == wanted or (times == 0 and prompt_id in subject.interrupted), (
                    f"after {name}: {prompt_id} stands {times} times in the session of {subject.name}"
                )

    async def _conversation(self, agent: str) -> list[tuple[str, str]]:
        snapshot = (await self.ask("agent.snapshot", {"agent": agent}))["snapshot"]
        assert snapshot["running"] is None
        return [_shown(entry) for entry in snapshot["entries"]]

    # --- a viewer --------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Follow every subject over all connections, from where it was; until cancelled. A hole fails."""
        known: dict[str, Following] = {}
        while True:
            try:
                async with self.program() as program:
                    await self._follow_on(program, known)
            except (OSError, WebSocketException, TimeoutError, Refused, ConnectionError):
                await asyncio.sleep(0.05)

    async def _follow_on(self, program: Program, known: dict[str, Following]) -> None:
        while True:
            for agent in {subject.agent for subject in self.subjects.values()}:
                here = program.following.get(agent)
                if here is not None and not here.resets:
                    continue
                last = known.get(agent)
                cursor = (
                    {"epoch": last.epoch, "seq": last.seq} if last is not None and not last.resets else {}
                )
                known[agent] = await program.attach(agent, **cursor)
                self.tally.attaches[known[agent].resume] += 1
                if cursor and known[agent].resume == "ok":
                    assert known[agent].epoch == cursor["epoch"]
            program._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await program._news.wait()
            if program._reading.done():
                program._reading.result()  # a hole or a repeat was seen there
                return
            self.tally.events = sum(len(one.events) for one in known.values())


def _shown(entry: Json) -> tuple[str, str]:
    return entry["role"], "".join(block.get("text", "") for block in entry["blocks"])


async def run(chaos: Chaos, rounds: int, told: Callable[[str], None] = lambda _: None) -> Tally:
    """So many rounds: all victims in an order of the seed, again and again."""
    began = time.monotonic()
    await chaos.begin()
    following = asyncio.create_task(chaos.follow())
    order: list[str] = []
    try:
        for number in range(rounds):
            order = order or chaos.random.sample(VICTIMS, len(VICTIMS))
            name = order.pop()
            await chaos.round(name)
            if following.done():
                following.result()
            told(f"round {number + 1}: {name}")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        for subject in chaos.subjects.values():
            with contextlib.suppress(Refused, AssertionError):
                await chaos.ask("agent.stop", {"agent": subject.agent})
        chaos.end()
    chaos.tally.seconds = time.monotonic() - began
    return chaos.tally
