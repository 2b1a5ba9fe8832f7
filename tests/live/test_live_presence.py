"""What becomes of an agent as others see it: killed, gone, out of touch, back, stopped, forgotten."""

import contextlib
import os
import signal
from typing import Any

import msgspec
import pytest
from live import Json, Program, Refused, System


async def test_a_killed_agent_is_told_as_ended_at_once(system: System, program: Program):
    with system.agent_process("victim") as agent:
        known = agent.registered()
        shape = await program.knows(known["agent"], state="idle")
        assert shape["pid"] == agent.pid
        os.kill(agent.pid, signal.SIGKILL)
        ended = await program.knows(known["agent"], patience_s=3.0, state="exited")
        assert "killed" in ended["detail"]


async def test_a_goodbye_is_kept_as_the_reason_of_the_end(system: System, program: Program):
    with system.agent_process("polite") as agent:
        known = agent.registered()
        await program.knows(known["agent"], state="idle")
        await program.call("agent.prompt", agent="polite", text="leave")
        ended = await program.knows(known["agent"], state="exited")
        assert ended["detail"] == "quit"


async def test_a_goodbye_counts_although_the_process_goes_on(system: System, program: Program):
    """One program may host several agents, and outlive each."""
    async with system.agent("guest") as agent:
        await program.knows(agent.id, state="idle")
        await agent.close()
        ended = await program.knows(agent.id, patience_s=8.0, state="exited")
        assert ended["detail"] == "quit"
        await agent.dial()
        again = await program.knows(agent.id, state="idle")
        assert again["detail"] is None


async def test_a_lost_socket_is_unreachable_after_a_grace_and_the_same_agent_when_it_is_back(
    system: System, program: Program
):
    async with system.agent("tunnelled") as agent:
        before = agent.id
        await agent.call("agent.changed", state="waiting")
        await program.knows(agent.id, state="waiting")
        told = await program.attach(agent.id)
        await agent.cut()
        away = await program.knows(agent.id, patience_s=8.0, state="unreachable")
        assert "connection" in away["detail"]
        await agent.say("said while nobody heard")
        await agent.dial()
        assert (agent.id, agent.name) == (before, "tunnelled")
        await program.knows(agent.id, state="waiting")
        await program.until(lambda: told.of_type("message_end"), "what it said meanwhile")
        assert told.text() == "said while nobody heard"
        assert [event["state"] for event in told.of_type("state")] == ["unreachable", "waiting"]
        assert told.resets == []


async def test_a_reload_within_the_grace_is_no_news(system: System, program: Program):
    async with system.agent("reloader") as agent:
        await program.knows(agent.id, state="idle")
        told = await program.attach(agent.id)
        await agent.cut()
        await agent.dial()
        await agent.say("here again")
        await program.until(lambda: told.of_type("message_end"))
        assert {event["state"] for event in told.of_type("state")} <= {"idle"}
        assert told.resets == []


async def test_who_looks_on_is_told_that_a_turn_was_broken_off(system: System, program: Program):
    async with system.agent("cut-short") as agent:
        await agent.call("agent.changed", state="working")
        await program.knows(agent.id, state="working")
        told = await program.attach(agent.id)
        await agent.close()
        await program.until(lambda: told.of_type("state"), "its end")
        assert [(one["state"], one.get("interrupted")) for one in told.of_type("state")] == [("exited", True)]


async def test_what_waits_in_an_agent_is_known_to_whoever_asks_the_mesh(system: System, program: Program):
    async with system.agent("busy") as agent:
        waits = {
            "id": "p-1",
            "text": "then the tests",
            "mode": "follow_up",
            "source": "cli",
            "images": 0,
            "at": "2026-01-01T10:00:00.000Z",
            "where": "agent",
        }
        await agent.call("agent.changed", state="working", queue=[waits])
        await program.knows(agent.id, state="working")
        queue = (await program.call("agent.show", agent="busy"))["queue"]
        assert queue == [{**waits, "cut": 0, "kept": False}]


async def test_an_ended_agent_is_readable_and_can_be_forgotten(system: System, program: Program):
    with system.agent_process("former") as agent:
        known = agent.registered()
        await program.knows(known["agent"], state="idle")
        await program.call("agent.prompt", agent="former", text="remember this")
        with pytest.raises(Refused) as refusal:
            await program.call("agent.forget", agent="former")
        assert refusal.value.code == -32009
        agent.process.kill()
        await program.knows(known["agent"], state="exited")
        told = await program.attach("former")
        assert told.snapshot is not None
        assert told.snapshot["state"] == "exited"
        texts = [block["text"] for one in told.snapshot["entries"] for block in one["blocks"]]
        assert "remember this" in texts
        assert await program.code_of("agent.prompt", agent="former", text="hello?") == -32009
        assert await program.call("agent.forget", agent="former") == {}
        await program.until(lambda: known["agent"] not in program.agents, "its line to be gone")
        assert await program.code_of("agent.attach", agent="former") == -32004


async def test_stop_ends_an_agent_and_says_who_did_it(system: System, program: Program):
    with system.agent_process("stoppable") as agent:
        known = agent.registered()
        await program.knows(known["agent"], state="idle")
        assert await program.call("agent.stop", agent="stoppable") == {}
        ended = await program.knows(known["agent"], state="exited")
        assert ended["detail"] == "stopped by operator"
        assert agent.process.wait(5) == 0
        assert len(agent.did("stop")) == 1
        assert await program.call("agent.stop", agent="stoppable") == {"ended": "stopped by operator"}


async def test_abort_reaches_the_agent_and_one_that_is_away_cannot_be_asked(system: System, program: Program):
    async with system.agent("abortable") as agent:
        await program.knows(agent.id, state="idle")
        assert await program.call("agent.abort", agent="abortable") == {}
        assert agent.asked == ["abort"]
        await agent.cut()
        assert await program.code_of("agent.abort", agent="abortable") == -32011


async def test_a_name_is_changed_for_everybody_and_kept_over_a_redial(system: System, program: Program):
    async with system.agent("before") as agent, system.agent("taken"):
        await program.knows(agent.id, state="idle")
        assert await program.call("agent.rename", agent="before", name="afterwards") == {}
        renamed = await program.knows(agent.id, name="afterwards")
        assert renamed["address"] == "afterwards@den"
        assert await program.code_of("agent.rename", agent="afterwards", name="taken") == -32009
        for nothing in ("", "''", "../"):
            assert await program.code_of("agent.rename", agent="afterwards", name=nothing) == -32602
        await agent.cut()
        await agent.dial()
        assert agent.name == "afterwards"
        assert await program.code_of("agent.attach", agent="before") == -32004


async def test_what_an_agent_says_of_itself_is_shown(system: System, program: Program):
    async with system.agent("telling") as agent:
        await program.knows(agent.id, state="idle")
        card = {"model": "acme/other", "tools": [{"name": "a"}, {"name": "b"}], "skills": ["sql"]}
        usage = {"input_tokens": 10, "output_tokens": 20, "cost_usd": 0.5, "context": None}
        session = {"id": "s1", "file": None, "name": "the first"}
        await agent.call("agent.changed", card=card, usage=usage, session=session, state="working")
        shape = await program.knows(agent.id, model="acme/other", state="working", usage=usage)
        assert (shape["tools"], shape["session"]) == (2, session)
        shown = await program.call("agent.show", agent="telling")
        assert [tool["name"] for tool in shown["card"]["tools"]] == ["a", "b"]
        assert shown["evidence"]["turn"] is not None


async def test_nonsense_on_the_agent_socket_is_answered_and_the_agent_stays(system: System, program: Program):
    async with system.agent("clumsy") as agent:
        await program.knows(agent.id, state="idle")
        told = await program.attach(agent.id)
        for method, params in (
            ("agent.events", {"from": "one", "events": []}),
            ("agent.events", {"from": 1, "events": [{"no": "type"}]}),
            ("agent.changed", {"state": "dancing"}),
            ("agent.register", {"instance": "", "kind": "x", "cwd": "/", "pid": 1}),
            ("agent.nothing", {}),
            ("scroll.answer", {"scroll_id": "none", "opcode": {"opcode_type": "text_display"}}),
        ):
            with pytest.raises(Exception, match=r".+"):
                await agent.call(method, **params)
        await agent.say("still here")
        await program.until(lambda: told.of_type("message_end"))
        assert told.text() == "still here"


@pytest.mark.parametrize(
    "nonsense", [b'{"x":1e999}', b"[]", b'"text"', b'{"receipt":[]}', b'{"opcode_type":{}}']
)
async def test_an_answer_that_is_nonsense_costs_nobody_but_its_agent(
    system: System, program: Program, nonsense: bytes
):
    """Of all that a node asks an agent: its scrolls and its prompts."""

    async def odd(_scroll: Json) -> Any:
        return msgspec.Raw(nonsense)

    node = system.node_pid()
    async with system.agent("odd", deliver=odd) as agent, system.agent("sound") as sound:
        agent.receipt = msgspec.Raw(nonsense)
        await program.knows(agent.id)
        await program.knows(sound.id)
        await program.call("scroll.send", to=agent.name, message="say something")
        with contextlib.suppress(Refused):
            await program.call("agent.prompt", agent=agent.id, text="anything")
        sent = await program.call("scroll.send", to=sound.name, message="are you there")
        await program.until(
            lambda: program.params_of("scroll.changed", scroll_id=sent["scroll_id"], state="answered")
        )
    assert system.node_pid() == node
