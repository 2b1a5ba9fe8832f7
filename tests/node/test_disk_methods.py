"""What a node answers about its disk, with a real disk: consistent, bounded, in our own errors."""

import asyncio
import base64
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hyperpi.errors import BadRequest, CursorCompacted, NotFound, Overloaded, Unusable
from hyperpi.roles import VIEWER, Caller
from node.bank_feeds import BankFeeds
from node.disk_methods import MAX_WAITING, DiskMethods
from pxldisk import Append, Consume, Disk

PATIENCE_S = 20.0
ANN = Caller("ann", VIEWER, "pide")
FIRST_PIXEL, STRIDE = 61, 3 * 256 + 18


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    async with Disk.open(tmp_path / "disk", segment_bytes=100_000) as opened:
        yield opened


async def ask(disk: Disk | DiskMethods, method: str, **params: Any) -> dict[str, Any]:
    methods = disk if isinstance(disk, DiskMethods) else DiskMethods(disk)
    answer: dict[str, Any] = await methods.handlers()[method]({"node": "den", **params}, ANN)
    return answer


def bodies(png: bytes) -> list[bytes]:
    """What live rows hold, by their constant places in the file; Adler-32 and lengths are checked by zlib."""
    parts, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        chunk = png[at + 4 : at + 8 + length]
        assert int.from_bytes(png[at + 8 + length : at + 12 + length]) == zlib.crc32(chunk)
        parts.append(chunk[4:] if chunk[:4] == b"IDAT" else b"")
        at += 12 + length
    stream = zlib.decompress(b"".join(parts))
    rows = [stream[row * 769 + 1 : (row + 1) * 769] for row in range(256)]
    return [row[49 : 49 + int.from_bytes(row[11:13])] for row in rows[2:] if row[1] == 0xE0]


async def test_no_picture_shows_half_a_commit_while_a_writer_runs_at_full_speed(disk: Disk):
    methods = DiskMethods(disk)
    done = asyncio.Event()

    async def write() -> int:
        """Pairs of records, both of one commit, and replaced by the next one."""
        number = 0
        while not done.is_set():
            text = b"%d" % number
            refs = await disk.commit([Append("input_scrolls", text), Append("output_opcodes", text)])
            await disk.commit([Consume(ref) for ref in refs if ref is not None])
            number += 1
        return number

    writer = asyncio.create_task(write())
    seen: set[bytes] = set()
    commits: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < 60:
            answer = await ask(methods, "disk.png", bank=8)
            commits.append(answer["commit"])
            found = bodies(base64.b64decode(answer["png"]))
            assert len(found) in {0, 2}, "half a commit"
            assert len(set(found)) <= 1, "halves of two commits"
            seen.update(found)
            await asyncio.sleep(0)
        done.set()
        assert await writer >= 60
    assert commits == sorted(commits)


async def test_the_etag_is_of_the_bytes_and_saves_them(disk: Disk):
    first = await ask(disk, "disk.png", bank=8)
    same = await ask(disk, "disk.png", bank=8, unless=["x", first["etag"]])
    assert "png" not in same
    await disk.append("input_scrolls", b"{}")
    assert "png" in await ask(disk, "disk.png", bank=8, unless=[first["etag"]])


async def test_every_kept_commit_can_be_shown_and_no_older_one(disk: Disk):
    for number in range(40):
        ref = await disk.append("input_scrolls", b"%d" % number)
    told = await ask(disk, "disk.history", bank=8)
    assert told["newest"] == disk.stats().commits
    assert len(told["commits"]) == told["newest"] - told["oldest"]
    for commit in (told["oldest"], told["newest"] - 1, told["newest"]):
        assert (await ask(disk, "disk.png", bank=8, commit=commit))["commit"] == commit
    assert told["commits"][-1]["rows"] == [
        {"row": ref.row, "state": "live", "kind": "record", "seq": ref.seq}
    ]
    assert bodies(base64.b64decode((await ask(disk, "disk.png", bank=8))["png"]))[-1] == b"39"
    with pytest.raises(CursorCompacted):
        await ask(disk, "disk.png", bank=8, at=1.0)


async def test_a_history_is_bounded(disk: Disk):
    for _ in range(30):
        await disk.append("input_scrolls", b"{}")
    newest = disk.stats().commits
    few = await ask(disk, "disk.history", bank=8, limit=5)
    assert [one["commit"] for one in few["commits"]] == list(range(newest - 4, newest + 1))
    before = await ask(disk, "disk.history", bank=8, limit=5, until=newest - 5)
    assert [one["commit"] for one in before["commits"]] == list(range(newest - 9, newest - 4))
    for limit in (0, 1_001):
        with pytest.raises(BadRequest):
            await ask(disk, "disk.history", bank=8, limit=limit)


async def test_looking_back_is_for_a_few_at_a_time(disk: Disk):
    await disk.append("input_scrolls", b"{}")
    methods = DiskMethods(disk)
    asked = [ask(methods, "disk.history", bank=8) for _ in range(MAX_WAITING + 3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 3
    assert (await ask(methods, "disk.history", bank=8))["newest"] == disk.stats().commits


async def test_content_is_what_a_row_holds_and_is_bounded(disk: Disk):
    ref = await disk.append("input_scrolls", b"hello", kind="scroll")
    (row,) = (await ask(disk, "disk.rows", bank=8, only=[ref.row], content=True))["rows"]
    content = base64.b64decode(row["content"])
    assert content[49:54] == b"hello"
    assert (row["state"], row["kind"], row["seq"]) == ("live", "scroll", ref.seq)
    assert content == disk.png(8)[FIRST_PIXEL + ref.row * STRIDE :][:768].rstrip(b"\0")


async def test_asking_for_one_bank_neither_counts_its_rows_nor_copies_a_picture_that_cannot_travel(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await disk.append("input_scrolls", b"hello")
    monkeypatch.setattr(Disk, "stats", refused)
    for method in ("disk.rows", "disk.png", "disk.history"):
        assert (await ask(disk, method, bank=8))["bank" if method != "disk.png" else "png"]
        with pytest.raises(NotFound):
            await ask(disk, method, bank=9)
    BankFeeds(disk).open("den", 8, lambda: None)
    async with Disk.open(tmp_path / "large", width=1_024, height=1_024, zones={"all": (0, 1_023)}) as large:
        monkeypatch.setattr(Disk, "png", refused)
        with pytest.raises(Unusable, match="more than travels"):
            await ask(large, "disk.png", bank=8)


def refused(*_: object) -> None:
    raise AssertionError("this takes long while nothing else runs")


async def test_a_picture_too_large_for_a_message_is_refused_with_a_way_out(tmp_path: Path):
    async with Disk.open(tmp_path / "large", width=1_024, height=1_024, zones={"all": (0, 1_023)}) as disk:
        with pytest.raises(Unusable, match="more than travels") as refused:
            await ask(disk, "disk.png", bank=8)
        assert refused.value.hint is not None
        assert len((await ask(disk, "disk.rows", bank=8))["rows"]) == 1_024


async def test_a_bank_that_is_not_there_is_not_found(disk: Disk):
    for method in ("disk.rows", "disk.png", "disk.history"):
        with pytest.raises(NotFound, match=r"9\.png"):
            await ask(disk, method, bank=9)
    with pytest.raises(NotFound):
        await ask(disk, "disk.png", bank=9, commit=disk.stats().commits)


async def test_damage_is_named_by_file_row_and_offset_and_who_asks_together_shares_the_look(disk: Disk):
    assert (await ask(disk, "disk.verify"))["problems"] == []
    ref = await disk.append("input_scrolls", b"hello")
    (snapshot,) = await disk.snapshot()
    image = bytearray(snapshot.read_bytes())
    image[FIRST_PIXEL + ref.row * STRIDE + 50] ^= 1
    snapshot.write_bytes(image)
    methods = DiskMethods(disk)
    one, two = await asyncio.gather(ask(methods, "disk.verify"), ask(methods, "disk.verify"))
    assert one["problems"] == two["problems"]
    problem = next(p for p in one["problems"] if p["row"] == ref.row)
    assert problem["file"] == snapshot.name
    assert problem["what"] and problem["remedy"]
    assert one["count"] == len(one["problems"])
