"""A pi is seen: it registers by itself, and its conversation is streamed as it happens."""

import time

from model_server import ModelServer
from rig import PiRig, needs_pi
from stand_in import StandIn, text_of

pytestmark = needs_pi


async def test_a_pi_registers_within_a_second_of_its_start_with_folder_tools_and_model(
    rig: PiRig, node: StandIn
) -> None:
    async with rig.headless() as pi:
        await pi.command("get_state")
        ready = time.monotonic()
        hello = await node.registered()
        assert time.monotonic() - ready < 1.0
        assert hello["kind"] == "pi"
        assert hello["cwd"] == str(rig.project)
        assert hello["session"]["id"]
        assert hello["card"]["model"] == "fake/fake-1"
        tools = hello["card"]["tools"]
        assert "bash" in [tool["name"] for tool in tools if tool["active"]]
        await node.until(lambda: node.state() == "idle")
        assert [tool["active"] for tool in tools] == sorted((tool["active"] for tool in tools), reverse=True)


async def test_a_prompt_is_echoed_with_its_id_and_streamed_until_the_session_has_the_entry(
    rig: PiRig, node: StandIn
) -> None:
    async with rig.headless() as pi:
        await node.registered()
        answer = await node.prompt("slow: 5", "p1")
        assert answer["result"] == {"receipt": "queued"}
        entry = await node.entry("assistant", "w0 w1")
        await node.worked()

        echo = node.having("user_message")
        assert echo is not None
        assert (echo["text"], echo["source"], echo["prompt_id"]) == ("slow: 5", "pide", "p1")
        message_id = entry["message_id"]
        assert node.having("message_start", message_id=message_id, role="assistant")
        deltas = node.all("text_delta", message_id=message_id)
        assert len(deltas) > 1
        assert "".join(delta["delta"] for delta in deltas) == "w0 w1 w2 w3 w4"
        assert {delta["block"] for delta in deltas} == {0}

        known = (await node.snapshot())["entries"]
        assert [e["id"] for e in known] == [e["entry"]["id"] for e in node.all("message_end")]
        assert known[-1] == entry
        assert node.numbers == list(range(1, len(node.numbers) + 1))
        assert pi.process.returncode is None


async def test_states_and_usage_are_told_as_they_change(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("hold: a", "p1")
        await node.until(lambda: node.state() == "working")
        model.release("a")
        await node.worked()
        usage = await node.event("usage")
        assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
        totals = [change["usage"] for change in node.said("changed") if "usage" in change][-1]
        totals.pop("context", None)
        assert totals == {"input_tokens": 11, "output_tokens": 7, "cost_usd": 0}


async def test_a_tool_call_is_seen_from_its_start_to_its_entry(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("run: echo out-$((40+2))", "p1")
        await node.entry("assistant", "The command printed: out-42")
        start = await node.event("tool_start")
        assert (start["name"], start["args"]) == ("bash", {"command": "echo out-$((40+2))"})
        end = await node.event("tool_end", call_id=start["call_id"])
        assert "out-42" in end["result"]
        assert end["is_error"] is False
        assert end["duration_ms"] >= 0
        entries = {e["entry"]["role"]: e["entry"] for e in node.all("message_end")}
        assert entries["tool"]["blocks"][0]["call_id"] == start["call_id"]
        caller = next(e["entry"] for e in node.all("message_end") if e["message_id"] == start["message_id"])
        assert caller["blocks"][-1]["type"] == "tool_call"


async def test_reasoning_is_streamed_apart_and_a_character_split_over_two_deltas_arrives_whole(
    rig: PiRig, node: StandIn
) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("think: so it is", "p1")
        entry = await node.entry("assistant", "so it is")
        assert [block["type"] for block in entry["blocks"]] == ["thinking", "text"]
        thought = "".join(delta["delta"] for delta in node.all("thinking_delta"))
        assert thought == entry["blocks"][0]["text"] == "let me see"

        await node.prompt("pair: crab ", "p2")
        entry = await node.entry("assistant", "crab")
        assert text_of(entry) == "crab \N{CRAB} end"
        assert node.text() == "so it is" + text_of(entry)
