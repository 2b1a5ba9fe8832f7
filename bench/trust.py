"""What trust costs: the guards on the way of a scroll, joining, the login page, renewal under load.

`python -m bench.trust [--json]`. The guards are measured against the same system without them (see
`bench.unguarded`), in turns; joins are whole processes on this machine, each with a node of its own.
"""

import asyncio
import contextlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from cryptography import x509

from bench.figure import Figure, at_most, table_of
from bench.running import (
    SHM,
    Agent,
    Json,
    System,
    Viewer,
    agent,
    cpu_s,
    end_node,
    joined,
    running,
    write_join_token,
)
from bench.unguarded import CHECKED, SWITCHED, UNCHECKED, WITH, WITHOUT
from hyperpi import channels, roles, tls
from hypivisor.trust import open_gate
from node import identity

TURNS = 20  # of each kind
SCROLLS = 300  # in a turn
PAIRS = 1_500
IN_FLIGHT = 64
PURE_CALLS = 200_000
JOINS = 20
HANDSHAKES = 50
ROTATIONS = 30
LIFE_S = 3
LOAD_S = 600.0  # thirty rotations take one
PATIENCE_S = 10.0
SCROLL: Json = {"to": "reader@far", "message": "x" * 200}
IMPORTS = re.compile(r"""^(?:import|export)[^;]*?["'](\.[^"']+)["'];""", re.MULTILINE)
NAMED = re.compile(r'(?:href|src)="(/static/[^"]+)"')


def measure() -> list[Figure]:
    """All figures."""
    return [*guards(), *pure_costs(), *joining(), *renewal()]


# --- the guards ------------------------------------------------------------------------------------------


def guards() -> list[Figure]:
    """The same scrolls over the same processes with and without interceptor and role check."""
    with (
        running(module="bench.unguarded", stdout=subprocess.PIPE) as system,
        joined(system, "far") as far,
    ):
        return asyncio.run(_guards(system, far))


async def _guards(system: System, far: System) -> list[Figure]:
    turns: dict[bool, list[Turn]] = {True: [], False: []}
    async with agent(far, "reader") as reader, system.viewer() as viewer:
        await viewer.attach(reader.id)
        sender = Sender(viewer, reader)
        await sender.burst()  # warm
        checks = await _checks(system, sender)
        for number in range(2 * TURNS):
            guarded = number % 4 in (0, 3)  # with, without, without, with: a drift hits both
            await asyncio.to_thread(switch, system, WITH if guarded else WITHOUT)
            turns[guarded].append(await _turn(system, sender))
    return [
        checks,
        compared(f"scroll delivered, {IN_FLIGHT} in flight", turns, lambda turn: turn.delivered_s),
        compared("processor time of the hypivisor", turns, lambda turn: turn.worked_s),
    ]


async def _checks(system: System, sender: "Sender") -> Figure:
    """Scrolls one at a time, every other one unchecked: what disturbs one disturbs its neighbour too."""
    times_s: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * PAIRS):
        guarded = number % 4 in (0, 3)
        switch(system, CHECKED if guarded else UNCHECKED)
        started = time.perf_counter()
        await sender.send()
        times_s[guarded].append(time.perf_counter() - started)
    ours, theirs = (statistics.median(times_s[guarded]) for guarded in (True, False))
    halves = [statistics.median(times_s[False][first::2]) for first in (0, 1)]
    words = f"without {theirs * 1e3:.3f} ms; without by without {halves[0] / halves[1]:.2f} x"
    what = "guards: scroll accepted, one at a time, with / without"
    return at_most(
        what, ours / theirs, "x", 1.05, f"role check; with {ours * 1e3:.3f} ms, p50 of {PAIRS}", words
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """What one scroll cost, in seconds."""

    delivered_s: float  # many in flight
    worked_s: float  # of the hypivisor's processor


async def _turn(system: System, sender: "Sender") -> Turn:
    assert system.up is not None
    before_s = cpu_s(system.up.pid)
    delivered_s = await sender.burst() / SCROLLS
    return Turn(delivered_s, (cpu_s(system.up.pid) - before_s) / SCROLLS)


def compared(what: str, turns: dict[bool, list[Turn]], of: Callable[[Turn], float]) -> Figure:
    """With guards by without, each in the quarter of its turns that others on this machine disturbed least.

    Beside it how much two halves of the turns without guards differ: what is below that is noise.
    """
    ours, theirs = ([of(turn) for turn in turns[guarded]] for guarded in (True, False))
    one, other = quiet(ours), quiet(theirs)
    noise = quiet(theirs[::2]) / quiet(theirs[1::2])
    words = f"without {other * 1e3:.3f} ms; without by without {noise:.2f} x"
    return at_most(
        f"guards: {what}, with / without", one / other, "x", 1.05, f"with {one * 1e3:.3f} ms", words
    )


def quiet(times: list[float]) -> float:
    """The first quartile."""
    return statistics.quantiles(times)[0]


def switch(system: System, number: int) -> None:
    """Have the system change its guards; returns once it has."""
    assert system.up is not None
    assert system.up.stdout is not None
    system.up.send_signal(number)
    while system.up.stdout.readline().strip() != SWITCHED.encode():  # `up` tells how to log in before it
        assert system.up.poll() is None, "the system has ended"


@dataclass(slots=True)
class Sender:
    """A program that sends scrolls to an agent on another machine."""

    viewer: Viewer
    reader: Agent
    sent: list[str] = field(default_factory=list)  # those that were accepted

    async def send(self) -> None:
        """One scroll; returns when it is accepted."""
        answer = await self.viewer.call("scroll.send", SCROLL)
        self.sent.append(answer["scroll_id"])

    async def burst(self) -> float:
        """Seconds until some scrolls, many at once, have reached their agent."""
        await self.reader.read(len(self.sent), PATIENCE_S)
        window = asyncio.Semaphore(IN_FLIGHT)
        started = time.perf_counter()
        answers = asyncio.create_task(self._answers(window))
        for _ in range(SCROLLS):
            await window.acquire()
            await self.viewer.ask("scroll.send", SCROLL)
        await answers
        await self.reader.read(len(self.sent), PATIENCE_S)
        return time.perf_counter() - started

    async def _answers(self, window: asyncio.Semaphore) -> None:
        for _ in range(SCROLLS):
            while "id" not in (message := await self.viewer.next()):
                pass
            self.sent.append(message["result"]["scroll_id"])
            window.release()


def pure_costs() -> list[Figure]:
    """What one call and one new stream pay, alone: nanoseconds."""
    caller = roles.Caller("bench", roles.OPERATOR, "api")

    def checked() -> None:
        roles.check(caller, "scroll.send")
        roles.narrowed(caller, "scroll.send", SCROLL)

    with tempfile.TemporaryDirectory(prefix="hpb-") as folder, open_gate(Path(folder), "bench", None) as gate:
        nodes = channels.NodesOnly(gate.mesh.id, gate.trust.is_revoked)
        node = gate.enroller.adopt(tls.public_key(tls.new_key()), "bench", "bench", "127.0.0.1").node
        uri = tls.node_uri(gate.mesh.id, node.id).encode()
        context = {"ssl_tls_version": [b"TLSv1.3"], "peer_spiffe_id": [uri]}
        call_ns, stream_ns = pure_ns(checked), pure_ns(lambda: nodes.admit(context))
    return [
        at_most("guards: role check, a call", call_ns, "ns", 10_000, "checked at Pi-DE and at the hypivisor"),
        at_most(
            "guards: certificate and revocation, a stream", stream_ns, "ns", 50_000, "once, at its start"
        ),
    ]


def pure_ns(work: Callable[[], None]) -> float:
    """Of one call, in a tight loop."""
    started = time.perf_counter_ns()
    for _ in range(PURE_CALLS):
        work()
    return (time.perf_counter_ns() - started) / PURE_CALLS


# --- joining ---------------------------------------------------------------------------------------------


def joining() -> list[Figure]:
    """From the first connection of `node join` to a viewer that is shown the machine as online."""
    with running() as system:
        times_s = sorted(asyncio.run(_join(system, f"guest-{number}")) for number in range(JOINS))
        weighed = login_page(system)
    words = f"p50 of {JOINS}, with a token; the start of the node's process included"
    worst = f"worst of {JOINS}; fastest {times_s[0]:.2f} s"
    return [
        at_most("join, first connection to online, p50", statistics.median(times_s), "s", 1.0, words),
        at_most("join, first connection to online, worst", times_s[-1], "s", 1.0, worst),
        *weighed,
    ]


async def _join(system: System, name: str) -> float:
    with tempfile.TemporaryDirectory(prefix="hpb-", dir=SHM if SHM.is_dir() else None) as folder:
        machine = System(Path(folder) / "home", time.perf_counter())
        token = await asyncio.to_thread(write_join_token, system, Path(folder))
        try:
            async with (
                door(system.said("hypivisor")["enrol_port"]) as (port, knocked),
                system.viewer() as viewer,
            ):
                await viewer.call("mesh.get", {})
                command = [sys.executable, "-m", "hyperpi.cli.main", "node", "join", f"127.0.0.1:{port}"]
                command += ["--token-file", token, "--name", name, "--no-mdns"]
                process = await asyncio.create_subprocess_exec(
                    *command, env=machine.environment, stdout=subprocess.DEVNULL
                )
                while not _is_online(await viewer.next(), name):
                    pass
                took_s = time.perf_counter() - knocked.result()
                assert await process.wait() == 0
                return took_s
        finally:
            await asyncio.to_thread(end_node, machine)


def _is_online(message: Json, name: str) -> bool:
    changed = message["params"].get("nodes", ()) if message.get("method") == "mesh.changed" else ()
    return any(node["name"] == name and node["state"] == "online" for node in changed)


@contextlib.asynccontextmanager
async def door(enrol_port: int) -> AsyncIterator[tuple[int, asyncio.Future[float]]]:
    """A port that leads to the enrol port, and when the first one came through it."""
    knocked: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not knocked.done():
            knocked.set_result(time.perf_counter())
        there, back = await asyncio.open_connection("127.0.0.1", enrol_port)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    server = await asyncio.start_server(through, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1], knocked


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.close()


# --- the login page --------------------------------------------------------------------------------------


def login_page(system: System) -> list[Figure]:
    """All that a browser which is not logged in loads."""
    url = urlsplit(system.said("hypivisor")["url"])
    assert url.hostname is not None
    assert url.port is not None
    bodies, wire = 0, 0
    waiting, seen = ["/", "/me"], {"/", "/me"}
    while waiting:
        path = waiting.pop()
        body, transferred = get(url.hostname, url.port, path)
        bodies, wire = bodies + len(body), wire + transferred
        named = NAMED.findall(body.decode()) if path == "/" else []
        if path.endswith(".js"):
            named = [urljoin(path, name) for name in IMPORTS.findall(body.decode())]
        for name in {*named} - seen:
            seen.add(name)
            waiting.append(name)
    words = f"{len(seen)} requests, nothing compressed"
    return [
        at_most("login page, with all that it loads", bodies / 1000, "kB", 50, words),
        at_most("login page, as transferred, headers too", wire / 1000, "kB", 50, words),
    ]


def get(host: str, port: int, path: str) -> tuple[bytes, int]:
    """The body, and the bytes of the whole answer."""
    with socket.create_connection((host, port), PATIENCE_S) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return answer.partition(b"\r\n\r\n")[2], len(answer)


# --- renewal ---------------------------------------------------------------------------------------------


def renewal() -> list[Figure]:
    """Handshakes, and certificates that live for seconds under a steady load."""
    with running("--certificate-life", f"{LIFE_S}s") as system, joined(system, "far") as far:
        return asyncio.run(_renewal(system, far))


async def _renewal(system: System, far: System) -> list[Figure]:
    async with agent(far, "reader") as reader, system.viewer() as viewer:
        await viewer.attach(reader.id)
        sender = Sender(viewer, reader)
        loading = asyncio.create_task(_send_on_and_on(sender))
        try:
            async with asyncio.timeout(LOAD_S):
                rotated = await _rotations(far, loading)
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        with contextlib.suppress(TimeoutError):  # then some are lost, and the table says how many
            await reader.read(len(sender.sent), PATIENCE_S)
        handshakes_ms = [await handshake_ms(system, far) for _ in range(HANDSHAKES)]
    received = set(reader.scrolls)
    lost, doubled = len({*sender.sent} - received), len(reader.scrolls) - len(received)
    words = f"{len(sender.sent)} scrolls accepted, {rotated} certificates of {LIFE_S} s"
    return [
        at_most("renewal under load: scrolls lost", lost, "", 0, words),
        at_most("renewal under load: scrolls doubled", doubled, "", 0, words),
        at_most(
            "mTLS handshake of a machine, p50",
            statistics.median(handshakes_ms),
            "ms",
            50,
            f"{HANDSHAKES} new connections, slowest {max(handshakes_ms):.1f} ms",
        ),
    ]


async def _send_on_and_on(sender: Sender) -> None:
    while True:
        await sender.send()


async def _rotations(machine: System, loading: asyncio.Task[None]) -> int:
    """Return once a machine has had that many certificates more than it has now."""
    path = machine.home / "node" / "identity" / "cert.pem"
    serials: set[int] = set()
    while len(serials) <= ROTATIONS:
        serials.add(x509.load_pem_x509_certificate(path.read_bytes()).serial_number)
        done, _ = await asyncio.wait({loading}, timeout=0.1)
        for task in done:
            task.result()  # what ended the load ends the benchmark
    return len(serials) - 1


async def handshake_ms(system: System, machine: System) -> float:
    """From a socket to a connection on which both sides have shown their certificates."""
    known = identity.load(machine.home / "node" / "identity")
    assert known is not None
    started = time.perf_counter()
    address = f"127.0.0.1:{system.said('hypivisor')['grpc_port']}"
    async with channels.open_channel(address, identity=known.identity) as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_S)
        return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    table_of("trust", measure)
