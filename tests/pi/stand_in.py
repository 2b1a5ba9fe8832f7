"""A small working node for pi-socket alone: it serves the agent socket, acknowledges, and remembers.

`log` holds what came, in order: ("register" | "events" | "changed" | "bye" | "answer", params).
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 15.0  # for what takes milliseconds on an idle machine
URL = "ws://127.0.0.1:31418/agents/stand-in"

Json = dict[str, Any]


class StandIn:
    """One life of a node in the state folder `home`; the address file is all that pi-socket needs."""

    def __init__(self, home: Path, socket: Path) -> None:
        self.home, self.socket = home, socket
        self.log: list[tuple[str, Json]] = []
        self.events: list[Json] = []  # every event once, in order
        self.numbers: list[int] = []  # as they arrived, repetitions too
        self.acked = 0
        self.acknowledging = True
        self.registrations = 0
        self.longest_line = 0
        self.connected = False
        self._happened = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._peers: set[asyncio.Task[None]] = set()
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._next_id = 1
        self._server: asyncio.Server | None = None

    async def start(self) -> "StandIn":
        self.socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self.socket, limit=8 << 20)
        folder = self.home / "node"
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "agent.addr.new"
        fresh.write_text(f"{self.socket}\n")
        os.replace(fresh, folder / "agent.addr")
        return self

    async def stop(self) -> None:
        """As a crash would have it: connections break, the address file stays."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.gather(*self._peers, return_exceptions=True)
        self.socket.unlink(missing_ok=True)

    def cut(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()

    # --- what tests wait for ---------------------------------------------------------------------------

    async def until(self, condition: Callable[[], Any]) -> Any:
        """The first true value of a condition that something arriving makes true."""
        found: Any = None

        def holds() -> bool:
            nonlocal found
            found = condition()
            return bool(found)

        try:
            async with asyncio.timeout(PATIENCE_S), self._happened:
                await self._happened.wait_for(holds)
        except TimeoutError:
            raise AssertionError(f"never came; the newest of the log: {self.log[-8:]}") from None
        return found

    async def registered(self, times: int = 1) -> Json:
        await self.until(lambda: self.registrations >= times and self.connected)
        return self.said("register")[-1]

    async def event(self, kind: str, **members: Any) -> Json:
        """The newest event of a type with these members."""
        found: Json = await self.until(lambda: self.having(kind, **members))
        return found

    def having(self, kind: str, **members: Any) -> Json | None:
        return next((e for e in reversed(self.events) if _has(e, {"type": kind, **members})), None)

    def all(self, kind: str, **members: Any) -> list[Json]:
        return [e for e in self.events if _has(e, {"type": kind, **members})]

    def said(self, what: str) -> list[Json]:
        return [params for name, params in self.log if name == what]

    def text(self) -> str:
        """All text deltas so far."""
        return "".join(event["delta"] for event in self.all("text_delta"))

    async def streams(self, text: str) -> None:
        await self.until(lambda: text in self.text())

    def states(self) -> list[str]:
        return [change["state"] for change in self.said("changed") if "state" in change]

    def state(self) -> str | None:
        return next(reversed(self.states()), None)

    async def worked(self, times: int = 1) -> None:
        """It has begun to work so many times, and is idle again."""
        await self.until(lambda: self.states().count("working") >= times and self.state() == "idle")

    async def entry(self, role: str, text: str) -> Json:
        """The newest `message_end` of a role whose text contains `text`; its entry."""
        found: Json = await self.until(lambda: self.entry_of(role, text))
        return found

    def entry_of(self, role: str, text: str) -> Json | None:
        entries = [e["entry"] for e in self.all("message_end")]
        return next((e for e in reversed(entries) if e["role"] == role and text in text_of(e)), None)

    # --- calling the agent -----------------------------------------------------------------------------

    async def call(self, method: str, params: Json | None = None) -> Json:
        """The whole answer, `result` or `error`."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.ask(method, params)

    def ask(self, method: str, params: Json | None = None) -> "asyncio.Future[Json]":
        """Send a request now; its answer also has the number of `events` that came before it."""
        assert self._writer is not None
        number, self._next_id = self._next_id, self._next_id + 1
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}})
        return answer

    async def prompt(self, text: str, prompt_id: str, mode: str = "prompt", **more: Any) -> Json:
        params = {"text": text, "id": prompt_id, "mode": mode, "source": "pide", **more}
        return await self.call("prompt", params)

    async def snapshot(self, **params: Any) -> Json:
        answer = await self.call("snapshot", params)
        result: Json = answer["result"]
        return result

    def send(self, message: Json) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps(message).encode() + b"\n")

    # --- serving ---------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        self._writer = writer
        try:
            while line := await reader.readline():
                self.longest_line = max(self.longest_line, len(line))
                await self._received(json.loads(line), writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._peers.discard(task)
            writer.close()
            if self._writer is writer:
                async with self._happened:
                    self.connected = False
                    self._happened.notify_all()

    async def _received(self, message: Json, writer: asyncio.StreamWriter) -> None:
        async with self._happened:
            if "method" in message:
                result = self._serve(message["method"], message["params"])
                if result is not None:
                    answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
                    writer.write(json.dumps(answer).encode() + b"\n")
            else:
                found = self._answers.pop(message["id"], None)
                if found is not None and not found.done():
                    found.set_result({**message, "events": len(self.events)})
            self._happened.notify_all()

    def _serve(self, method: str, params: Json) -> Json | None:
        self.log.append((method.partition(".")[2], params))
        match method:
            case "agent.register":
                self.registrations += 1
                self.connected = True
                return {
                    "agent": "a-1",
                    "name": "stand-in",
                    "url": URL,
                    "heartbeat_s": 10,
                    "acked": self.acked,
                }
            case "agent.events":
                return self._take(params)
            case _:
                return {}

    def _take(self, params: Json) -> Json | None:
        first = params["from"]
        self.numbers += range(first, first + len(params["events"]))
        if not self.acknowledging:
            return None
        if first > self.acked + 1:
            self.acked = first - 1
        self.events += params["events"][self.acked + 1 - first :]
        self.acked = max(self.acked, first + len(params["events"]) - 1)
        return {"acked": self.acked}


def text_of(entry: Json) -> str:
    return "".join(str(block.get("text", "")) for block in entry["blocks"])


def _has(event: Json, members: Json) -> bool:
    return all(event.get(key) == value for key, value in members.items())


Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class BadNode:
    """Something on the agent socket that is no node: `behave` gets each line that a pi sends."""

    def __init__(self, home: Path, socket: Path, behave: Answering) -> None:
        self.home, self.socket, self._behave = home, socket, behave
        self.dialled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "BadNode":
        self._server = await asyncio.start_unix_server(self._accept, self.socket)
        (self.home / "node").mkdir(parents=True, exist_ok=True)
        (self.home / "node" / "agent.addr").write_text(str(self.socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.socket.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.dialled.set()
        try:
            while line := await reader.readline():
                await self._behave(line, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
