"""Coming back to a stream, whatever happened to it: every event once and in order, or a snapshot and said so.

The agent counts. Each event carries the next number, and a snapshot says how far it had counted at its place
in the stream, so a viewer knows after each attach which number has to come next.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from live import TOKEN, Agent, Following, Json, Program, System, entry, new_system
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

CUTS = 25
RING_BYTES = 8 << 20


@pytest.fixture
def system():
    with new_system() as found:
        found.start()
        yield found


class Counting(Agent):
    """Emits numbers for ever; its snapshot says which one was the last, in the middle of a message."""

    count = 0
    pace_s = 0.002
    filler = ""

    def _answer(self, method: str, raw: msgspec.Raw) -> Any:
        if method != "snapshot":
            return super()._answer(method, raw)
        running = {"message_id": "m", "role": "assistant", "blocks": [], "tools": []}
        return {"entries": [entry("e", "assistant", str(self.count))], "more": False, "running": running}

    async def count_on(self) -> None:
        while True:
            if self._registered:
                self.count += 1
                with contextlib.suppress(Exception):  # a node that is gone gets it when it is back
                    await self.emit(self.delta(self.count))
            await asyncio.sleep(self.pace_s)

    def delta(self, number: int) -> Json:
        return {"type": "text_delta", "message_id": "m", "block": 0, "delta": f"{number} {self.filler}"}


class Viewer:
    """Follows over all connections; `next` is the number that has to come."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.last: Following | None = None
        self.next = 0
        self.resumes: Counter[str] = Counter()
        self.numbers = 0

    async def look(self, url: str, *, until: int = 1 << 40, port: int | None = None) -> None:
        """One connection, by another port perhaps, until it is cut or that number has been seen."""
        ours = {"Authorization": f"Bearer {TOKEN}"}
        way = {} if port is None else {"host": "127.0.0.1", "port": port}
        async with connect(url, additional_headers=ours, compression=None, max_size=None, **way) as socket:
            program = Program(socket)
            try:
                await self._attached(program)
                await program.until(
                    lambda: program._reading.done() or self._take() or self.next > until, "cut"
                )
            finally:
                self._take()
                await program.leave()

    async def _attached(self, program: Program) -> None:
        last = self.last
        cursor = {"epoch": last.epoch, "seq": last.seq} if last is not None and not last.resets else {}
        self.last = now = await program.attach(self.agent, **cursor)
        self.resumes[now.resume] += 1
        if now.resume == "ok":
            assert last is not None
            assert now.epoch == last.epoch
        else:
            assert now.snapshot is not None
            assert now.snapshot["running"] is not None, "it was attached to in the middle of a turn"
            self.next = int(now.snapshot["entries"][-1]["blocks"][0]["text"]) + 1

    def _taken(self) -> int:
        self._take()
        return self.next

    def _take(self) -> None:
        """Check what has come; the order of the events themselves is checked where they arrive."""
        if self.last is None:
            return
        for event in self.last.events:
            if event["type"] == "text_delta":
                for number in (int(word) for word in event["delta"].split() if word.isdigit()):
                    assert number == self.next, f"{number} came where {self.next} had to"
                    self.next += 1
                    self.numbers += 1
        self.last.events.clear()


@contextlib.asynccontextmanager
async def cutting(url: str, seed: random.Random) -> AsyncIterator[int]:
    """Another port as a way to Pi-DE, which is cut after a random number of bytes from it."""
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other, up = await asyncio.open_connection(host, int(port))
        left = int(10 ** seed.uniform(2.5, 5))

        async def back() -> None:
            nonlocal left
            while left > 0 and (data := await other.read(min(left, 4096))):
                left -= len(data)
                writer.write(data)
                await writer.drain()

        async def there() -> None:
            while data := await reader.read(4096):
                up.write(data)

        ways = [asyncio.create_task(back()), asyncio.create_task(there())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (up, writer):
            end.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def counting(system: System) -> AsyncIterator[Counting]:
    agent = Counting(system.home, "counter")
    await agent.dial()
    async with system.program() as program:
        await program.knows(agent.id)
    work = asyncio.create_task(agent.count_on())
    try:
        yield agent
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await agent.close()


async def test_a_stream_that_is_cut_at_any_byte_has_neither_a_hole_nor_a_repeat(system: System):
    async with counting(system) as agent, cutting(system.ws, random.Random(31)) as port:
        viewer = Viewer(agent.id)
        attempts = 0
        while sum(viewer.resumes.values()) < CUTS or viewer.numbers == 0:
            attempts += 1
            assert attempts < 10 * CUTS
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await viewer.look(system.ws, port=port)
        assert viewer.resumes["ok"] == CUTS - 1, viewer.resumes
        await viewer.look(system.ws, until=agent.count)
        assert viewer.resumes["fresh"] == 1


async def test_a_stream_goes_on_over_a_killed_hypivisor_and_with_a_snapshot_over_a_killed_node(
    system: System,
):
    async with counting(system) as agent:
        viewer = Viewer(agent.id)
        await viewer.look(system.ws, until=agent.count + 50)
        assert system.up is not None
        system.up.kill()
        system.up.wait(10)
        system.start()
        await viewer.look(system.ws, until=agent.count + 50)
        assert viewer.resumes == {"fresh": 1, "ok": 1}
        await agent.cut()
        system.kill_node()
        system.start_node()
        await agent.dial()
        await viewer.look(system.ws, until=agent.count + 50)
        assert viewer.resumes["ok"] == 1, "the node's ring was lost, and nobody says otherwise"
        assert viewer.resumes["gap"] == 1


async def test_what_the_ring_no_longer_holds_is_a_gap_with_a_snapshot(system: System):
    async with counting(system) as agent:
        viewer = Viewer(agent.id)
        await viewer.look(system.ws, until=agent.count + 50)
        agent.filler = "x" * (64 << 10)
        agent.pace_s = 0.0
        last = agent.count + RING_BYTES // (64 << 10) + 50
        while agent.count < last:
            await asyncio.sleep(0.01)
        agent.filler, agent.pace_s = "", 0.002
        await viewer.look(system.ws, until=agent.count + 50)
        assert viewer.resumes == {"fresh": 1, "gap": 1}
