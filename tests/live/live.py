"""A whole live system for tests: `hyperpi up` with its node, agents that do as told, programs on /ws."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from hyperpi.errors import HyperPiError, UnknownMethod
from hyperpi.holder import holder_of
from hyperpi.lines import Lines, dial
from node.process import is_alive

COMMAND = [sys.executable, "-m", "hyperpi.cli.main"]
PATIENCE_S = 20.0  # for a process to start or end, on a busy machine
SOON_S = 10.0  # for an answer or a notice
LOOK_S = 0.01  # between two looks at a file of another process, which tells nobody of its changes
TOKEN = "operator-" + uuid.uuid4().hex
NODE = "den"
Json = dict[str, Any]


def until(look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first result that is neither empty nor an error of a file that is not there yet."""
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
        time.sleep(LOOK_S)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- the system ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class System:
    """One home, and what runs for it."""

    folder: Path
    up: subprocess.Popen[bytes] | None = None
    node: subprocess.Popen[bytes] | None = None  # when a test has started it, and not `up`
    pids: set[int] = field(default_factory=set)  # of everything that ever ran here
    more: dict[str, str] = field(default_factory=dict, kw_only=True)  # laid over the environment

    @property
    def home(self) -> Path:
        """HYPERPI_HOME."""
        return self.folder / "home"

    @property
    def sockets(self) -> Path:
        """Where this home's socket folder is made."""
        return self.folder / "run"

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this system is given."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYPI", "HYPERPI"))}
        return {
            **kept,
            "HYPERPI_HOME": str(self.home),
            "HYPI_TOKEN": TOKEN,
            "HYPERPI_LOG": "error",
            "XDG_RUNTIME_DIR": str(self.sockets),
            "HOME": str(self.folder / "user"),
            **self.more,
        }

    def said(self, part: str) -> Json:
        """run.json of `hypivisor` or `node`."""
        found: Json = json.loads((self.home / part / "run.json").read_text())
        return found

    @property
    def url(self) -> str:
        """Pi-DE's address."""
        return str(self.said("hypivisor")["url"])

    @property
    def ws(self) -> str:
        """Pi-DE's /ws."""
        return self.url.replace("http", "ws", 1) + "/ws"

    def start(self, *flags: str, port: int = 0) -> None:
        """Run `up` until the node is linked to it."""
        self.begin(*flags, port=port)
        until(lambda: self.said("node")["linked"], "the link of the node")
        self.pids.add(self.node_pid())

    def begin(self, *flags: str, port: int = 0) -> None:
        """Run `up` until the hypivisor is there."""
        ports = ["--port", str(port), "--grpc-port", "0", "--enrol-port", "0", "--no-mdns"]
        command = [*COMMAND, "up", "--name", NODE, *ports, *flags]
        out = (self.folder / "up.out").open("ab")
        self.up = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out)
        out.close()
        self.pids.add(self.up.pid)
        until(lambda: self.said("hypivisor")["pid"] == self._up().pid, "the hypivisor")

    def _up(self) -> subprocess.Popen[bytes]:
        assert self.up is not None
        assert self.up.poll() is None, f"up ended: {(self.folder / 'up.out').read_text()}"
        return self.up

    def node_pid(self) -> int:
        """Of the process that holds the node's lock."""
        pid = holder_of(self.home / "node" / "lock")
        assert pid is not None, "no node runs"
        return pid

    def end_up(self, number: int = signal.SIGINT) -> int:
        """End `up` with a signal; its exit code."""
        assert self.up is not None
        self.up.send_signal(number)
        code = self.up.wait(PATIENCE_S)
        self.up = None
        return code

    def kill_node(self) -> int:
        """SIGKILL; the pid that it had."""
        pid = self.node_pid()
        os.kill(pid, signal.SIGKILL)
        if self.node is not None:
            self.node.wait(PATIENCE_S)
        until(lambda: holder_of(self.home / "node" / "lock") is None, "the end of the node, threads and all")
        return pid

    def start_node(self) -> int:
        """Start the node again, detached, as a pi that misses it would."""
        self.node = subprocess.Popen(
            [*COMMAND, "node", "run", "--no-mdns"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        pid = self.node.pid
        self.pids.add(pid)
        until(lambda: self.said("node")["pid"] == pid and self.said("node")["linked"], "the node's link")
        return pid

    def run(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return subprocess.run(
            [*COMMAND, *argv],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def end(self) -> None:
        """End everything that was started for this home, politely, and check that it has gone."""
        if self.up is not None:
            if self.up.poll() is None:
                self.up.send_signal(signal.SIGINT)
            self.up.wait(PATIENCE_S)
        pid = holder_of(self.home / "node" / "lock")
        if pid is not None:
            self.pids.add(pid)
            os.kill(pid, signal.SIGTERM)
        if self.node is not None:
            self.node.wait(PATIENCE_S)
        until(lambda: not any(map(is_running, self.pids)), "the end of all processes")

    # --- programs and agents -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def program(
        self, url: str = "", token: str = TOKEN, *, cookie: str = ""
    ) -> AsyncIterator["Program"]:
        """A program on Pi-DE's /ws, or on the address given; with a cookie it is a page of ours."""
        headers = {"Cookie": cookie, "Origin": self.url} if cookie else {"Authorization": f"Bearer {token}"}
        async with socket_to(url or self.ws, **headers) as socket:
            made = Program(socket)
            try:
                yield made
            finally:
                await made.leave()

    @contextlib.asynccontextmanager
    async def owner(self) -> AsyncIterator[Any]:
        """JSON-RPC with the hypivisor as the owner of its machine, an admin."""
        lines = await dial(Path(self.said("hypivisor")["control"]), _unasked)
        reading = asyncio.create_task(lines.run())
        try:
            yield lines.rpc
        finally:
            lines.cut()
            await reading

    @contextlib.asynccontextmanager
    async def agent(self, name: str, **handlers: Any) -> AsyncIterator["Agent"]:
        """A registered agent in this process, as long as the block lasts."""
        made = Agent(self.home, name, **handlers)
        await made.dial()
        try:
            yield made
        finally:
            await made.close()

    @contextlib.contextmanager
    def agent_process(self, name: str) -> Iterator["AgentProcess"]:
        """An agent with a process of its own, which redials."""
        effects = self.folder / f"{name}.effects"
        made = AgentProcess(
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("live_agent.py")), name, str(effects)],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.PIPE,
            ),
            effects,
        )
        self.pids.add(made.process.pid)
        try:
            yield made
        finally:
            made.process.kill()
            made.process.wait(PATIENCE_S)
            made.input.close()


def _unasked(method: str, _params: msgspec.Raw) -> Json:
    """Notices that a test does not follow."""
    return {"method": method}


@contextlib.contextmanager
def new_system() -> Iterator[System]:
    """An empty home in a short folder, ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hpl-"))
    system = System(folder)
    system.sockets.mkdir(mode=0o700)
    (folder / "user").mkdir()
    try:
        yield system
        system.end()
        assert list(system.sockets.glob("*/*")) == [], "sockets were left behind"
    finally:
        for pid in filter(is_running, system.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (system.up, system.node):
            if process is not None:
                process.wait(PATIENCE_S)
        end_agents(system.home)
        shutil.rmtree(folder, ignore_errors=True)


def end_agents(home: Path) -> None:
    """Agents outlive everything, so they are ended one by one: first whoever else would go on with them."""
    for path in home.glob("node/keepers/a-*.json"):
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_text())
            for whose in ("standby_", "keeper_", ""):
                pid, start = known.get(f"{whose}pid"), known.get(f"{whose or 'pid_'}start")
                if pid and start and is_alive(pid, start):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)


def join(other: System, system: System, name: str = "attic") -> None:
    """Make another home a machine of this mesh, and wait for its link."""
    made = system.run("token", "create", "--role", "node", "--json")
    (other.folder / "token").write_text(json.loads(made.stdout)["token"])
    where = f"127.0.0.1:{system.said('hypivisor')['enrol_port']}"
    token = ("--token-file", str(other.folder / "token"))
    joined = other.run("node", "join", where, *token, "--name", name, "--no-mdns")
    assert joined.returncode == 0, joined.stderr
    other.pids.add(other.node_pid())
    until(lambda: other.said("node")["linked"], "the link of the other machine")


def socket_to(url: str, **headers: str) -> Any:
    """A WebSocket, as the contract's programs open it."""
    return connect(url, additional_headers=headers, compression=None, max_size=None, open_timeout=SOON_S)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of HTTP."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, "" when there is none."""
        return next((value for key, value in self.headers if key == name.lower()), "")

    @property
    def json(self) -> Json:
        """The body, when it is JSON."""
        found: Json = json.loads(self.body)
        return found


async def http(url: str, *headers: tuple[str, str], method: str = "GET", body: Any = None) -> Answer:
    """One request with exactly these headers, besides a Host when none is given: nobody sets more for us."""
    place, _, path = url.partition("://")[2].partition("/")
    host, _, port = place.partition(":")
    lines = [f"{method} /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if not any(name == "Host" for name, _ in headers):
        lines.append(f"Host: {place}")
    sent = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(sent)}"]
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
        async with asyncio.timeout(SOON_S):
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            found = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in rest)]
            answer = Answer(int(first.split()[1]), found, b"")
            if answer.status == 101:
                return answer
            length = int(answer.header("content-length") or 0)
            return Answer(answer.status, found, await reader.readexactly(length))
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def handshake(url: str, *headers: tuple[str, str]) -> Answer:
    """The answer to a WebSocket handshake with these headers."""
    upgrade = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"))
    key = ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
    return await http(url, *upgrade, key, *headers)


# --- a program on /ws ------------------------------------------------------------------------------------


class Refused(Exception):
    """An error of JSON-RPC."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Json = error.get("data", {})


@dataclass(slots=True)
class Following:
    """An agent's stream as one program has it, checked event by event."""

    agent: str
    epoch: str
    seq: int  # all events up to this one have come, or were in the snapshot
    resume: str
    snapshot: Json | None
    events: list[Json] = field(default_factory=list)
    resets: list[Json] = field(default_factory=list)

    def take(self, params: Json) -> None:
        """A batch; a hole or a repeat fails the test."""
        if self.resets:
            raise AssertionError("events came after the reset of their stream")
        assert params["epoch"] == self.epoch
        for event in params["events"]:
            first = event.get("first_seq", event["seq"])
            assert first == self.seq + 1, f"event {first} came after {self.seq}"
            self.seq = event["seq"]
            self.events.append(event)

    def of_type(self, *types: str) -> list[Json]:
        """The events of some types."""
        return [event for event in self.events if event["type"] in types]

    def text(self) -> str:
        """All text that streamed."""
        return "".join(event["delta"] for event in self.of_type("text_delta"))


class Program:
    """JSON-RPC over one WebSocket: keeps the roster and the streams that it follows."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.nodes: dict[str, Json] = {}
        self.agents: dict[str, Json] = {}
        self.mesh: Json = {}
        self.following: dict[str, Following] = {}
        self.notices: list[Json] = []
        self.complaints: list[Json] = []  # errors with no id: what we sent was not even a request
        self._answers: dict[Any, asyncio.Future[Json]] = {}
        self._asked: dict[Any, str] = {}
        self._numbers = 0
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    # --- reading -----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        broken: Exception | None = None
        try:
            async for raw in self.socket:
                self._take(json.loads(raw))
                self._news.set()
        except ConnectionClosed:
            pass
        except Exception as exc:
            broken = exc  # what was read makes no sense: that is why nobody is answered
            raise
        finally:
            why = broken or ConnectionError(f"closed with {self.socket.close_code}")
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(why)
                    answer.exception()
            self._news.set()

    def _take(self, message: Json) -> None:
        if "method" in message:
            self._notice(message["method"], message["params"])
            self.notices.append(message)
        elif message["id"] is None:
            self.complaints.append(message["error"])
        else:
            method, answer = self._asked.pop(message["id"], ""), self._answers.pop(message["id"], None)
            if "error" in message:
                if answer is not None:
                    answer.set_exception(Refused(message["error"]))
                    answer.exception()
                return
            if method == "agent.attach":  # here, since events may be right behind
                self._attached(message["result"])
            elif method == "mesh.get":
                self._whole(message["result"])
            if answer is not None and not answer.done():
                answer.set_result(message["result"])

    def _notice(self, method: str, params: Json) -> None:
        if method == "agent.events":
            self.following[params["agent"]].take(params)
        elif method == "agent.reset" and not params.get("terminal"):
            self.following[params["agent"]].resets.append(params)
        elif method == "mesh.changed":
            # What changed while the answer to mesh.get was made may be told twice, and is then the same.
            assert params["epoch"] == self.mesh["epoch"]
            assert params["from"] <= self.mesh["rev"] <= params["rev"], "a hole in the roster's revisions"
            self.mesh["rev"] = params["rev"]
            self.nodes |= {node["id"]: node for node in params.get("nodes", ())}
            self.agents |= {agent["id"]: agent for agent in params.get("agents", ())}
            for gone in params.get("gone", ()):
                self.nodes.pop(gone, None)
                self.agents.pop(gone, None)

    def _attached(self, result: Json) -> None:
        self.following[result["agent"]] = Following(
            result["agent"], result["epoch"], result["seq"], result["resume"], result.get("snapshot")
        )

    def _whole(self, result: Json) -> None:
        self.mesh = result
        self.nodes = {node["id"]: node for node in result["nodes"]}
        self.agents = {agent["id"]: agent for agent in result["agents"]}

    # --- asking ------------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Anything, as it is."""
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def begin(self, method: str, **params: Any) -> asyncio.Future[Json]:
        """Send a request; its answer comes later."""
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._answers[number], self._asked[number] = answer, method
        await self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return answer

    async def call(self, method: str, **params: Any) -> Json:
        """The result. Raises Refused."""
        async with asyncio.timeout(SOON_S):  # wait_for loses a cancellation that comes with the answer
            answer: Json = await (await self.begin(method, **params))
            return answer

    async def code_of(self, method: str, **params: Any) -> int:
        """The error code of a call that must be refused."""
        try:
            result = await self.call(method, **params)
        except Refused as exc:
            return exc.code
        raise AssertionError(f"{method} was not refused: {result}")

    async def attach(self, agent: str, **cursor: Any) -> Following:
        """Follow an agent."""
        result = await self.call("agent.attach", agent=agent, **cursor)
        return self.following[result["agent"]]

    async def until(self, look: Callable[[], Any], what: str = "", patience_s: float = SOON_S) -> Any:
        """Wait for messages until `look` finds something in what they have brought."""
        try:
            async with asyncio.timeout(patience_s):
                while not (found := look()):
                    if self._reading.done():
                        await self._reading  # what went wrong there went wrong here
                        raise AssertionError(f"closed with {self.socket.close_code}, before {what}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what or 'it'} did not come to pass in {patience_s:g} s") from None
        return found

    async def knows(self, agent: str, patience_s: float = SOON_S, **wanted: Any) -> Json:
        """The agent (by id), once the roster says of it what is wanted."""
        if not self.mesh:
            await self.call("mesh.get")

        def look() -> Json | None:
            shape = self.agents.get(agent)
            return shape if shape and all(shape[key] == value for key, value in wanted.items()) else None

        found: Json = await self.until(look, f"{agent} with {wanted}", patience_s)
        return found

    def params_of(self, method: str, **having: Any) -> list[Json]:
        """The params of notices of a method in the order in which they came."""
        found = [notice["params"] for notice in self.notices if notice["method"] == method]
        return [p for p in found if all(p.get(key) == value for key, value in having.items())]

    async def closed(self) -> int:
        """The close code, once the connection has ended."""
        async with asyncio.timeout(SOON_S):
            await self.socket.wait_closed()
            await self._reading
        assert self.socket.close_code is not None
        return self.socket.close_code

    async def leave(self) -> None:
        """Close the socket; what went wrong while reading fails the test."""
        await self.socket.close()
        await self._reading


# --- an agent --------------------------------------------------------------------------------------------


class Agent:
    """A small real agent: keeps its events until they are acknowledged, its prompts and scrolls by id."""

    def __init__(self, home: Path, name: str, *, deliver: Any = None, kind: str = "script") -> None:
        self.name = name
        self.kind = kind
        self.id = ""
        self.url = ""
        self.instance = str(uuid.uuid4())
        self.prompts: list[Json] = []
        self.scrolls: list[Json] = []
        self.asked: list[str] = []  # other methods that the node has called
        self.notices: list[tuple[str, Json]] = []
        self.entries = [entry(f"e{number}", "user", f"old {number}") for number in range(5)]
        self.receipt: Any = {"receipt": "queued"}  # its answer to prompts
        self.rpc: Any = None
        self._home = home
        self._deliver: Callable[[Json], Awaitable[Any]] | None = deliver
        self._sent: list[Json] = []
        self._registered = False
        self._lines: Lines | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def dial(self) -> None:
        """Connect and register; what the node lacks is sent again."""
        address = Path((self._home / "node" / "agent.addr").read_text().strip())
        self._lines = await dial(address, self._answer)
        self._reading = asyncio.create_task(self._read())
        self.rpc = self._lines.rpc
        registered = await self.call("agent.register", **self.hello())
        self.id, self.name, self.url = registered["agent"], registered["name"], registered["url"]
        self._registered = True
        if left := self._sent[registered["acked"] :]:
            await self.call("agent.events", **{"from": registered["acked"] + 1, "events": left})

    async def _read(self) -> None:
        assert self._lines is not None
        try:
            await self._lines.run()
        finally:
            self._registered = False

    def hello(self) -> Json:
        """The params of agent.register."""
        card = {"model": "acme/parrot", "tools": [{"name": "repeat", "description": ""}], "skills": []}
        who = {"instance": self.instance, "kind": self.kind, "name": self.name, "pid": os.getpid()}
        return {**who, "cwd": str(self._home.parent), "card": card}

    async def call(self, method: str, **params: Any) -> Json:
        """Ask the node."""
        result: Json = await self.rpc.call(method, params, SOON_S)
        return result

    async def emit(self, *events: Json) -> None:
        """Send events; returns when the node has them, or at once when they have to wait for it."""
        first = len(self._sent) + 1
        self._sent += events
        if self._registered:
            await self.call("agent.events", **{"from": first, "events": list(events)})

    async def say(self, text: str) -> None:
        """Stream a message, a word at a time, and make it an entry."""
        message = f"m{len(self.entries)}"
        done = entry(f"e{len(self.entries)}", "assistant", text, message)
        await self.emit(
            {"type": "message_start", "message_id": message, "role": "assistant"},
            *({"type": "text_delta", "message_id": message, "block": 0, "delta": part} for part in text),
        )
        self.entries.append(done)
        await self.emit({"type": "message_end", "message_id": message, "entry": done})

    def _answer(self, method: str, raw: msgspec.Raw) -> Any:
        params: Json = msgspec.json.decode(raw)
        match method:
            case "snapshot":
                last = self.entries[-params["limit"] :]
                return {"entries": last, "more": len(last) < len(self.entries), "running": None}
            case "history":
                ids = [one["id"] for one in self.entries]
                end = ids.index(params["before"])
                first = max(0, end - params["limit"])
                return {"entries": self.entries[first:end], "more": first > 0}
            case "prompt":
                return self._take_prompt(params)
            case "deliver":
                return self._take_scroll(params["scroll"])
            case "abort" | "stop":
                self.asked.append(method)
                self._news.set()
                return {}
            case "scroll.changed" | "approval.decided" | "policy":
                self.notices.append((method, params))
                self._news.set()
                return {}
        raise UnknownMethod(method)

    async def _take_prompt(self, params: Json) -> Json:
        if params["id"] not in {prompt["id"] for prompt in self.prompts}:
            self.prompts.append(params)
            self._news.set()
            message = f"m{len(self.entries)}"
            self.entries.append(entry(f"e{len(self.entries)}", "user", params["text"], message))
            told = {"message_id": message, "text": params["text"], "source": params["source"]}
            await self.emit({"type": "user_message", **told, "prompt_id": params["id"]})
        return self.receipt

    async def _take_scroll(self, scroll: Json) -> Any:
        if self._deliver is not None:
            return await self._deliver(scroll)
        if scroll["scroll_id"] in {known["scroll_id"] for known in self.scrolls}:
            return {}
        self.scrolls.append(scroll)
        self._news.set()
        return {"opcode_type": "text_display", "content": f"read: {scroll['message']}"}

    async def until(self, look: Callable[[], Any], what: str) -> Any:
        """Wait for calls of the node until `look` finds something in what they have brought."""
        try:
            async with asyncio.timeout(SOON_S):
                while not (found := look()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come to pass") from None
        return found

    async def dropped(self) -> None:
        """Return when the node has ended the connection."""
        assert self._reading is not None
        await asyncio.wait_for(asyncio.shield(self._reading), SOON_S)

    async def cut(self) -> None:
        """Lose the socket, with no word."""
        if self._lines is not None:
            assert self._reading is not None
            self._lines.cut()
            await self._reading
            self._lines = None

    async def close(self) -> None:
        """Say goodbye, as far as there is somebody to say it to."""
        if self._lines is not None:
            with contextlib.suppress(HyperPiError):
                await self.call("agent.bye", reason="quit")
        await self.cut()


def entry(entry_id: str, role: str, text: str, message_id: str | None = None) -> Json:
    """An Entry of the contract."""
    blocks = [{"type": "text", "text": text}]
    at = "2026-01-05T10:00:00.000Z"
    return {"id": entry_id, "message_id": message_id, "role": role, "at": at, "blocks": blocks}


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """An agent in a process of its own. It writes what it was told to do to a file, a line each."""

    process: subprocess.Popen[bytes]
    effects_path: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    @property
    def input(self) -> IO[bytes]:
        """Commands that it runs, a line each, whether it is connected or not."""
        assert self.process.stdin is not None
        return self.process.stdin

    def effects(self) -> list[Json]:
        """What it did so far, oldest first: every registration, prompt, scroll."""
        try:
            return [json.loads(line) for line in self.effects_path.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def did(self, what: str) -> list[Json]:
        """Its effects of one kind."""
        return [effect for effect in self.effects() if effect["did"] == what]

    def registered(self, times: int = 1) -> Json:
        """The answer to its registration number `times`, once it has one."""
        found: list[Json] = until(lambda: self.did("register")[times - 1 :], f"registration {times}")
        return found[0]
