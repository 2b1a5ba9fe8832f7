"""What the mesh costs: start, latency, fan-out, memory. `python -m bench.mesh [--json]`.

Three processes on one machine: an agent (this one), the node, hypivisor with Pi-DE; the viewer is this one.
The peer for latency is a grpc.aio stream ping-pong taken in the same run.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import grpc

from bench.figure import Figure, at_least, at_most, table_of
from bench.running import Json, System, Viewer, agent, cpu_s, running

ROUNDS = 1_000
TOKENS = 1_000
FAN_OUT_VIEWERS = 100
FAN_OUT_EVENTS = 1_000
BATCH = 20
QUIET_AGENTS = 50
SETTLE_S = 20.0  # the first look tells the load of each; what the work before left behind is put away
IDLE_S = 60.0  # several beats of everything that beats, and 0.02 % is a clock tick
KILLS = 5


def measure() -> list[Figure]:
    """All figures, in one run of one system."""
    with running() as system:
        return asyncio.run(_measure(system))


async def _measure(system: System) -> list[Figure]:
    figures = [await first_agent(system)]
    figures += await latency(system)
    figures.append(await token_bytes(system))
    figures.append(await fan_out(system))
    figures.append(await killed_agent(system))
    figures += await at_rest(system)
    return figures


async def first_agent(system: System) -> Figure:
    """From the command `hyperpi up` to a viewer that is shown an agent which registered meanwhile."""
    async with agent(system, "first") as first, system.viewer() as viewer:
        shown = await viewer.call("mesh.get", {})
        while first.id not in {found["id"] for found in shown["agents"]}:
            shown = await viewer.call("mesh.get", {})
        took_s = time.perf_counter() - system.started
    return at_most("`hyperpi up` to the first agent shown", took_s, "s", 2.0, "home, CA and join included")


async def latency(system: System) -> list[Figure]:
    """One event at a time, from the agent's socket to a frame at the viewer."""
    times_ms = []
    async with agent(system, "latency") as source, system.viewer() as viewer:
        await viewer.attach(source.id)
        for number in range(ROUNDS):
            text = f"word-{number}"
            started = time.perf_counter()
            sending = asyncio.create_task(source.emit([_delta(text)]))
            await _until_delta(viewer, text)
            times_ms.append((time.perf_counter() - started) * 1e3)
            await sending
    times_ms.sort()
    p50, p99 = times_ms[ROUNDS // 2], times_ms[ROUNDS * 99 // 100]
    ping_ms = await ping_pong_ms()
    peer = f"grpc.aio stream ping-pong p50 {ping_ms:.2f} ms, so {p50 / ping_ms:.1f} of them"
    return [
        at_most(
            "event, agent socket to WebSocket, p50", p50, "ms", 3.0, f"{ROUNDS} events, 3 processes", peer
        ),
        at_most(
            "event, agent socket to WebSocket, p99", p99, "ms", 15.0, f"slowest {times_ms[-1]:.1f} ms", peer
        ),
    ]


async def ping_pong_ms() -> float:
    """p50 of one message there and back over a grpc.aio stream in this process."""

    async def echo(requests: object, _context: object) -> object:
        async for request in requests:  # type: ignore[attr-defined]
            yield request

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.stream_stream_rpc_method_handler(echo)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = channel.stream_stream("/bench/Echo")()
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            await stream.write(b"x" * 200)
            await stream.read()
            times.append((time.perf_counter() - started) * 1e3)
        stream.cancel()
    await server.stop(0)
    return statistics.median(times)


async def token_bytes(system: System) -> Figure:
    """What a client receives for 1,000 tokens that come one by one."""
    async with agent(system, "tokens") as source, system.viewer() as viewer:
        await viewer.attach(source.id)
        viewer.received_bytes = 0
        for number in range(TOKENS):
            sending = asyncio.create_task(source.emit([_delta(f" w{number % 10}")]))
            await _until_delta(viewer, f" w{number % 10}")
            await sending
        kilobytes = viewer.received_bytes / 1000
    return at_most("bytes to a client for 1,000 tokens, a frame each", kilobytes, "kB", 230, "deltas only")


async def fan_out(system: System) -> Figure:
    """One agent, many viewers: event deliveries a second, everybody gets everything."""

    async def follow(viewer: Viewer) -> int:
        seen = 0
        while seen < FAN_OUT_EVENTS:
            message = await viewer.next()
            if message.get("method") == "agent.events":
                seen += len(message["params"]["events"])
        return seen

    async with contextlib.AsyncExitStack() as stack:
        source = await stack.enter_async_context(agent(system, "fan"))
        viewers = [await stack.enter_async_context(system.viewer()) for _ in range(FAN_OUT_VIEWERS)]
        for viewer in viewers:
            await viewer.attach(source.id)
        started = time.perf_counter()
        following = [asyncio.create_task(follow(viewer)) for viewer in viewers]
        for first in range(0, FAN_OUT_EVENTS, BATCH):
            await source.emit([_delta(f"w{number}") for number in range(first, first + BATCH)])
        delivered = sum(await asyncio.gather(*following))
        rate = delivered / (time.perf_counter() - started)
    words = f"{FAN_OUT_VIEWERS} viewers, {FAN_OUT_EVENTS} events, all of them in this one process"
    return at_least("event deliveries a second to 100 viewers", rate, "1/s", 50_000, words)


async def killed_agent(system: System) -> Figure:
    """From SIGKILL of an agent's process to a viewer that is told that it has exited."""
    times_s = []
    async with system.viewer() as viewer:
        for number in range(KILLS):
            command = [sys.executable, "-m", "bench.running", str(system.home), f"victim-{number}"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            victim = process.stdout.readline().strip()
            await viewer.attach(victim)
            started = time.perf_counter()
            process.kill()
            while not _is_exit(await viewer.next(), victim):
                pass
            times_s.append(time.perf_counter() - started)
            process.wait()
    slowest_ms = max(times_s) * 1e3
    return at_most("agent SIGKILL to seen as exited", slowest_ms, "ms", 200, f"slowest of {KILLS}")


def _is_exit(message: Json, agent_id: str) -> bool:
    changed = message["params"].get("agents", ()) if message.get("method") == "mesh.changed" else ()
    return any(found["id"] == agent_id and found["state"] == "exited" for found in changed)


async def at_rest(system: System) -> list[Figure]:
    """Memory (proportional set size) with nothing to do, and processor time with agents that do nothing."""
    await asyncio.sleep(1)
    pids = {
        "hypivisor + Pi-DE": system.said("hypivisor")["pid"],
        "node": system.said("node")["pid"],
    }
    limits_mb = {"hypivisor + Pi-DE": 90, "node": 70}
    figures = [
        at_most(f"memory at rest, {name}", pss_mb(pid), "MB", limits_mb[name], "PSS")
        for name, pid in pids.items()
    ]
    async with contextlib.AsyncExitStack() as stack:
        for number in range(QUIET_AGENTS):
            await stack.enter_async_context(agent(system, f"quiet-{number}"))
        await asyncio.sleep(SETTLE_S)
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        await asyncio.sleep(IDLE_S)
        words = f"{QUIET_AGENTS} quiet agents, over {IDLE_S:g} s, {len(os.listdir('/proc'))} entries in /proc"
        for name, pid in pids.items():
            percent = 100 * (cpu_s(pid) - before[name]) / IDLE_S
            figures.append(at_most(f"processor at rest, {name}", percent, "%", 0.5, words))
    return figures


def _delta(text: str) -> Json:
    return {"type": "text_delta", "message_id": "m1", "block": 0, "delta": text}


async def _until_delta(viewer: Viewer, text: str) -> None:
    while True:
        message = await viewer.next()
        if message.get("method") == "agent.events" and any(
            event.get("delta") == text for event in message["params"]["events"]
        ):
            return


def pss_mb(pid: int) -> float:
    """Proportional set size of a process, in megabytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    raise LookupError(pid)


if __name__ == "__main__":
    table_of("mesh", measure)
