"""Nodes come, go and misbehave; a pi keeps working, and its stream stays whole."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from model_server import ModelServer
from rig import PiRig, needs_pi
from stand_in import BadNode, StandIn, text_of

pytestmark = needs_pi

MODES = ["prompt", "steer", "follow_up"]


async def test_what_was_not_acknowledged_is_sent_again_once_and_in_order(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        hello = await node.registered()
        await node.prompt("first", "p1")
        await node.entry("assistant", "ECHO: first")
        node.acknowledging = False
        acked = node.acked
        await node.prompt("slow: 6", "p2")
        await node.until(lambda: node.numbers[-1] > acked + 4)
        node.cut()
        node.acknowledging = True
        assert (await node.registered(2))["instance"] == hello["instance"]
        await node.entry("assistant", "w5")
        assert node.numbers.count(acked + 1) == 2
        assert node.acked == len(node.events)
        assert [e["text"] for e in node.all("user_message")] == ["first", "slow: 6"]
        assert node.text() == "ECHO: firstw0 w1 w2 w3 w4 w5"


async def test_a_flapping_link_loses_repeats_and_reorders_nothing(rig: PiRig, node: StandIn) -> None:
    chance = random.Random(7)
    async with rig.headless():
        await node.registered()
        for index in range(6):
            text = "slow: 6" if index % 2 else f"run: echo n{index}; sleep 0.2"
            await node.until(lambda: node.connected)
            asked = node.ask("prompt", {"text": text, "id": f"p{index}", "mode": chance.choice(MODES)})
            await node.event("user_message", prompt_id=f"p{index}")
            assert asked.done()
            heard = len(node.events) + chance.randrange(6)
            await node.until(lambda heard=heard: len(node.events) >= heard or node.state() == "idle")
            node.acknowledging = chance.random() < 0.5
            node.cut()
            await node.until(lambda: not node.connected)
            node.acknowledging = True
        await node.entry("assistant", "w5")
        await node.until(lambda: node.connected and node.state() == "idle")
        entries = (await node.snapshot())["entries"]
        assert [e["entry"] for e in node.all("message_end")] == entries
        for entry in entries:
            if entry["role"] == "assistant":
                deltas = node.all("text_delta", message_id=entry["message_id"])
                assert "".join(delta["delta"] for delta in deltas) == text_of(entry)


async def test_a_pi_starts_without_a_node_meets_one_within_a_second_and_survives_its_restart(
    rig: PiRig, home: Path, model: ModelServer
) -> None:
    async with rig.headless() as pi:
        await pi.command("prompt", message="alone")
        await pi.hears(lambda said: said.get("type") == "agent_end")
        node = await StandIn(home, home / "one.sock").start()
        came_up = time.monotonic()
        hello = await node.registered()
        assert time.monotonic() - came_up < 1.0
        assert [e["role"] for e in (await node.snapshot())["entries"]] == ["user", "assistant"]

        await node.prompt("hold: a", "p1")
        await node.streams("three")
        await node.stop()
        model.release("a")
        await pi.hears(lambda said: "one two three four" in json.dumps(said))
        fresh = await StandIn(home, home / "two.sock").start()
        again = await fresh.registered()
        assert (again["instance"], again["pid"]) == (hello["instance"], hello["pid"])
        assert [e["role"] for e in (await fresh.snapshot())["entries"]] == ["user", "assistant"] * 2
        assert (await fresh.prompt("hold: a", "p1"))["result"] == {"receipt": "delivered"}
        await fresh.stop()


async def _garbage(line: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n{]\n[1,2]\nnull\n")


async def _hangs_up(line: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _huge_lines(line: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"[" * (3 << 20))


async def _silence(line: bytes, writer: asyncio.StreamWriter) -> None:
    pass


async def _nonsense(line: bytes, writer: asyncio.StreamWriter) -> None:
    number = json.loads(line)["id"]
    for reply in (
        {"id": number, "result": None},
        {"id": number, "result": {"acked": "many", "url": {}}},
        {"id": 99, "result": {}},
        {"id": 1, "method": "prompt", "params": [1, 2]},
        {"id": 2, "method": "deliver", "params": {"scroll": {"scroll_id": 7}}},
        {"id": 3, "method": "snapshot", "params": {"limit": -1}},
        {"id": 4, "method": "toString"},
        {"method": "ping"},
    ):
        writer.write(json.dumps({"jsonrpc": "2.0", **reply}).encode() + b"\n")


async def test_a_node_that_misbehaves_in_any_way_does_not_disturb_a_turn(rig: PiRig, home: Path) -> None:
    behaviours: list[Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]]
    behaviours = [_garbage, _hangs_up, _huge_lines, _silence, _nonsense]
    async with rig.headless() as pi:
        for index, behave in enumerate(behaviours):
            async with BadNode(home, home / f"{index}.sock", behave) as bad:
                async with asyncio.timeout(15):
                    await bad.dialled.wait()
                await pi.command("prompt", message=f"run: echo survived-{behave.__name__}")
                wanted = f"The command printed: survived-{behave.__name__}"
                await pi.hears(lambda said, wanted=wanted: wanted in json.dumps(said))
                await pi.hears_count("agent_end", index + 1)
        node = await StandIn(home, home / "good.sock").start()
        await node.registered()
        entries = (await node.snapshot())["entries"]
        assert len(entries) == 4 * len(behaviours)
        await node.stop()
        assert await pi.end() == 0


async def test_an_outbox_that_overflows_leaves_a_hole_in_the_numbers_and_nothing_else(
    rig: PiRig, node: StandIn, home: Path
) -> None:
    async with rig.headless() as pi:
        await node.registered()
        await node.prompt("hello", "p1")
        await node.entry("assistant", "ECHO: hello")
        acked = node.acked
        await node.stop()
        for count in range(3):
            await pi.command("prompt", message="big: 1500000")
            await pi.hears_count("agent_end", 2 + count)
        node.numbers.clear()
        await node.start()
        await node.registered(2)
        await node.prompt("goodbye", "p2")
        await node.entry("assistant", "ECHO: goodbye")
        assert node.numbers[0] > acked + 1
        assert node.numbers == list(range(node.numbers[0], node.numbers[0] + len(node.numbers)))
        assert len((await node.snapshot())["entries"]) == 10
