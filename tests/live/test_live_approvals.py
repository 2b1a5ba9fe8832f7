"""Approvals through a whole live system: asked on the agent socket, answered by whoever is first."""

import asyncio
import json
import shlex
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import COMMAND, Agent, Json, Program, Refused, System, new_system, until

from hyperpi.errors import Conflict
from hyperpi.lines import dial

ACTION = {"kind": "tool", "summary": "rm -rf build", "hash": "h-1", "detail": {"tool": "bash"}}
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system of its own: its node.toml says when agents ask."""
    with new_system() as found:
        found.start()
        yield found


def fresh() -> str:
    return "ap-" + uuid.uuid4().hex[:10]


async def ask(agent: Agent, approval: str, **more: Any) -> Json:
    params: Json = {"id": approval, "action": ACTION, "timeout_s": LIMIT_S, **more}
    return await agent.call("approval.ask", **params)


def decisions(agent: Agent) -> list[Json]:
    return [params for method, params in agent.notices if method == "approval.decided"]


async def trail(system: System, about: str) -> list[tuple[str, str]]:
    """(what, result) of the audit rows that speak of an approval, oldest first."""
    async with system.owner() as owner:
        found = await owner.call("audit.list", {"about": about}, 10.0)
    return [(row["what"], row["result"]) for row in reversed(found["rows"])]


async def settled(system: System, approval: str) -> list[tuple[str, str]]:
    """The trail of one that no viewer has decided: written a moment later."""
    async with asyncio.timeout(10):
        while not (rows := await trail(system, approval)):
            await asyncio.sleep(0.05)
    return rows


async def token(system: System, role: str) -> str:
    async with system.owner() as owner:
        made = await owner.call("token.create", {"role": role, "uses": 0}, 10.0)
    return str(made["token"])


async def test_of_two_viewers_the_first_wins_and_both_are_told(system: System, program: Program):
    async with system.agent("mason") as mason, system.program() as other:
        await program.knows(mason.id)
        await other.knows(mason.id)
        views = [await one.attach("mason") for one in (program, other)]
        approval = fresh()
        assert (await ask(mason, approval))["state"] == "pending"
        shape = await program.knows(mason.id, state="waiting", pending=1)
        assert shape["detail"] == "waits for approval: rm -rf build"
        late = await other.attach("mason")
        assert late.snapshot is not None
        assert [one["id"] for one in late.snapshot["pending"]] == [approval]
        assert late.snapshot["pending"][0]["action"] == ACTION

        racing = [
            await one.begin("agent.answer", agent="mason", approval=approval, choice=choice, note=choice)
            for one, choice in ((program, "approve"), (other, "deny"))
        ]
        results = await asyncio.gather(*racing, return_exceptions=True)
        won = [result for result in results if isinstance(result, dict)]
        lost = [result for result in results if not isinstance(result, dict)]
        assert len(won) == 1 and len(lost) == 1
        assert lost[0].code == -32009
        decided = won[0]["approval"]
        assert decided["note"] == decided["choice"]
        assert decided["state"] == {"approve": "approved", "deny": "denied"}[decided["choice"]]
        for viewer, view in zip((program, other), [views[0], late], strict=True):
            told = await viewer.until(
                lambda view=view: [
                    e for e in view.of_type("approval") if e["approval"]["state"] != "pending"
                ],
                "the decision",
            )
            assert told[0]["approval"] == decided
        await mason.until(lambda: decisions(mason) == [decided], "the decision at the agent")
        await program.knows(mason.id, state="idle", pending=0)
        rows = await trail(system, approval)
        assert sorted(rows) == [
            ("agent.answer", "asked"),
            ("agent.answer", "asked"),
            ("agent.answer", "done"),
            ("agent.answer", "refused"),
        ]


async def test_the_trail_says_which_action_was_approved(system: System, program: Program):
    async with system.agent("clerk") as clerk:
        await program.knows(clerk.id)
        approval = fresh()
        await ask(clerk, approval)
        await program.call("agent.answer", agent="clerk", approval=approval, choice="approve")
        async with system.owner() as owner:
            found = await owner.call("audit.list", {"about": approval, "result": "done"}, 10.0)
        details = found["rows"][0]["details"]
        assert (details["hash"], details["action"]) == ("h-1", "tool: rm -rf build")
        assert (details["state"], details["choice"]) == ("approved", "approve")


async def test_silence_denies(system: System, program: Program):
    async with system.agent("patient") as patient:
        await program.knows(patient.id)
        view = await program.attach("patient")
        approval = fresh()
        await ask(patient, approval, timeout_s=0.3)
        await patient.until(lambda: decisions(patient), "the end of the time")
        assert decisions(patient)[0]["state"] == "expired"
        await program.until(
            lambda: [e for e in view.of_type("approval") if e["approval"]["state"] == "expired"], "the event"
        )
        assert (
            await program.code_of("agent.answer", agent="patient", approval=approval, choice="approve")
            == -32009
        )


async def test_the_owners_own_answer_stands_in_the_trail(system: System, program: Program):
    """Given on the node's control socket, to which the command turns where there is no hypivisor."""
    async with system.agent("homely") as homely:
        await program.knows(homely.id)
        approval = fresh()
        await ask(homely, approval)
        lines = await dial(Path(system.said("node")["control"]), lambda method, _params: {"method": method})
        reading = asyncio.create_task(lines.run())
        try:
            params = {"agent": homely.id, "approval": approval, "choice": "approve"}
            decided = await lines.rpc.call("agent.answer", params, 10.0)
        finally:
            lines.cut()
            await reading
        assert decided["approval"]["by"].endswith("@den")
        assert await trail(system, approval) == [("agent.answer", "asked"), ("agent.answer", "done")]


async def test_an_agent_that_was_cut_off_asks_again_and_hears_what_was_decided(
    system: System, program: Program
):
    async with system.agent("roamer") as roamer:
        await program.knows(roamer.id)
        approval = fresh()
        await ask(roamer, approval)
        await roamer.cut()
        await program.call("agent.answer", agent="roamer", approval=approval, choice="deny", note="no")
        await roamer.dial()
        again = await ask(roamer, approval)
        assert (again["state"], again["note"]) == ("denied", "no")
        with pytest.raises(Conflict, match="another action"):
            await ask(roamer, approval, action={**ACTION, "hash": "h-2"})


async def test_what_an_agent_withdraws_or_leaves_behind_is_open_no_more(system: System, program: Program):
    async with system.agent("fickle") as fickle:
        await program.knows(fickle.id)
        view = await program.attach("fickle")
        first, second = fresh(), fresh()
        await ask(fickle, first)
        await ask(fickle, second)
        await program.knows(fickle.id, pending=2)
        await fickle.call("approval.withdraw", id=first, reason="the turn was aborted")
        await program.knows(fickle.id, pending=1, state="waiting")
        agent = fickle.id
    # Its process lives on: it is this one. Only its word, and the grace, end it.
    done = await program.until(
        lambda: [e["approval"] for e in view.of_type("approval") if e["approval"]["state"] == "withdrawn"][
            1:
        ],
        "the end of the second",
    )
    assert (done[0]["id"], done[0]["note"]) == (second, "the agent has ended")
    await program.knows(agent, state="exited", pending=0)


async def test_the_terminals_answer_counts_like_any_other(system: System, program: Program):
    async with system.agent("sitter") as sitter:
        await program.knows(sitter.id)
        approval = fresh()
        await ask(sitter, approval)
        told = await sitter.call("approval.answer", id=approval, choice="approve")
        assert (told["state"], told["by"]) == ("approved", "terminal")
        assert await settled(system, approval) == [("approval.settled", "done")]
        assert (
            await program.code_of("agent.answer", agent="sitter", approval=approval, choice="deny") == -32009
        )
        # Later words of the terminal change nothing, unless it acted on them while the node was away.
        told = await sitter.call("approval.answer", id=approval, choice="deny")
        assert told["state"] == "approved"
        told = await sitter.call("approval.answer", id=approval, choice="deny", effective=True)
        assert told["state"] == "denied"


async def test_an_answer_outlives_a_killed_node_and_an_open_question_does_too(system: System):
    with system.agent_process("stone") as process:
        known = process.registered()
        async with system.program() as program:
            await program.knows(known["agent"], state="idle")
            answered, open_one = fresh(), fresh()
            for approval in (answered, open_one):
                params = {"id": approval, "action": ACTION, "timeout_s": LIMIT_S}
                process.input.write(f"call approval.ask {json.dumps(params)}\n".encode())
            process.input.flush()
            await program.knows(known["agent"], pending=2)
            await program.call("agent.answer", agent="stone", approval=answered, choice="approve")
            # What is open is written behind; it is on disk once a later answer is.
        system.kill_node()
        system.start_node()
        async with system.program() as program:
            await program.knows(known["agent"], pending=1, state="waiting")
            listed = await program.call("approval.list", agent="stone", state=None)
            states = {one["id"]: one["state"] for one in listed["approvals"]}
            assert states == {answered: "approved", open_one: "pending"}
            params = {"id": answered, "action": ACTION}
            process.input.write(f"call approval.ask {json.dumps(params)}\n".encode())
            process.input.flush()
            got = until(
                lambda: [d for d in process.did("called") if d["result"].get("state") == "approved"],
                "the decision",
            )
            assert got[0]["result"]["id"] == answered
            await program.call("agent.answer", agent="stone", approval=open_one, choice="deny")


async def test_a_hypivisor_killed_between_question_and_answer_loses_neither(system: System):
    async with system.agent("rock") as rock:
        async with system.program() as program:
            await program.knows(rock.id)
            approval = fresh()
            await ask(rock, approval)
            await program.knows(rock.id, pending=1)
        assert system.up is not None
        system.up.send_signal(signal.SIGKILL)
        system.up.wait(10)
        system.start()
        async with system.program() as program:
            await program.knows(rock.id, pending=1, state="waiting")
            view = await program.attach("rock")
            assert view.snapshot is not None
            assert [one["id"] for one in view.snapshot["pending"]] == [approval]
            await program.call("agent.answer", agent="rock", approval=approval, choice="approve")
            await rock.until(lambda: decisions(rock), "the decision")
        assert ("agent.answer", "done") in await trail(system, approval)


async def test_a_viewer_sees_what_waits_and_may_not_answer(system: System, program: Program):
    async with system.agent("shown") as shown:
        await program.knows(shown.id)
        approval = fresh()
        await ask(shown, approval)
        async with system.program(token=await token(system, "viewer")) as viewer:
            await viewer.knows(shown.id, pending=1)
            listed = (await viewer.call("approval.list"))["approvals"]
            assert [one["address"] for one in listed if one["id"] == approval] == ["shown@den"]
            code = await viewer.code_of("agent.answer", agent="shown", approval=approval, choice="approve")
            assert code == -32001
            assert await viewer.code_of("agent.policy", agent="shown", mode="auto") == -32001
        assert (await ask(shown, approval))["state"] == "pending"


async def test_what_an_agent_has_started_cannot_answer_for_it(system: System):
    with system.agent_process("sly") as process:
        known = process.registered()
        async with system.program() as program:
            await program.knows(known["agent"], state="idle")
            approval = fresh()
            params = {"id": approval, "action": ACTION, "timeout_s": LIMIT_S}
            process.input.write(f"call approval.ask {json.dumps(params)}\n".encode())
            process.input.flush()
            await program.knows(known["agent"], pending=1)
            # With the command: it is the agent's own, whoever owns the machine.
            command = f"{shlex.join([*COMMAND, 'approve', approval])}; exit $?"
            process.input.write(f"sh -c {shlex.quote(command)}\n".encode())
            process.input.flush()
            done = until(lambda: process.did("ran"), "the tool's end")[0]
            assert done["code"] == 1
            # As the agent itself, on its socket: this process is not the one that asked.
            thief = Agent(system.home, "thief")
            thief.instance = known["instance"]
            await thief.dial()
            try:
                for method, more in (("approval.answer", {"choice": "approve"}), ("approval.withdraw", {})):
                    with pytest.raises(Exception, match="another process has asked this"):
                        await thief.call(method, id=approval, **more)
            finally:
                await thief.cut()
            listed = await program.call("approval.list", agent=known["agent"])
            assert [one["id"] for one in listed["approvals"]] == [approval]


async def test_a_changed_policy_is_told_and_cannot_be_weakened_from_afar(system: System, program: Program):
    toml = system.home / "node" / "node.toml"
    before = toml.read_text()
    async with system.agent("pupil") as pupil:
        await program.knows(pupil.id)

        def told() -> list[Json]:
            return [params["approvals"] for method, params in pupil.notices if method == "policy"]

        try:
            toml.write_text('[approvals]\nmode = "ask-risky"\nask = ["bash:git push*"]\n')
            await pupil.until(lambda: told(), "the new policy")
            assert (told()[-1]["mode"], told()[-1]["ask"]) == ("ask-risky", ["bash:git push*"])
            strictest = json.loads((system.home / "node" / "approvals.json").read_text())
            assert strictest == {"strictest": "ask-risky", "timeout_s": 600.0}
            assert await program.code_of("agent.policy", agent="pupil", mode="auto") == -32012
            now = await program.call("agent.policy", agent="pupil", mode="ask-all")
            assert now == {"mode": "ask-all", "from": "operator"}
            await pupil.until(lambda: told()[-1]["mode"] == "ask-all", "the stricter one")
            assert (await program.call("agent.show", agent="pupil"))["approvals"] == now
            await program.call("agent.policy", agent="pupil", mode=None)
            await pupil.until(lambda: told()[-1]["mode"] == "ask-risky", "node.toml's own")
        finally:
            toml.write_text(before)
        await pupil.until(lambda: told()[-1]["mode"] == "auto", "the former policy")
        assert ("agent.policy", "refused") in await trail(system, "pupil")


async def test_an_answer_is_refused_when_it_cannot_be_audited(tmp_path: Path):
    with new_system() as system:
        system.start()
        async with system.agent("audited") as audited, system.program() as program:
            await program.knows(audited.id)
            approval = fresh()
            await ask(audited, approval)
            # What a full disk or a lost mount does to it: SQLite cannot write its journal any more.
            file = next((system.home / "hypivisor").glob("audit*.db"))
            with sqlite3.connect(file, timeout=0) as lock:
                lock.execute("BEGIN EXCLUSIVE")
                code = await program.code_of(
                    "agent.answer", agent="audited", approval=approval, choice="approve"
                )
                assert code == -32029
                assert (await ask(audited, approval))["state"] == "pending"
                lock.rollback()


async def test_a_name_whose_rules_ask_less_is_not_for_whoever_starts_an_agent():
    with new_system() as system:
        toml = system.home / "node" / "node.toml"
        toml.parent.mkdir(parents=True)
        rules = '[approvals]\nmode = "ask-all"\n[[approvals.rules]]\nname = "toy*"\nmode = "auto"\n'
        toml.write_text(rules)
        system.start()
        work = system.folder / "user" / "work"
        work.mkdir()
        async with system.program() as program:
            order = {"node": "den", "path": "~/work", "kind": "terminal", "args": ["cat"]}
            with pytest.raises(Refused, match="as toy-1 the agent would ask less"):
                await program.call("node.spawn", **order, name="toy-1", request_id="r-1")
            made = await program.call("node.spawn", **order, name="tool", request_id="r-2")
            await program.call("agent.stop", agent=made["agent"])
