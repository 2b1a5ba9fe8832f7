"""Texts of others reach a pi: once each, in order, and never at the cost of a running turn."""

import asyncio

from model_server import ModelServer
from rig import PiRig, needs_pi
from stand_in import Json, StandIn

pytestmark = needs_pi


async def test_prompts_of_one_instant_all_run_in_order_and_an_id_runs_once(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        await node.registered()
        burst = [node.ask("prompt", {"text": f"n{i}", "id": f"p{i}", "mode": "prompt"}) for i in range(5)]
        again = node.ask("prompt", {"text": "n0", "id": "p0", "mode": "prompt"})
        answers = await asyncio.gather(*burst, again)
        assert [answer["result"]["receipt"] for answer in answers[:-1]] == ["queued"] * 5
        assert answers[-1]["result"]["receipt"] in {"queued", "delivered"}
        await node.entry("assistant", "ECHO: n4")
        await node.until(lambda: node.state() == "idle")
        assert [e["prompt_id"] for e in node.all("user_message")] == [f"p{i}" for i in range(5)]
        assert (await node.prompt("n0", "p0"))["result"] == {"receipt": "delivered"}
        assert (await node.prompt("last", "p5"))["result"] == {"receipt": "queued"}
        await node.entry("assistant", "ECHO: last")
        assert len(node.all("user_message")) == 6


async def test_a_busy_pi_takes_steering_before_follow_ups_and_loses_neither(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless() as pi:
        await node.registered()
        await node.prompt("hold: a", "p1")
        await node.event("text_delta")
        await node.prompt("later", "p2", "follow_up")
        await node.prompt("also later", "p3")
        await node.prompt("now please", "p4", "steer")
        await pi.command("follow_up", message="typed")
        assert len(node.all("user_message")) == 1
        model.release("a")
        await node.entry("assistant", "ECHO: typed")
        await node.entry("assistant", "ECHO: also later")
        # What was typed is in pi's own queue already; ours wait where they can still be taken back.
        order = [(e["text"], e["source"]) for e in node.all("user_message")]
        assert order == [
            ("hold: a", "pide"),
            ("now please", "pide"),
            ("typed", "rpc"),
            ("later", "pide"),
            ("also later", "pide"),
        ]
        assert node.states().count("working") == 1  # one turn of pi after the other, without a rest


async def test_what_waits_is_seen_and_can_be_taken_back_until_pi_has_it(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("hold: a", "p1")
        await node.event("text_delta")
        for number, mode in enumerate(("follow_up", "prompt", "steer", "follow_up"), 2):
            await node.prompt(f"text {number}", f"p{number}", mode)
        waiting = await node.until(lambda: _queue(node) if len(_queue(node)) == 4 else None)
        assert [(one["id"], one["where"]) for one in waiting] == [
            ("p2", "agent"),
            ("p3", "agent"),
            ("p4", "handed"),
            ("p5", "agent"),
        ]
        assert (await node.snapshot())["queue"] == waiting
        taken = await node.call("unqueue", {"id": "p3"})
        assert taken["result"] == {"text": "text 3", "mode": "prompt", "images": 0}
        await node.prompt("long " * 1_000, "p-long", "follow_up")
        long = await node.until(lambda: next((one for one in _queue(node) if one["id"] == "p-long"), None))
        assert (long["text"], long["cut"]) == ("long " * 200, 4_000), "nothing that was not in the prompt"
        assert (await node.call("unqueue", {"id": "p-long"}))["result"]["text"] == "long " * 1_000
        assert (await node.prompt("text 3", "p3"))["result"] == {"receipt": "cancelled"}
        assert (await node.call("unqueue", {"id": "p4"}))["error"]["code"] == -32009
        assert (await node.call("unqueue", {"id": "p1"}))["error"]["code"] == -32009
        assert (await node.call("unqueue", {"id": "p9"}))["error"]["code"] == -32004
        model.release("a")
        await node.entry("assistant", "ECHO: text 5")
        await node.until(lambda: _queue(node) == [])
        assert [e["prompt_id"] for e in node.all("user_message")] == ["p1", "p4", "p2", "p5"]


def _queue(node: StandIn) -> list[Json]:
    return next((c["queue"] for c in reversed(node.said("changed")) if "queue" in c), [])


# One red pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"


async def test_a_picture_reaches_the_model_and_stands_in_the_conversation(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("what is this?", "p1", images=[{"mime": "image/png", "data": PIXEL}])
        await node.entry("assistant", "ECHO: what is this?")
        entry = await node.entry("user", "what is this?")
        assert entry["blocks"][1] == {"type": "image", "mime": "image/png", "data": PIXEL}
        asked = model.requests[-1]["messages"][-1]["content"]
        pictures = [part["image_url"]["url"] for part in asked if part["type"] == "image_url"]
        assert pictures == [f"data:image/png;base64,{PIXEL}"]
        assert node.having("user_message", prompt_id="p1")


async def test_a_picture_for_a_model_that_sees_none_is_refused_and_not_left_out(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless("--model", "fake/fake-2"):
        await node.registered()
        answer = await node.prompt("what is this?", "p1", images=[{"mime": "image/png", "data": PIXEL}])
        assert answer["error"]["message"] == "fake/fake-2 takes no pictures"
        await node.prompt("and without?", "p2")
        await node.entry("assistant", "ECHO: and without?")
        assert len(model.requests) == 1


async def test_abort_ends_the_turn_marks_it_and_leaves_pi_ready(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("hold: never", "p1")
        await node.streams("three")
        assert (await node.call("abort"))["result"] == {}
        entry = await node.entry("assistant", "one two three")
        assert entry["interrupted"] is True
        await node.until(lambda: node.state() == "idle")
        await node.prompt("hello", "p2")
        assert "interrupted" not in await node.entry("assistant", "ECHO: hello")


async def test_a_pi_says_what_it_does_not_take_and_lives(rig: PiRig, node: StandIn) -> None:
    (rig.agent_dir / "models.json").write_text("{}")
    async with rig.headless() as pi:
        await node.registered()
        for params in ({}, {"text": "x"}, {"text": "x", "id": "1", "mode": "shout"}, {"text": "", "id": "2"}):
            answer = await node.call("prompt", params)
            assert answer["error"]["code"] == -32602
        answer = await node.prompt("hello", "3")
        assert answer["error"]["code"] == -32009
        assert "/model" in answer["error"]["data"]["hint"]
        assert (await node.call("resize", {"cols": 80, "rows": 24}))["error"]["code"] == -32601
        assert (await node.call("history", {"before": "nonsense"}))["error"]["code"] == -32010
        assert (await node.call("ping"))["result"] == {}
        assert (await pi.command("get_state"))["success"]
