"""The adapter in a live system, around an agent that does as it is told."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from acp_rig import DOER, AcpAgent, prepare, spawned
from live import Program, Refused, System, new_system, until
from recording import text_of


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with new_system() as found:
        prepare(found, "http://127.0.0.1:9/v1")
        found.start()
        yield found


@pytest.fixture
async def doer(system: System, program: Program) -> AcpAgent:
    return await spawned(system, program, *DOER)


async def ended(agent: AcpAgent) -> None:
    await agent.program.call("agent.stop", agent=agent.id)
    await agent.knows(state="exited")


async def why(program: Program, agent: str) -> str:
    """The detail of an agent's end; its keeper tells it a moment after the kernel tells the end."""

    def look() -> str | None:
        shape = program.agents.get(agent, {})
        return shape.get("detail") if shape.get("state") == "exited" else None

    return str(await program.until(look, "the reason of its end", 20.0))


async def test_a_prompt_is_delivered_and_answered(doer: AcpAgent):
    receipt = await doer.prompt("hello", id="p-1")
    assert receipt["receipt"] in ("queued", "delivered")
    await doer.until(lambda: doer.said("assistant") == ["You said: hello"], "the answer")
    assert [event["prompt_id"] for event in doer.told.of_type("user_message")] == ["p-1"]
    await doer.prompt("hello", id="p-1")
    await doer.turn("again")
    assert doer.said("user") == ["hello", "again"]
    await ended(doer)


async def test_a_plan_is_one_card_that_changes(doer: AcpAgent):
    await doer.turn("plan: read, write")
    assert [plan["steps"] for plan in doer.blocks("plan")] == [
        [
            {"text": "read", "status": "completed", "priority": "medium"},
            {"text": "write", "status": "pending", "priority": "medium"},
        ]
    ]
    snapshot = (await doer.program.call("agent.snapshot", agent=doer.id))["snapshot"]
    assert [entry["id"] for entry in snapshot["entries"]] == [entry["id"] for entry in doer.entries]
    await ended(doer)


@pytest.mark.parametrize(("choice", "outcome"), [("yes", "selected yes"), ("no", "selected no")])
async def test_what_a_person_answers_is_what_the_agent_hears(doer: AcpAgent, choice: str, outcome: str):
    await doer.prompt("ask: rm -rf build")
    await doer.knows(state="waiting", pending=1)
    pending = (await doer.program.call("approval.list", agent=doer.id))["approvals"]
    assert [one["action"]["summary"] for one in pending] == ["execute: rm -rf build"]
    assert [c["id"] for c in pending[0]["choices"]] == ["yes", "no"]
    await doer.program.call("agent.answer", agent=doer.id, approval=pending[0]["id"], choice=choice)
    await doer.until(lambda: doer.said("assistant")[-1:] == [f"answer: {outcome}"], "the agent's next words")
    await ended(doer)


async def test_the_words_with_a_denial_are_the_agents_next_prompt(doer: AcpAgent):
    await doer.prompt("ask: rm -rf build")
    await doer.knows(state="waiting", pending=1)
    [pending] = (await doer.program.call("approval.list", agent=doer.id))["approvals"]
    answer = {"approval": pending["id"], "choice": "no", "note": "make clean instead"}
    await doer.program.call("agent.answer", agent=doer.id, **answer)
    await doer.until(lambda: "make clean instead" in "".join(doer.said("user")[1:]), "the reason as a prompt")
    assert "did not approve this, so it was not done: execute: rm -rf build" in doer.said("user")[-1]
    assert "answer: selected no" in doer.said("assistant")
    await doer.knows(state="idle", pending=0)
    await ended(doer)


async def test_aborting_withdraws_what_was_asked_and_says_so_to_the_agent(doer: AcpAgent):
    await doer.prompt("ask: rm -rf build")
    await doer.knows(state="waiting", pending=1)
    await doer.prompt("after it", id="p-after", mode="follow_up")
    await doer.program.call("agent.abort", agent=doer.id)
    await doer.knows(state="idle", pending=0)
    await doer.until(lambda: doer.said("assistant")[-1:] == ["answer: cancelled"], "the agent's last words")
    assert [event["approval"]["state"] for event in doer.told.of_type("approval")] == ["pending", "withdrawn"]
    lost = [event["prompt_id"] for event in doer.told.of_type("notice") if "prompt_id" in event]
    assert lost == ["p-after"]
    assert "after it" not in doer.said("user")
    await ended(doer)


async def test_a_permission_outlives_the_node_that_was_asked(system: System):
    async with system.program() as program:
        doer = await spawned(system, program, *DOER)
        await doer.prompt("ask: something")
        await doer.knows(state="waiting", pending=1)
        asked = (await program.call("approval.list", agent=doer.id))["approvals"]
        system.kill_node()
        system.start_node()
    async with system.program() as program:  # it has never heard of what was before
        await program.knows(doer.id, 20.0, state="waiting", pending=1)
        again = (await program.call("approval.list", agent=doer.id))["approvals"]
        assert [one["id"] for one in again] == [one["id"] for one in asked]
        followed = await program.attach(doer.id)
        await program.call("agent.answer", agent=doer.id, approval=asked[0]["id"], choice="yes")
        await program.until(lambda: "selected yes" in followed.text(), "the agent's next words")
        await ended(AcpAgent(program, doer.id, followed))


async def test_steering_is_said_to_wait_and_the_turn_that_was_cut_off_is_marked(doer: AcpAgent):
    await doer.prompt("hold: on")
    await doer.until(lambda: "three" in doer.told.text(), "its words")
    late = await doer.program.attach(doer.id)
    assert late.snapshot is not None
    assert text_of(late.snapshot["running"]).strip() == "one two three"
    receipt = await doer.prompt("to the left", mode="steer")
    assert receipt["receipt"] == "queued"
    await doer.until(lambda: late.of_type("notice"), "the notice")
    notices = [event["text"] for event in late.of_type("notice")]
    assert "cannot be steered" in notices[0]
    await doer.program.call("agent.abort", agent=doer.id)
    await doer.knows(state="idle")
    snapshot = (await doer.program.call("agent.snapshot", agent=doer.id))["snapshot"]
    assert snapshot["entries"][-1]["interrupted"]
    assert snapshot["running"] is None
    await ended(doer)


async def test_a_prompt_that_waits_is_told_and_can_be_taken_back(doer: AcpAgent):
    await doer.prompt("hold: on")
    await doer.until(lambda: "three" in doer.told.text(), "its words")
    later = "later" * 1_000
    await doer.prompt(later, id="p-later")
    await doer.until(lambda: doer.told.of_type("queue"), "the queue")
    await doer.until(
        lambda: [p["id"] for p in doer.told.of_type("queue")[-1]["prompts"]] == ["p-later"], "it"
    )
    told = doer.told.of_type("queue")[-1]["prompts"][0]
    assert later.startswith(told["text"]) and len(told["text"]) + told["cut"] == len(later)
    taken = await doer.program.call("agent.unqueue", agent=doer.id, id="p-later")
    assert taken["text"] == later
    await doer.until(lambda: doer.told.of_type("queue")[-1]["prompts"] == [], "the empty queue")
    await doer.program.call("agent.abort", agent=doer.id)
    await doer.knows(state="idle")
    assert "later" not in doer.said("user")
    await ended(doer)


async def test_a_setting_that_the_agent_does_not_have_is_refused(doer: AcpAgent):
    with pytest.raises(Refused, match="has no setting for model"):
        await doer.program.call("agent.configure", agent=doer.id, model="larger")
    with pytest.raises(Refused, match="has no modes"):
        await doer.program.call("agent.configure", agent=doer.id, mode="look")
    await ended(doer)


async def test_a_mode_is_told_and_changed_from_here_and_by_the_agent(system: System, program: Program):
    doer = await spawned(system, program, *DOER, "--modes")
    await doer.knows(mode="look")
    card = (await program.call("agent.show", agent=doer.id))["card"]
    assert (card["mode"], card["modes"]) == ("look", ["look", "build", "rest"])
    used = await program.call("agent.configure", agent=doer.id, mode="build")
    assert used == {"model": None, "thinking": None, "mode": "build"}
    await doer.knows(mode="build")
    for wish, words in {"sleep": "has no mode sleep", "rest": "there is too much to do"}.items():
        with pytest.raises(Refused, match=words):
            await program.call("agent.configure", agent=doer.id, mode=wish)
    await doer.turn("mode: look")
    await doer.knows(mode="look")
    await ended(doer)


async def test_an_error_of_the_agent_is_in_the_conversation(doer: AcpAgent):
    await doer.turn("fail: the model is out of coffee")
    assert "the model is out of coffee" in doer.said("note")[-1]
    await doer.turn("go on")
    assert doer.said("assistant")[-1] == "You said: go on"
    await ended(doer)


async def test_a_picture_is_shown_as_one(doer: AcpAgent):
    await doer.turn("draw: a dot")
    assert [block["mime"] for block in doer.blocks("image")] == ["image/png"]
    await ended(doer)


async def test_an_agent_that_dies_says_how_and_its_conversation_stays(doer: AcpAgent):
    await doer.turn("hello")
    await doer.prompt("die: 3")
    detail = await why(doer.program, doer.id)
    assert "exit code 3" in detail
    assert "out of coffee" in detail
    snapshot = (await doer.program.call("agent.snapshot", agent=doer.id))["snapshot"]
    texts = [text_of(entry).strip() for entry in snapshot["entries"]]
    assert texts == ["hello", "You said: hello", "die: 3", "half a"]
    assert snapshot["entries"][-1]["interrupted"]


async def test_an_adapter_that_is_killed_takes_its_agent_along_and_leaves_what_was_said(doer: AcpAgent):
    await doer.turn("hello")
    await doer.prompt("hold: on")
    await doer.until(lambda: "three" in doer.told.text(), "its words")
    pid = (await doer.knows(state="working"))["pid"]
    os.kill(pid, signal.SIGKILL)
    assert "SIGKILL" in await why(doer.program, doer.id)
    ended = await doer.knows(state="exited", resume="offered")
    assert (ended["ending"]["why"], ended["ending"]["signal"]) == ("killed", "SIGKILL")
    snapshot = (await doer.program.call("agent.snapshot", agent=doer.id))["snapshot"]
    assert [text_of(entry).strip() for entry in snapshot["entries"]][-1] == "one two three"
    assert snapshot["entries"][-1]["interrupted"]


async def test_the_history_of_an_ended_agent_is_forgotten_with_it(system: System, doer: AcpAgent):
    await doer.turn("hello")
    await ended(doer)
    file = system.home / "node/transcripts" / f"{doer.id}.jsonl"
    assert file.stat().st_mode & 0o077 == 0
    older = await doer.program.call("agent.history", agent=doer.id, before=doer.entries[-1]["id"], limit=1)
    assert [text_of(entry) for entry in older["entries"]] == ["hello"]
    await doer.program.call("agent.forget", agent=doer.id)
    assert not file.exists()


async def test_a_scroll_is_answered_with_the_last_words_of_its_turn(system: System, doer: AcpAgent):
    name = (await doer.knows())["name"]
    sent = await doer.program.call("scroll.send", to=name, message="schema changed")
    answers = await doer.until(
        lambda: doer.program.params_of("scroll.changed", scroll_id=sent["scroll_id"], state="answered"),
        "the answer",
    )
    assert "schema changed" in answers[0]["opcode"]["content"]
    assert "(not from your user" in doer.said("user")[-1]
    await ended(doer)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--login", "doer wants you to log in: run `doer login` first"),
        ("--old", "doer speaks ACP 0"),
    ],
)
async def test_an_agent_that_cannot_begin_says_why(system: System, program: Program, flag: str, words: str):
    node = system.said("node")["node"]
    where = {"node": node, "path": str(system.folder / "user/project"), "request_id": os.urandom(8).hex()}
    started = await program.call("node.spawn", **where, kind="acp", args=[*DOER, flag])
    await program.knows(started["agent"], 20.0, state="exited")
    assert words in await why(program, started["agent"])


async def test_lines_that_are_no_protocol_are_skipped(system: System, program: Program):
    doer = await spawned(system, program, *DOER, "--noisy")
    await doer.turn("hello")
    assert doer.said("assistant") == ["You said: hello"]
    await ended(doer)


async def test_an_agent_that_never_answers_can_be_stopped(system: System, program: Program):
    node = system.said("node")["node"]
    where = {"node": node, "path": str(system.folder / "user/project"), "request_id": os.urandom(8).hex()}
    started = await program.call("node.spawn", **where, kind="acp", args=[*DOER, "--mute"])
    assert (await program.knows(started["agent"]))["state"] == "starting"
    await program.call("agent.stop", agent=started["agent"])
    await program.knows(started["agent"], 20.0, state="exited")
    assert (await why(program, started["agent"])).startswith("stopped by")


async def test_what_the_machine_does_not_allow_is_not_started(system: System, program: Program):
    node = system.said("node")["node"]
    where = {"node": node, "path": str(system.folder / "user/project"), "request_id": os.urandom(8).hex()}
    with pytest.raises(Refused) as refused:
        await program.call("node.spawn", **where, kind="acp", args=["sh", "-c", "true"])
    assert refused.value.code == -32012
    assert "[acp]" in refused.value.data["hint"]
    answered = system.run("spawn", where["path"], "--kind", "acp", "--", "no-such-agent", "--acp")
    assert answered.returncode == 1
    assert answered.stderr.count("\n") == 2


async def test_a_stop_ends_the_whole_tree(system: System, doer: AcpAgent):
    pid = (await doer.knows())["pid"]
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert children
    await ended(doer)
    until(lambda: not any(os.path.exists(f"/proc/{p}") for p in (pid, *children)), "the end of the tree")


async def test_nothing_of_the_project_is_imported_by_the_adapter(system: System, program: Program):
    """Its folder may hold modules named like ours: the adapter is code of the installation."""
    for name in ("node", "acp", "json", "asyncio"):
        (system.folder / "user/project" / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    doer = await spawned(system, program, *DOER)
    await asyncio.wait_for(doer.turn("hello"), 30)
    await ended(doer)
