"""Real ACP agents from npm against the scripted model: OpenCode, and pi 1.5 through pi-acp."""

import os
import signal
from collections.abc import Iterator

import pytest
from acp_rig import TURN_S, AcpAgent, needs_acp, prepare, spawned
from live import Program, Refused, System, new_system
from model_server import model_server

pytestmark = [*needs_acp, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with model_server() as model, new_system() as found:
        prepare(found, model.url)
        found.start()
        yield found


async def resumed(program: Program, agent: AcpAgent) -> AcpAgent:
    """Another agent that goes on with the session of one that has ended."""
    again = (await program.call("agent.resume", agent=agent.id))["agent"]
    await program.knows(again, TURN_S, state="idle", resumed_from=agent.id)
    return AcpAgent(program, again, await program.attach(again))


async def answer(agent: AcpAgent, choice: str) -> None:
    await agent.knows(state="waiting", pending=1)
    pending = (await agent.program.call("approval.list", agent=agent.id))["approvals"]
    await agent.program.call("agent.answer", agent=agent.id, approval=pending[0]["id"], choice=choice)


async def test_opencode_asks_does_as_it_is_told_and_comes_back_with_its_history(
    system: System, program: Program
):
    agent = await spawned(system, program, "opencode", "acp")
    shape = await agent.knows()
    assert (shape["model"], shape["mode"], shape["session"]["name"]) == ("fake/fake-1", "build", "OpenCode")
    configured = await program.call("agent.configure", agent=agent.id, model="fake/fake-1")
    assert configured["model"] == "fake/fake-1"
    await agent.turn("hello there")
    assert agent.said("assistant") == ["ECHO: hello there"]

    await agent.prompt("run: echo tool-$((40+2)) | tee made")
    await answer(agent, "once")
    await agent.until(
        lambda: "The command printed: tool-42" in agent.said("assistant"), "the command's output"
    )
    assert (system.folder / "user/project/made").read_text() == "tool-42\n"
    await agent.knows(state="idle")

    await agent.prompt("run: echo no > refused")
    await answer(agent, "reject")
    await agent.until(lambda: agent.blocks("tool_result")[-1]["is_error"], "the refused command's end")
    await agent.knows(state="idle")
    assert not (system.folder / "user/project/refused").exists()

    todo = '{"todos":[{"content":"test","status":"in_progress","priority":"high"}]}'
    await agent.turn(f"tool: todowrite {todo}")
    steps = [{"text": "test", "status": "in_progress", "priority": "high"}]
    assert [plan["steps"] for plan in agent.blocks("plan")] == [steps]

    await agent.prompt("hold: it")
    await agent.until(lambda: "three" in agent.told.text(), "the first words")
    await program.call("agent.abort", agent=agent.id)
    await agent.until(lambda: agent.entries[-1].get("interrupted"), "the mark of the turn")
    await agent.knows(state="idle")

    # The machine goes down: all at once, without a word.
    before = [(entry["role"], entry["blocks"]) for entry in agent.entries]
    os.kill((await agent.knows())["pid"], signal.SIGKILL)
    await agent.knows(state="exited")
    snapshot = (await program.call("agent.snapshot", agent=agent.id))["snapshot"]
    assert [(entry["role"], entry["blocks"]) for entry in snapshot["entries"]] == before

    said = agent.said("user", "assistant")
    again = await resumed(program, agent)
    assert again.said("user", "assistant")[: len(said) - 1] == said[:-1]  # all but the interrupted one
    assert again.blocks("tool_result")[0]["text"] == "tool-42\n"
    await again.turn("and on")
    assert again.said("assistant")[-1] == "ECHO: and on"
    await program.call("agent.stop", agent=again.id)
    await again.knows(state="exited")


async def test_a_turn_that_the_end_of_its_adapter_cut_off_is_offered_to_be_gone_on_with(
    system: System, program: Program
):
    agent = await spawned(system, program, "opencode", "acp")
    await agent.turn("one")
    await agent.turn("think: two")
    before = agent.said("user", "assistant")
    await agent.prompt("hold: three")
    await agent.until(lambda: "three" in agent.told.text(), "the first words")
    os.kill((await agent.knows(state="working"))["pid"], signal.SIGKILL)
    await agent.knows(state="exited", resume="offered")
    # Its keeper tells why a moment after the kernel tells the end.
    await agent.until(lambda: program.agents[agent.id]["ending"], "why it ended")
    ending = program.agents[agent.id]["ending"]
    assert (ending["why"], ending["signal"]) == ("killed", "SIGKILL")

    again = await resumed(program, agent)
    assert again.said("user", "assistant")[: len(before) + 1] == [*before, "hold: three"]
    assert (await agent.knows())["resume"] is None, "it would go on twice"
    await again.turn("four")
    assert again.said("user")[-1] == "four"
    assert again.said("assistant")[-1] == "ECHO: four"
    await program.call("agent.stop", agent=again.id)
    await again.knows(state="exited")


async def test_opencode_works_in_the_mode_that_was_chosen(system: System, program: Program):
    agent = await spawned(system, program, "opencode", "acp")
    card = (await program.call("agent.show", agent=agent.id))["card"]
    assert (card["mode"], card["modes"]) == ("build", ["build", "plan"])
    await agent.turn("one")
    assert agent.said("assistant") == ["ECHO: one"]
    assert (await program.call("agent.configure", agent=agent.id, mode="plan"))["mode"] == "plan"
    await agent.knows(mode="plan")
    await agent.turn("two")
    assert agent.said("assistant")[-1] == "ECHO: </system-reminder>", "its model is not told of the plan mode"
    with pytest.raises(Refused, match="has no mode sleep"):
        await program.call("agent.configure", agent=agent.id, mode="sleep")
    await program.call("agent.configure", agent=agent.id, mode="build")
    await agent.knows(mode="build")
    await program.call("agent.stop", agent=agent.id)
    await agent.knows(state="exited")


async def test_pi_through_pi_acp_works_and_is_listed_once(system: System, program: Program):
    agent = await spawned(system, program, "pi-acp")
    await agent.turn("hello there")
    assert agent.said("assistant")[-1].endswith("ECHO: hello there")
    await agent.turn("run: echo tool-$((40+2))")
    assert agent.blocks("tool_result")[-1]["text"] == "tool-42\n"
    living = [shape["id"] for shape in program.agents.values() if shape["state"] != "exited"]
    assert living == [agent.id], "the pi below the adapter has registered too"
    await agent.turn("think: an answer")
    assert [block["text"] for block in agent.blocks("thinking")] == ["let me see"]
    await program.call("agent.stop", agent=agent.id)
    await program.knows(agent.id, TURN_S, state="exited")

    again = await resumed(program, agent)
    assert again.said("user") == ["hello there", "run: echo tool-$((40+2))", "think: an answer"]
    await again.turn("and on")
    assert again.said("assistant")[-1] == "ECHO: and on"
    await program.call("agent.stop", agent=again.id)
    await again.knows(state="exited")
