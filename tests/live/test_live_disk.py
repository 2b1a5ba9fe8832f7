"""A PXLDisk looked at while it works: watched over the mesh, as pictures, in the past, checked."""

import asyncio
import base64
import contextlib
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from live import SOON_S, TOKEN, Answer, Program, Refused, System, http, new_system

BEARER = ("Authorization", f"Bearer {TOKEN}")
Json = dict[str, Any]


def rows_told(program: Program, bank: int = 8) -> dict[int, Json]:
    """The last thing that a program was told of each row."""
    rows: dict[int, Json] = {}
    for params in program.params_of("disk.changed", bank=bank):
        rows |= {row["row"]: row for row in params["rows"]}
    return rows


async def is_up_to_date(program: Program) -> None:
    """Return when what was told of every row that was told is what the row is."""

    async def differ() -> list[Json]:
        told = rows_told(program)
        rows = (await program.call("disk.rows", node="den", bank=8, only=sorted(told)))["rows"]
        return [row for row in rows if told[row["row"]] != {key: row[key] for key in told[row["row"]]}]

    async with asyncio.timeout(SOON_S):
        while True:
            count = len(program.notices)
            if not await differ():
                return
            await program.until(lambda before=count: len(program.notices) > before, "news")


async def send(program: Program, to: str, message: str) -> Json:
    return await program.call("scroll.send", to=to, message=message)


async def answered(program: Program, scroll: str) -> None:
    def look() -> list[Json]:
        return program.params_of("scroll.changed", scroll_id=scroll, state="answered")

    await program.until(look, "its answer")


# --- watching ----------------------------------------------------------------------------------------------


async def test_rows_are_told_to_who_watches_and_to_nobody_else(system: System, program: Program):
    async with system.program() as other, system.agent("shelf") as agent:
        await program.knows(agent.id)
        watched = await program.call("disk.watch", node="den", bank=8)
        assert watched == {"node": agent_node(program, agent.id), "bank": 8}
        await send(program, "shelf", "one row")
        told = await program.until(lambda: rows_told(program), "a row")
        assert all(set(row) == {"row", "state", "kind", "seq"} for row in told.values())
        assert program.params_of("disk.changed")[0]["node"] == watched["node"]
        await program.until(
            lambda: any(row["state"] == "consumed" for row in rows_told(program).values()), "its end"
        )
        await is_up_to_date(program)
        assert other.params_of("disk.changed") == []


def agent_node(program: Program, agent: str) -> str:
    return str(program.agents[agent]["node"])


async def test_who_stops_watching_is_told_no_more(system: System, program: Program):
    async with system.program() as other, system.agent("unwatched") as agent:
        await program.knows(agent.id)
        for watcher in (program, other):
            await watcher.call("disk.watch", node="den", bank=8)
        assert await program.call("disk.unwatch", node="den", bank=8) == {}
        assert await program.call("disk.unwatch", node="den", bank=8) == {}
        before = len(program.params_of("disk.changed"))
        await send(program, "unwatched", "seen by the other")
        await other.until(lambda: rows_told(other), "a row")
        assert len(program.params_of("disk.changed")) == before


async def test_watching_twice_tells_once(system: System, program: Program):
    async with system.agent("twice") as agent:
        await program.knows(agent.id)
        node = agent_node(program, agent.id)
        for name in ("den", node, "den"):
            await program.call("disk.watch", node=name, bank=8)
        await send(program, "twice", "once")
        await program.until(lambda: rows_told(program), "a row")
        await is_up_to_date(program)
        rows = [row for params in program.params_of("disk.changed") for row in params["rows"]]
        told = [(row["row"], row["state"], row["seq"]) for row in rows]
        assert len(told) == len(set(told))
        await program.call("disk.unwatch", node=node, bank=8)
        count = len(program.params_of("disk.changed"))
        await send(program, "twice", "unseen")
        await program.call("mesh.get")
        assert len(program.params_of("disk.changed")) == count


@pytest.mark.parametrize("params", [{"node": "den", "bank": 3}, {"node": "nowhere"}])
async def test_what_is_not_there_cannot_be_watched(program: Program, params: Json):
    assert await program.code_of("disk.watch", **params) == -32004


async def test_a_burst_is_told_in_few_messages_and_its_end_is_right(system: System, program: Program):
    async with system.agent("burst") as agent:
        await program.knows(agent.id)
        await program.call("disk.watch", node="den", bank=8)
        sent = []
        for _ in range(10):
            asked = [await program.begin("scroll.send", to="burst", message="row") for _ in range(15)]
            sent += [(await asyncio.wait_for(answer, SOON_S))["scroll_id"] for answer in asked]
        for scroll in sent:
            await answered(program, scroll)
        await is_up_to_date(program)
        messages = len(program.params_of("disk.changed"))
        changes = sum(len(params["rows"]) for params in program.params_of("disk.changed"))
        assert messages < len(sent)  # each scroll is several commits
        assert changes >= messages


async def test_the_nodes_own_endpoint_tells_of_its_disk(system: System, program: Program):
    token = (system.home / "node" / "token").read_text().strip()
    async with system.program(system.said("node")["ws"], token) as local, system.agent("near") as agent:
        await program.knows(agent.id)
        await local.call("disk.watch", node="den", bank=8)
        await send(program, "near", "seen from here")
        await local.until(lambda: rows_told(local), "a row")
        await is_up_to_date(local)
        assert await local.code_of("disk.watch", node="attic", bank=8) == -32011


# --- pictures ----------------------------------------------------------------------------------------------


def pixel_rows(png: bytes) -> list[bytes]:
    """The scanlines, by somebody who knows only PNG: every checksum is looked at."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(name + content)
        found.append((name, content))
        at += 12 + length
    assert found[-1][0] == b"IEND"
    width, height = struct.unpack_from(">II", found[0][1])
    stream = zlib.decompress(
        b"".join(content for name, content in found if name == b"IDAT")
    )  # checks Adler-32
    stride = 1 + 3 * width
    assert len(stream) == height * stride
    return [stream[row * stride + 1 : (row + 1) * stride] for row in range(height)]


HEAD = ">BBBBBHHHHIQ"  # mark, state, version, owner, key, part, parts, next, here, total, sequence number


def live_bodies(png: bytes) -> Iterator[bytes]:
    """The body of every live record; the checksum of every row in use is looked at."""
    rows = pixel_rows(png)
    heads = []
    for row, content in enumerate(rows[2:], 2):
        if any(content):
            _, state, _, _, _, part, _, _, here, _, _ = struct.unpack_from(HEAD, content)
            end = 49 + here
            assert struct.unpack_from(">I", content, end)[0] == zlib.crc32(content[:end]), (
                f"row {row} is torn"
            )
            if state == 0xE0 and part == 0:
                heads.append(row)
    for row in heads:
        _, _, _, _, _, _, parts, _, _, total, seq = struct.unpack_from(HEAD, rows[row])
        body = b""
        for number in range(parts):
            content = rows[row]
            _, state, _, _, _, part, _, following, here, _, of = struct.unpack_from(HEAD, content)
            assert (state, part, of) == (0xE0, number, seq), f"row {row} is of another commit"
            body += content[49 : 49 + here]
            row = following
        assert len(body) == total
        yield body


async def picture(system: System, *headers: tuple[str, str], query: str = "") -> Answer:
    return await http(f"{system.url}/nodes/den/8.png{query}", BEARER, *headers)


async def test_pictures_fetched_while_scrolls_are_written_are_each_consistent(
    system: System, program: Program
):
    async with system.agent("written-to") as agent:
        await program.knows(agent.id)
        writing = True

        async def write() -> int:
            count = 0
            while writing:
                # Two rows and more: the second half of a record must never be missing.
                text = f"{count} " + "x" * 2_000
                asked = [await program.begin("scroll.send", to="written-to", message=text) for _ in range(10)]
                for answer in asked:
                    with contextlib.suppress(Refused):  # the zone is full for a moment
                        await asyncio.wait_for(answer, SOON_S)
                        count += 1
            return count

        writer = asyncio.create_task(write())
        commits, live = set(), 0
        for _ in range(40):
            answer = await picture(system)
            assert answer.status == 200
            commits.add(answer.header("hyperpi-commit"))
            for body in live_bodies(answer.body):
                live += 1
                json.loads(body[body.index(b"{") :])  # the payload is whole
        writing = False
        assert await writer > 0
        assert len(commits) > 20, "the disk was not written to meanwhile"
        assert live


async def test_a_picture_that_is_known_is_not_sent_again(system: System, program: Program):
    async with asyncio.timeout(SOON_S):
        while True:
            first = await picture(system)
            again = await picture(system, ("If-None-Match", f'"older", W/{first.header("etag")}'))
            if again.header("etag") == first.header("etag"):
                break  # else what an earlier test has sent was still being answered
    assert first.header("cache-control") == "private, no-cache"
    assert (again.status, again.body) == (304, b"")
    async with system.agent("another-row") as agent:
        await program.knows(agent.id)
        await send(program, "another-row", "now it differs")
    changed = await picture(system, ("If-None-Match", first.header("etag")))
    assert changed.status == 200
    assert changed.header("etag") != first.header("etag")


async def test_a_picture_is_for_those_who_are_logged_in(system: System):
    answer = await http(f"{system.url}/nodes/den/8.png")
    assert answer.status == 401


async def test_rows_with_content_are_the_bytes_of_the_picture(system: System, program: Program):
    async with system.agent("contents") as agent:
        await program.knows(agent.id)
        sent = await send(program, "contents", "byte for byte")
        await answered(program, sent["scroll_id"])
    async with asyncio.timeout(SOON_S):
        while True:
            rows = (await program.call("disk.rows", node="den", bank=8, content=True))["rows"]
            shown = await picture(system)
            if rows == (await program.call("disk.rows", node="den", bank=8, content=True))["rows"]:
                break  # else the disk was written to between the two
    pixels = pixel_rows(shown.body)
    for row in rows[2:]:
        assert base64.b64decode(row["content"]).ljust(768, b"\0") == pixels[row["row"]]
    assert any(row["seq"] for row in rows)
    some = (await program.call("disk.rows", node="den", bank=8, only=[9, 200, 9, 999]))["rows"]
    assert [row["row"] for row in some] == [9, 200]
    assert "content" not in some[0]


# --- the past ----------------------------------------------------------------------------------------------


async def test_a_past_state_shows_the_disk_without_what_came_later(system: System, program: Program):
    async with system.agent("remembered") as agent:
        await program.knows(agent.id)
        before = (await program.call("disk.list", node="den"))["commit"]
        sent = await send(program, "remembered", "not there yet")
        await answered(program, sent["scroll_id"])
        told = await program.call("disk.history", node="den", bank=8)
        assert told["oldest"] <= before < told["newest"]
        numbers = [commit["commit"] for commit in told["commits"]]
        assert numbers == list(range(numbers[0], told["newest"] + 1))
        needle = sent["scroll_id"].encode()
        assert needle not in (await picture(system, query=f"?commit={before}")).body
        for commit in (one for one in told["commits"] if one["commit"] > before):
            shown = await picture(system, query=f"?commit={commit['commit']}")
            assert shown.header("hyperpi-commit") == str(commit["commit"])
            assert shown.header("hyperpi-at") == commit["at"]
            if needle in shown.body:
                break  # what came before it was of another test
        assert needle in shown.body
        assert any(row["state"] == "live" for row in commit["rows"])
        assert (await picture(system, query=f"?at={commit['at']}")).status == 200
        few = await program.call("disk.history", node="den", bank=8, until=before, limit=1)
        assert [one["commit"] for one in few["commits"]] == [before]


async def test_a_past_that_the_log_does_not_hold_is_told_as_such(system: System, program: Program):
    assert await program.code_of("disk.png", node="den", bank=8, at=1.0) == -32010
    assert (await picture(system, query="?at=1")).status == 410
    assert (await picture(system, query="?commit=soon")).status == 400


# --- checking ----------------------------------------------------------------------------------------------


async def test_a_sound_disk_verifies_and_a_flipped_bit_is_named(program: Program, system: System):
    assert (await program.call("disk.verify", node="den"))["problems"] == []
    taken = (await program.call("disk.snapshot", node="den"))["snapshots"][0]
    with open(taken, "r+b") as file:  # a snapshot: the disk itself is in use
        file.seek(61 + 9 * 786 + 60)
        was = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([was[0] ^ 1]))
    (problem, *_) = (await program.call("disk.verify", node="den"))["problems"]
    assert problem["row"] == 9
    assert problem["file"] == taken.rpartition("/")[2]
    assert problem["what"] and problem["remedy"]
    shown = system.run("disk", "verify", "--node", "den")
    assert shown.returncode == 1
    assert "row 9" in shown.stdout
    with open(taken, "r+b") as file:
        file.seek(61 + 9 * 786 + 60)
        file.write(was)
    assert (await program.call("disk.verify", node="den"))["count"] == 0


# --- what breaks -------------------------------------------------------------------------------------------


async def test_a_watch_survives_its_node_and_tells_what_was_missed():
    with new_system() as system:
        system.start()
        async with system.program() as program:
            async with system.agent("lasting") as agent:
                await program.knows(agent.id)
                await program.call("disk.watch", node="den", bank=8)
                await send(program, "lasting", "before")
                await program.until(lambda: rows_told(program), "a row")
            system.kill_node()
            await program.until(
                lambda: any(node["state"] != "online" for node in program.nodes.values()), "its absence"
            )
            program.notices.clear()
            system.start_node()
            await program.until(lambda: len(rows_told(program)) == 256, "every row, as it is now")
            async with system.agent("new") as agent:
                await program.knows(agent.id)
                await send(program, "new", "after")
                await program.until(
                    lambda: len(program.params_of("disk.changed")) > 1, "a row after the node's restart"
                )
                await is_up_to_date(program)


async def test_a_page_that_comes_back_to_a_new_hypivisor_watches_again_without_a_hole():
    with new_system() as system:
        system.start()
        async with system.program() as program, system.agent("lasting") as agent:
            await program.knows(agent.id)
            await program.call("disk.watch", node="den", bank=8)
            assert system.up is not None
            system.up.kill()
            system.up.wait(10)
            await program.closed()
            system.start()
            async with system.program() as again:
                await again.knows(agent.id)
                await again.call("disk.watch", node="den", bank=8)
                await again.call("disk.png", node="den", bank=8)
                await send(again, "lasting", "after")
                await again.until(lambda: rows_told(again), "a row")
                await is_up_to_date(again)
