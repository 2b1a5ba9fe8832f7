"""What a program on /ws sees and does: the roster, an agent's stream, prompts, and answers to nonsense."""

import asyncio
import contextlib
import json
import socket
import struct
from typing import Any

import pytest
from live import TOKEN, Agent, Program, Refused, System, handshake, http, socket_to

MIB = 1 << 20


# --- the roster ------------------------------------------------------------------------------------------


async def test_the_mesh_is_told_whole_and_then_by_its_changes(system: System, program: Program):
    whole = await program.call("mesh.get")
    assert {"mesh", "epoch", "rev", "me", "nodes", "agents", "limits"} <= whole.keys()
    assert whole["me"]["role"] == "operator"
    assert [(node["name"], node["state"]) for node in whole["nodes"]] == [("den", "online")]
    assert {"heartbeat_s", "disconnected_s", "lost_s"} <= whole["limits"].keys()
    async with system.agent("newcomer") as agent:
        shape = await program.knows(agent.id, state="idle")
        assert (shape["name"], shape["address"], shape["tools"]) == ("newcomer", "newcomer@den", 1)
        await agent.call("agent.changed", state="working")
        await program.knows(agent.id, state="working")
        async with system.program() as other:
            assert (await other.call("mesh.get"))["rev"] >= program.mesh["rev"]
            await other.knows(agent.id, state="working")


async def test_a_second_agent_of_a_name_gets_a_suffix(system: System):
    async with system.agent("twin") as one, system.agent("twin") as other:
        assert (one.name, other.name) == ("twin", "twin-2")
        assert one.id != other.id


# --- following an agent ----------------------------------------------------------------------------------


async def test_a_fresh_viewer_gets_the_conversation_and_then_every_event(system: System, program: Program):
    async with system.agent("teller") as agent:
        await agent.say("before")
        await program.knows(agent.id)
        told = await program.attach("teller@den")
        assert told.resume == "fresh"
        assert told.snapshot is not None
        assert [one["id"] for one in told.snapshot["entries"]] == ["e0", "e1", "e2", "e3", "e4", "e5"]
        assert told.snapshot["state"] == "idle"
        await agent.say("after it all " * 50)
        await program.until(lambda: told.of_type("message_end"), "the end of the message")
        assert told.text() == "after it all " * 50


async def test_a_viewer_that_comes_back_gets_what_it_missed_and_nothing_twice(system: System):
    async with system.agent("steady") as agent:
        async with system.program() as before:
            await before.knows(agent.id)
            told = await before.attach(agent.id)
            await agent.say("one ")
            await before.until(lambda: told.of_type("message_end"))
        await agent.say("two ")
        async with system.program() as after:
            again = await after.attach(agent.id, epoch=told.epoch, seq=told.seq)
            assert (again.resume, again.snapshot) == ("ok", None)
            await agent.say("three")
            await after.until(lambda: len(again.of_type("message_end")) == 2)
            assert told.text() + again.text() == "one two three"


async def test_an_unknown_cursor_is_answered_with_a_gap_and_a_snapshot(system: System, program: Program):
    async with system.agent("gappy") as agent:
        await program.knows(agent.id)
        for cursor in ({"epoch": "e-of-long-ago", "seq": 3}, {"epoch": "", "seq": 0}):
            told = await program.attach(agent.id, **cursor)
            assert told.resume == ("gap" if cursor["epoch"] else "fresh")
            assert told.snapshot is not None
        here = await program.attach(agent.id)
        beyond = await program.attach(agent.id, epoch=here.epoch, seq=here.seq + 1_000)
        assert beyond.resume == "gap"


async def test_another_conversation_resets_the_stream_and_begins_an_epoch(system: System, program: Program):
    async with system.agent("mover") as agent:
        await program.knows(agent.id)
        told = await program.attach(agent.id)
        agent.entries.clear()
        await agent.call("agent.changed", reset="new", session={"id": "s2"})
        reset = (await program.until(lambda: told.resets, "the reset"))[0]
        assert reset["reason"] == "new"
        again = await program.attach(agent.id, epoch=told.epoch, seq=told.seq)
        assert again.resume == "gap"
        assert again.epoch != told.epoch
        assert again.snapshot is not None
        assert again.snapshot["entries"] == []
        await agent.say("in the new one")
        await program.until(lambda: again.of_type("message_end"))
        assert again.text() == "in the new one"


async def test_older_entries_are_read_page_by_page(system: System, program: Program):
    async with system.agent("rememberer") as agent:
        await program.knows(agent.id)
        first = await program.call("agent.history", agent=agent.id, before="e4", limit=2)
        assert ([one["id"] for one in first["entries"]], first["more"]) == (["e2", "e3"], True)
        rest = await program.call("agent.history", agent=agent.id, before="e2", limit=20)
        assert ([one["id"] for one in rest["entries"]], rest["more"]) == (["e0", "e1"], False)


async def test_after_detaching_no_more_events_come(system: System, program: Program):
    async with system.agent("quieted") as agent, system.program() as other:
        await program.knows(agent.id)
        told, kept = await program.attach(agent.id), await other.attach(agent.id)
        assert await program.call("agent.detach", agent="quieted") == {}
        await agent.say("for the other alone")
        await other.until(lambda: kept.of_type("message_end"))
        await program.call("mesh.get")
        assert told.events == []


async def test_all_viewers_of_an_agent_get_the_same_events(system: System):
    async with system.agent("star") as agent, system.program() as one, system.program() as other:
        await one.knows(agent.id)
        first, second = await one.attach(agent.id), await other.attach(agent.id)
        await asyncio.gather(
            *(agent.emit({"type": "notice", "level": "info", "text": str(n)}) for n in range(200))
        )
        for program, told in ((one, first), (other, second)):
            await program.until(lambda told=told: len(told.of_type("notice")) == 200, "all notices")
        assert first.of_type("notice") == second.of_type("notice")


async def test_an_event_of_an_unknown_type_is_passed_on_as_it_is(system: System, program: Program):
    async with system.agent("odd") as agent:
        await program.knows(agent.id)
        told = await program.attach(agent.id)
        await agent.emit({"type": "never.heard.of", "what": {"ever": [1, 2.5, None, "ü\u2028"]}})
        found = (await program.until(lambda: told.of_type("never.heard.of")))[0]
        assert found["what"] == {"ever": [1, 2.5, None, "ü\u2028"]}


# --- prompts ---------------------------------------------------------------------------------------------


async def test_a_prompt_enters_the_conversation_once_however_often_it_is_sent(
    system: System, program: Program
):
    async with system.agent("listener") as agent:
        await program.knows(agent.id)
        told = await program.attach(agent.id)
        sent = await program.call("agent.prompt", agent=agent.id, text="hello", id="p-1")
        assert sent["id"] == "p-1"
        assert sent["receipt"] in {"queued", "delivered"}
        await program.until(lambda: told.of_type("user_message"), "the prompt in the conversation")
        again = await program.call("agent.prompt", agent=agent.id, text="hello", id="p-1")
        assert again == {"id": "p-1", "receipt": "delivered"}
        assert [prompt["text"] for prompt in agent.prompts] == ["hello"]
        assert told.of_type("user_message")[0]["prompt_id"] == "p-1"
        assert told.of_type("user_message")[0]["source"] == "api"
        changes = [change["receipt"] for change in program.params_of("prompt.changed", id="p-1")]
        assert changes[-1:] == ["delivered"]


async def test_prompts_of_one_viewer_keep_their_order(system: System, program: Program):
    async with system.agent("orderly") as agent:
        await program.knows(agent.id)
        texts = [f"number {number}" for number in range(30)]
        await asyncio.gather(
            *[await program.begin("agent.prompt", agent=agent.id, text=text) for text in texts]
        )
        assert [prompt["text"] for prompt in agent.prompts] == texts


async def test_a_prompt_for_an_agent_that_is_away_is_held_and_then_run_once(system: System, program: Program):
    async with system.agent("absent") as agent:
        await program.knows(agent.id)
        await agent.cut()
        held = await program.call("agent.prompt", agent=agent.id, text="later", id="p-later")
        assert held["receipt"] == "stored"
        await agent.dial()
        await agent.until(lambda: agent.prompts, "the prompt")
        assert [prompt["id"] for prompt in agent.prompts] == ["p-later"]


async def test_an_empty_prompt_and_one_for_nobody_are_refused(system: System, program: Program):
    async with system.agent("choosy") as agent:
        await program.knows(agent.id)
        assert await program.code_of("agent.prompt", agent=agent.id, text=" ") == -32602
        assert await program.code_of("agent.prompt", agent="nobody", text="hello") == -32004
        assert await program.code_of("agent.prompt", agent="choosy@nowhere", text="hello") == -32004
        assert agent.prompts == []


# --- nonsense --------------------------------------------------------------------------------------------


def _request(method: str, params: Any, number: Any = 7) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", -32700),
        ("", -32700),
        ("not json", -32700),
        ('{"jsonrpc":"2.0","id":1,"method":"mesh.get","params":{"a":NaN}}', -32700),
        ('{"jsonrpc":"2.0","id":1,"id":2,"method":"mesh.get"}', -32700),
        ("[" * 2_000 + "]" * 2_000, -32700),
        (f"[{_request('mesh.get', {})},{_request('mesh.get', {}, 8)}]", -32600),
        ("[]", -32600),
        ("42", -32600),
        ('{"jsonrpc":"2.0","id":3}', -32600),
        (b"\x00\x01binary", -32600),
    ],
    ids=[
        "torn",
        "empty",
        "words",
        "nan",
        "key twice",
        "deep",
        "batch",
        "no batch",
        "number",
        "bare",
        "binary",
    ],
)
async def test_what_is_no_request_is_answered_and_the_stream_lives(
    program: Program, sent: str | bytes, code: int
):
    await program.send(sent)
    complaint = (await program.until(lambda: program.complaints, "an answer"))[0]
    assert complaint["code"] == code
    assert "Traceback" not in complaint["message"]
    assert (await program.call("mesh.get"))["nodes"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("mesh.gone", {}, -32601),
        ("auth.session", {"cookie": "x"}, -32601),
        ("agent.attach", {}, -32602),
        ("agent.attach", {"agent": 7}, -32602),
        ("agent.attach", [], -32602),
        ("agent.attach", {"agent": "x", "seq": "7"}, -32602),
        ("agent.attach", {"agent": "nobody"}, -32004),
        ("agent.attach", {"agent": "a-" + "b" * 5_000}, -32004),
        ("agent.prompt", {"agent": "x", "text": "y", "mode": "shout"}, -32602),
        ("agent.history", {"agent": "nobody", "before": "e", "limit": 5}, -32004),
        ("agent.rename", {"agent": "nobody", "name": "x"}, -32004),
        ("scroll.get", {"scroll_id": "SCROLL-none"}, -32004),
        ("disk.rows", {"node": "den", "bank": 3}, -32004),
        ("disk.png", {"node": "nowhere", "bank": 8}, -32004),
        ("token.ls", {}, -32001),
    ],
)
async def test_a_wrong_request_gets_its_typed_error(program: Program, method: str, params: Any, code: int):
    with pytest.raises(Refused) as refusal:
        await _ask(program, method, params)
    assert refusal.value.code == code
    assert "Traceback" not in refusal.value.message


async def _ask(program: Program, method: str, params: Any) -> None:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    program._answers["odd"] = answer
    await program.send(_request(method, params, "odd"))
    await asyncio.wait_for(answer, 10)


async def test_a_notification_is_not_answered(program: Program):
    await program.send('{"jsonrpc":"2.0","method":"mesh.get"}')
    await program.send('{"jsonrpc":"2.0","method":"mesh.gone"}')
    assert (await program.call("mesh.get"))["nodes"]
    assert program.complaints == []


async def test_a_frame_beyond_a_mebibyte_closes_its_own_viewer_only(system: System, program: Program):
    async with system.program() as greedy:
        await greedy.send(_request("mesh.get", {"x": "y" * MIB}))
        assert await greedy.closed() == 1009
    assert (await program.call("mesh.get"))["nodes"]


async def test_a_frame_just_below_a_mebibyte_is_taken(system: System, program: Program):
    async with system.agent("roomy") as agent:
        await program.knows(agent.id)
        text = "y" * (MIB - 1_000)
        await program.call("agent.prompt", agent=agent.id, text=text, id="large")
        assert [len(prompt["text"]) for prompt in agent.prompts] == [len(text)]


# --- slow viewers ----------------------------------------------------------------------------------------


async def test_a_viewer_that_never_reads_is_closed_and_nobody_else_notices(system: System, program: Program):
    async with system.agent("torrent") as agent:
        await program.knows(agent.id)
        told = await program.attach(agent.id)
        with _deaf(system, agent) as deaf:
            part = {"type": "notice", "level": "info", "text": "x" * 50_000}
            for number in range(1, 401):  # 20 MB
                await agent.emit(part)
                await program.until(lambda n=number: len(told.of_type("notice")) >= n, "the next one")
            # Its end is told to whoever counts viewers, since it does not read its own close frame.
            async with asyncio.timeout(20):
                while await _viewers(system) > 1:
                    await program.call("mesh.get")
            assert deaf.fileno() > 0
        assert not told.resets


def _deaf(system: System, agent: Agent) -> socket.socket:
    """A viewer that attaches and then reads nothing at all."""
    host, port = system.url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    raw.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    asked = _request("agent.attach", {"agent": agent.id}).encode()
    raw.sendall(bytes((0x81, 0x80 | 126)) + struct.pack(">H", len(asked)) + bytes(4) + asked)  # mask 0
    return raw


async def _viewers(system: System) -> int:
    """How many viewers Pi-DE counts."""
    answer = await http(f"{system.url}/metrics", ("Authorization", f"Bearer {TOKEN}"))
    lines = answer.body.decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("hyperpi_viewers "))


# --- the node's own endpoint -----------------------------------------------------------------------------


async def test_an_agents_own_address_tells_its_stream_from_the_start(system: System):
    async with system.agent("local") as agent:
        assert agent.url == f"ws://127.0.0.1:{system.said('node')['port']}/agents/local"
        token = (system.home / "node" / "token").read_text().strip()
        async with socket_to(agent.url, Authorization=f"Bearer {token}") as socket:
            first = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert first["id"] == "agent.attached"
            assert first["result"]["agent"] == agent.id
            assert len(first["result"]["snapshot"]["entries"]) == 5
            await agent.emit({"type": "notice", "level": "info", "text": "hear"})
            event = json.loads(await asyncio.wait_for(socket.recv(), 10))["params"]["events"][0]
            assert (event["seq"], event["text"]) == (first["result"]["seq"] + 1, "hear")


async def test_the_nodes_own_ws_lists_its_agents_and_takes_prompts(system: System):
    token = (system.home / "node" / "token").read_text().strip()
    async with system.agent("homely") as agent, system.program(system.said("node")["ws"], token) as near:
        await near.knows(agent.id, state="idle")
        told = await near.attach("homely")
        assert told.resume == "fresh"
        await near.call("agent.prompt", agent="homely", text="from near", id="near-1")
        await near.until(lambda: told.of_type("user_message"))
        assert [prompt["text"] for prompt in agent.prompts] == ["from near"]
        assert await near.code_of("mesh.gone") == -32601
        assert await near.code_of("agent.attach", agent="nobody") == -32004
        await near.send(b"\x00")
        assert (await near.until(lambda: near.complaints))[0]["code"] == -32600
        await near.knows(agent.id, watchers=1)
        await near.call("agent.detach", agent="homely")
        await near.knows(agent.id, watchers=0)


async def test_everybody_who_looks_is_counted_wherever_they_look(system: System):
    token = (system.home / "node" / "token").read_text().strip()
    async with contextlib.AsyncExitStack() as stack:
        agent = await stack.enter_async_context(system.agent("watched"))
        far = [await stack.enter_async_context(system.program()) for _ in range(3)]
        near = await stack.enter_async_context(system.program(system.said("node")["ws"], token))
        for viewer in (*far, near):
            await viewer.knows(agent.id, state="idle")
            await viewer.attach("watched")
        for viewer in (far[0], near):
            await viewer.knows(agent.id, watchers=4)
        assert (await far[1].call("agent.show", agent="watched"))["watchers"] == 4
        await far[0].call("agent.detach", agent=agent.id)
        await far[1].leave()
        for viewer in (far[2], near):
            await viewer.knows(agent.id, watchers=2)
        await near.call("agent.detach", agent=agent.id)
        for viewer in (far[2], near):
            await viewer.knows(agent.id, watchers=1)


async def test_an_unknown_agents_address_says_so(system: System):
    token = (system.home / "node" / "token").read_text().strip()
    url = system.said("node")["ws"].replace("/ws", "/agents/nobody")
    async with socket_to(url, Authorization=f"Bearer {token}") as socket:
        first = json.loads(await asyncio.wait_for(socket.recv(), 10))
        assert (first["id"], first["error"]["code"]) == ("agent.attached", -32004)


@pytest.mark.parametrize("path", ["/ws", "/agents/guarded"])
async def test_the_nodes_endpoint_lets_in_its_token_alone(system: System, path: str):
    good = (system.home / "node" / "token").read_text().strip()
    url = f"ws://127.0.0.1:{system.said('node')['port']}{path}"
    bearer, other = ("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {TOKEN}")
    protocols = ("Sec-WebSocket-Protocol", f"hyperpi, bearer.{good}")

    async def status(*headers: tuple[str, str]) -> int:
        return (await handshake(url, *headers)).status

    async with system.agent("guarded"):
        assert await status() == 401
        assert await status(("Authorization", "Bearer wrong")) == 401
        assert await status(other) == 401  # Pi-DE's, not the node's
        assert await status(("Authorization", f"Basic {good}")) == 401
        assert await status(("Sec-WebSocket-Protocol", "hyperpi, bearer.wrong")) == 401
        assert await status(bearer) == 101
        assert await status(bearer, ("Origin", "https://evil.example")) == 403
        assert await status(bearer, ("Host", "evil.example")) == 400
        assert await status(bearer, ("Host", "127.0.0.1:1"), ("Host", "evil.example")) == 400
        assert await status(protocols, ("Origin", "null")) == 101
        assert (await handshake(url, protocols)).header("sec-websocket-protocol") == "hyperpi"
