"""A scroll's way from a program to an agent and back, and every reason why it may end otherwise."""

import asyncio
import io
from typing import Any

import pytest
from live import TOKEN, Agent, Json, Program, Refused, System, http, join, new_system
from PIL import Image

from hyperpi.errors import UnknownMethod
from pxldisk import Record
from pxldisk.reader import look


async def states(program: Program, scroll_id: str, last: str) -> list[str]:
    """The states that the sender was told, once the last has come."""

    def told() -> list[str]:
        return [change["state"] for change in program.params_of("scroll.changed", scroll_id=scroll_id)]

    await program.until(lambda: last in told(), f"{scroll_id} as {last}")
    return told()


async def deaf(_scroll: Json) -> Any:
    """Takes a scroll and never says so."""
    await asyncio.Event().wait()


# --- the way there and back ------------------------------------------------------------------------------


async def test_the_sender_is_told_every_state_in_order_and_the_opcode(system: System, program: Program):
    async with system.agent("reader") as agent:
        await program.knows(agent.id)
        sent = await program.call("scroll.send", to="reader", message="schema changed", intent="handoff")
        assert sent["state"] == "accepted"
        assert sent["scroll_id"].startswith("SCROLL-")
        told = await states(program, sent["scroll_id"], "answered")
        ways = ["accepted", "relayed", "stored", "delivered", "answered"]
        assert told == [state for state in ways if state in told]
        assert told[-2:] == ["delivered", "answered"]
        last = program.params_of("scroll.changed", scroll_id=sent["scroll_id"])[-1]
        assert last["to"] == "reader@den"
        assert last["opcode"]["opcode_type"] == "text_display"
        assert last["opcode"]["content"] == "read: schema changed"
        assert (last["opcode"]["from"], last["opcode"]["scroll_id"]) == ("reader@den", sent["scroll_id"])
        assert agent.scrolls[0]["intent"] == "handoff"
        kept = await program.call("scroll.get", scroll_id=sent["scroll_id"])
        assert kept["state"] == "answered"
        assert [receipt["to"] for receipt in kept["receipts"]] == ["reader@den"]


async def test_an_answer_may_come_later(system: System, program: Program):
    async def take(scroll: Json) -> Json:
        taken.append(scroll)
        return {}

    taken: list[Json] = []
    async with system.agent("thinker", deliver=take) as agent:
        await program.knows(agent.id)
        sent = await program.call("scroll.send", to="thinker", message="think")
        await states(program, sent["scroll_id"], "delivered")
        opcode = {"opcode_type": "handoff", "content": {"to": "somebody"}}
        await agent.call("scroll.answer", scroll_id=sent["scroll_id"], opcode=opcode)
        assert (await states(program, sent["scroll_id"], "answered"))[-1] == "answered"
        assert len(taken) == 1


async def test_the_same_scroll_twice_is_one_delivery(system: System, program: Program):
    async with system.agent("once") as agent:
        await program.knows(agent.id)
        scroll = {"to": "once", "message": "only once", "scroll_id": "SCROLL-mine-1"}
        answers = await asyncio.gather(*(program.call("scroll.send", **scroll) for _ in range(5)))
        assert {answer["scroll_id"] for answer in answers} == {"SCROLL-mine-1"}
        await states(program, "SCROLL-mine-1", "answered")
        again = await program.call("scroll.send", **scroll)
        assert again["receipts"][0]["state"] == "answered"
        assert [one["scroll_id"] for one in agent.scrolls] == ["SCROLL-mine-1"]


async def test_an_agent_writes_to_another_and_gets_its_answer(system: System):
    async with system.agent("lead") as lead, system.agent("client") as client:
        sent = await lead.call("scroll.send", to="client@den", message="hand over", **{"from": "user:root"})
        notices = await lead.until(
            lambda: [p for _, p in lead.notices if p["state"] == "answered"], "the answer"
        )
        assert notices[0]["scroll_id"] == sent["scroll_id"]
        assert notices[0]["opcode"]["content"] == "read: hand over"
        assert client.scrolls[0]["from"] == "lead@den"  # as verified, whatever it said


async def test_scrolls_of_one_sender_keep_their_order(system: System, program: Program):
    async with system.agent("sorter") as agent:
        await program.knows(agent.id)
        messages = [f"number {number}" for number in range(20)]
        for message in messages:
            await program.call("scroll.send", to="sorter", message=message)
        await agent.until(lambda: len(agent.scrolls) == 20, "all scrolls")
        assert [scroll["message"] for scroll in agent.scrolls] == messages


async def test_a_scroll_to_all_is_delivered_to_each_and_receipted_for_each(system: System, program: Program):
    async with system.agent("left") as left, system.agent("right") as right:
        for agent in (left, right):
            await program.knows(agent.id, state="idle")
        sent = await program.call("scroll.send", to="*@den", message="lunch")
        for agent in (left, right):
            await agent.until(lambda agent=agent: agent.scrolls, "the scroll")

        def answered() -> set[str]:
            told = program.params_of("scroll.changed", scroll_id=sent["scroll_id"], state="answered")
            return {change["to"] for change in told}

        await program.until(lambda: {"left@den", "right@den"} <= answered(), "both answers")


# --- what is refused at once -----------------------------------------------------------------------------


async def test_a_scroll_that_cannot_be_sent_is_refused_at_once(system: System, program: Program):
    async with system.agent("strict") as agent:
        await program.knows(agent.id)
        cases: list[tuple[Json, int]] = [
            ({"to": "nobody", "message": "x"}, -32004),
            ({"to": "strict@nowhere", "message": "x"}, -32004),
            ({"to": "strict"}, -32602),
            ({"message": "x"}, -32602),
            ({"to": "", "message": "x"}, -32602),
            ({"to": "strict", "message": "x" * (64 << 10)}, -32602),
            ({"to": "strict", "message": "x", "data": {"diff": "y" * (64 << 10)}}, -32602),
            ({"to": "strict", "message": "x", "ttl_s": 31 * 86_400}, -32602),
            ({"to": "strict", "message": "x", "ttl_s": 0}, -32602),
            ({"to": "strict", "message": "x", "ttl_s": -1}, -32602),
            ({"to": "strict", "message": "x", "ttl_s": "long"}, -32602),
            ({"to": "strict", "message": 7}, -32602),
        ]
        for scroll, code in cases:
            with pytest.raises(Refused) as refusal:
                await program.call("scroll.send", **scroll)
            assert refusal.value.code == code, (scroll, refusal.value)
        almost = await program.call("scroll.send", to="strict", message="x" * (63 << 10))
        await states(program, almost["scroll_id"], "answered")
        assert len(agent.scrolls) == 1
        # Its answer repeats it, and is more than the rows for opcodes can hold: told, not lost.
        last = program.params_of("scroll.changed", scroll_id=almost["scroll_id"])[-1]
        assert last["opcode"]["opcode_type"] == "error"


async def test_a_scroll_for_an_agent_that_has_ended_is_refused_with_the_reason(
    system: System, program: Program
):
    with system.agent_process("ended") as agent:
        known = agent.registered()
        await program.knows(known["agent"], state="idle")
        agent.process.kill()
        await program.knows(known["agent"], state="exited")
        sent = await program.call("scroll.send", to="ended", message="too late")
        await states(program, sent["scroll_id"], "refused")
        assert "ended" in program.params_of("scroll.changed", scroll_id=sent["scroll_id"])[-1]["reason"]


async def test_a_name_on_two_machines_is_ambiguous_and_its_address_is_not(system: System, program: Program):
    with new_system() as attic:
        await asyncio.to_thread(join, attic, system)
        async with system.agent("both"), attic.agent("both") as there:
            await program.knows(there.id, state="idle")
            with pytest.raises(Refused) as refusal:
                await program.call("scroll.send", to="both", message="which?")
            assert refusal.value.code == -32005
            assert set(refusal.value.data["candidates"]) == {"both@den", "both@attic"}
            assert await program.code_of("agent.prompt", agent="both", text="which?") == -32005
            sent = await program.call("scroll.send", to="both@attic", message="you")
            told = await states(program, sent["scroll_id"], "answered")
            assert told == ["relayed", "stored", "delivered", "answered"]
            assert [scroll["message"] for scroll in there.scrolls] == ["you"]


async def test_an_agent_that_takes_no_scrolls_refuses_them_visibly(system: System, program: Program):
    async def unable(_scroll: Json) -> Any:
        raise UnknownMethod("deliver")

    async with system.agent("unable", deliver=unable) as agent:
        await program.knows(agent.id)
        sent = await program.call("scroll.send", to="unable", message="hello?")
        await states(program, sent["scroll_id"], "refused")
        assert program.params_of("scroll.changed", state="refused")[-1]["reason"]


@pytest.mark.parametrize(
    "opcode",
    [
        {"opcode_type": "format_disk", "content": "x"},
        {"opcode_type": 7},
        {"opcode_type": "text_display", "content": "x" * (70 << 10)},
    ],
    ids=["unknown", "number", "large"],
)
async def test_an_answer_that_is_no_opcode_harms_nobody_else(system: System, program: Program, opcode: Json):
    async def answer(_scroll: Json) -> Json:
        return opcode

    node = system.node_pid()
    async with system.agent("rambling", deliver=answer) as agent, system.agent("sane") as other:
        await program.knows(agent.id)
        await program.knows(other.id)
        first = await program.call("scroll.send", to=agent.name, message="one")
        await states(program, first["scroll_id"], "answered")
        last = program.params_of("scroll.changed", scroll_id=first["scroll_id"])[-1]
        assert last["opcode"]["opcode_type"] == "error"
        sent = await program.call("scroll.send", to=other.name, message="still there?")
        await states(program, sent["scroll_id"], "answered")
    assert system.node_pid() == node


# --- waiting ---------------------------------------------------------------------------------------------


async def test_a_scroll_for_an_agent_that_is_away_waits_and_is_delivered_once(
    system: System, program: Program
):
    async with system.agent("traveller") as agent:
        await program.knows(agent.id)
        await agent.cut()
        sent = await program.call("scroll.send", to="traveller", message="for later")
        await states(program, sent["scroll_id"], "stored")
        assert agent.scrolls == []
        await agent.dial()
        await states(program, sent["scroll_id"], "answered")
        assert [scroll["message"] for scroll in agent.scrolls] == ["for later"]


async def test_a_scroll_is_handed_to_the_connection_that_came_after(system: System, program: Program):
    """The agent dials again while its former connection still holds an unanswered scroll."""
    async with system.agent("doubled", deliver=deaf) as first:
        await program.knows(first.id)
        sent = await program.call("scroll.send", to="doubled", message="which one?")
        await states(program, sent["scroll_id"], "stored")
        second = Agent(system.home, "doubled")
        second.instance = first.instance
        await second.dial()
        assert second.id == first.id
        await first.cut()
        await states(program, sent["scroll_id"], "answered")
        assert len(second.scrolls) == 1
        await second.close()


async def test_a_scroll_that_nobody_takes_in_time_expires_visibly(system: System, program: Program):
    async with system.agent("sleeper") as agent:
        await program.knows(agent.id)
        await agent.cut()
        sent = await program.call("scroll.send", to="sleeper", message="now or never", ttl_s=0.3)
        await states(program, sent["scroll_id"], "expired")
        assert program.params_of("scroll.changed", state="expired")[-1]["reason"]
        await agent.dial()
        later = await program.call("scroll.send", to="sleeper", message="still welcome")
        await states(program, later["scroll_id"], "answered")
        assert [scroll["message"] for scroll in agent.scrolls] == ["still welcome"]
        listed = await program.call("scroll.list", state="expired")
        assert sent["scroll_id"] in {scroll["scroll_id"] for scroll in listed["scrolls"]}


async def test_a_full_zone_refuses_and_says_how_long_the_oldest_waits():
    with new_system() as system:
        (system.home / "node").mkdir(parents=True, mode=0o700)
        (system.home / "node" / "node.toml").write_text("[disk]\nmax_banks = 1\n")
        system.start()
        async with system.agent("hoarder", deliver=deaf) as agent, system.program() as program:
            await program.knows(agent.id)
            refusals: list[Json] = []
            sent: list[str] = []
            while not refusals and len(sent) < 2_000:
                batch = [program.begin("scroll.send", to="hoarder", message="m") for _ in range(20)]
                answers = [await begun for begun in batch]
                for answer in await asyncio.gather(*answers, return_exceptions=True):
                    if isinstance(answer, Refused):
                        refusals.append({"code": answer.code, "message": answer.message, **answer.data})
                    else:
                        assert not isinstance(answer, BaseException)
                        sent.append(answer["scroll_id"])
                refusals += program.params_of("scroll.changed", state="refused")
            assert refusals, "it was never full"
            for refusal in refusals:
                assert refusal.get("code", -32029) == -32029
                assert "has waited" in (refusal.get("message") or refusal["reason"])
            # Full for scrolls is not full for anything else, and room comes back with the end of the hoarder.
            prompted = await program.call("agent.prompt", agent=agent.id, text="still there?")
            assert prompted["receipt"] in {"queued", "delivered"}
            # Only what was accepted is kept, and all of it.
            kept = await program.call("scroll.list", limit=1_000)
            assert set(sent) <= {scroll["scroll_id"] for scroll in kept["scrolls"]}


# --- the disk --------------------------------------------------------------------------------------------


async def test_the_picture_of_the_disk_holds_the_scroll(system: System, program: Program, tmp_path: Any):
    async with system.agent("shelved") as agent:
        await program.knows(agent.id)
        await agent.cut()  # so that its row is live
        sent = await program.call("scroll.send", to="shelved", message="in the picture")
        await states(program, sent["scroll_id"], "stored")
        answer = await http(f"{system.url}/nodes/den/8.png", ("Authorization", f"Bearer {TOKEN}"))
        assert (answer.status, answer.header("content-type")) == (200, "image/png")
        with Image.open(io.BytesIO(answer.body)) as picture:
            picture.verify()
        with Image.open(io.BytesIO(answer.body)) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGB")
            assert picture.height >= 256
        (tmp_path / "8.png").write_bytes(answer.body)
        memory = look(tmp_path / "8.png")
        assert not any(memory.damage.values())
        found = [one for one in records(memory) if sent["scroll_id"].encode() in one.payload]
        assert "scroll_in" in {record.kind for record in found}  # its sender's row may not be free yet
        rows = (await program.call("disk.rows", node="den", bank=8))["rows"]
        assert any(row["kind"] == "scroll_in" and row["state"] == "live" for row in rows)
        await agent.dial()
        await states(program, sent["scroll_id"], "answered")


def records(memory: Any) -> list[Record]:
    """Every live record of a disk."""
    return [record for zone in memory.zones for record in memory.scan(zone)]
