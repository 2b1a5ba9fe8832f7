"""Following a node's disk: nothing while nobody looks, everything from the moment that somebody does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hyperpi.errors import NotFound
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.bank_feeds import BankFeed, BankFeeds
from node.link_banks import LinkBanks
from pxldisk import Disk

PATIENCE_S = 10.0
NODE = "n-den"


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    async with Disk.open(tmp_path / "disk") as opened:
        yield opened


@pytest.fixture
async def feeds(disk: Disk) -> AsyncIterator[BankFeeds]:
    made = BankFeeds(disk)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


class Follower:
    """Somebody who follows bank 8."""

    def __init__(self, feeds: BankFeeds) -> None:
        self.woken = asyncio.Event()
        self.feed: BankFeed = feeds.open(NODE, 8, self.woken.set)
        self.known: dict[int, dict[str, Any]] = {}

    async def hears_of(self, row: int, **wanted: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for number, told in self.feed.changes.take():
                    self.known[number] = json.loads(told)
                if row in self.known and wanted.items() <= self.known[row].items():
                    return
                self.woken.clear()
                await self.woken.wait()


async def test_a_disk_that_nobody_follows_is_not_watched(disk: Disk, feeds: BankFeeds):
    await disk.append("input_scrolls", b"{}")
    assert not disk._watches
    follower = Follower(feeds)
    assert len(disk._watches) == 1
    other = Follower(feeds)
    assert len(disk._watches) == 1  # one watch serves them all
    follower.feed.release()
    assert len(disk._watches) == 1
    other.feed.release()
    other.feed.release()
    ref = await disk.append("input_scrolls", b"{}")
    await disk.consume(ref)
    async with asyncio.timeout(PATIENCE_S):
        while disk._watches:  # the loop above lets go of it at its next turn
            await asyncio.sleep(0)
    assert other.feed.changes.take() == []


async def test_whatever_is_committed_after_following_began_is_told(disk: Disk, feeds: BankFeeds):
    follower = Follower(feeds)
    ref = await disk.append("input_scrolls", b"{}", kind="scroll")
    await follower.hears_of(ref.row, state="live", kind="scroll", seq=ref.seq)
    await disk.consume(ref)
    await follower.hears_of(ref.row, state="consumed", seq=ref.seq)


async def test_following_begins_again_after_the_last_one_has_gone(disk: Disk, feeds: BankFeeds):
    first = Follower(feeds)
    ref = await disk.append("input_scrolls", b"{}")
    await first.hears_of(ref.row)
    first.feed.release()
    second = Follower(feeds)
    ref = await disk.append("output_opcodes", b"{}")
    await second.hears_of(ref.row)
    assert ref.row not in first.known


async def test_a_burst_is_merged_and_its_end_is_known(disk: Disk, feeds: BankFeeds):
    follower = Follower(feeds)
    for _ in range(300):
        ref = await disk.append("input_scrolls", b"{}")
        await disk.consume(ref)
    assert len(list(follower.feed.changes.take(100_000))) <= 191  # no more than the zone has rows
    await follower.hears_of(ref.row, state="consumed", seq=ref.seq)


async def test_a_bank_that_is_not_there_is_not_followed(disk: Disk, feeds: BankFeeds):
    with pytest.raises(NotFound, match=r"9\.png"):
        feeds.open(NODE, 9, lambda: None)
    assert not disk._watches


async def test_closing_the_disk_ends_the_feeds(tmp_path: Path):
    disk = await Disk.open(tmp_path / "disk")
    feeds = BankFeeds(disk)
    running = asyncio.create_task(feeds.run())
    feeds.open(NODE, 8, lambda: None)
    await disk.close()
    await asyncio.wait_for(running, PATIENCE_S)


# --- the link's side -------------------------------------------------------------------------------------


def told(frames: list[mesh_pb2.NodeFrame]) -> dict[int, dict[str, Any]]:
    assert all(frame.WhichOneof("frame") == "bank_rows" for frame in frames)
    rows = [row for frame in frames for row in convert.rows_from_wire(frame.bank_rows.rows)]
    return {row: json.loads(encoded) for row, encoded in rows}


async def test_the_link_tells_of_watched_banks_until_its_stream_ends(disk: Disk, feeds: BankFeeds):
    woken = asyncio.Event()
    banks = LinkBanks(feeds, lambda: NODE, woken.set)
    assert banks.watch(mesh_pb2.WatchBank(call=1, bank=8)).result_json == b"{}"
    ref = await disk.append("input_scrolls", b"{}")
    await asyncio.wait_for(woken.wait(), PATIENCE_S)
    assert told(banks.frames())[ref.row]["state"] == "live"
    assert banks.frames() == []
    banks.close()
    assert not feeds._followers
    assert banks.frames() == []


async def test_a_watcher_that_comes_back_is_told_of_every_row(disk: Disk, feeds: BankFeeds):
    ref = await disk.append("input_scrolls", b"{}", kind="scroll")
    banks = LinkBanks(feeds, lambda: NODE, lambda: None)
    banks.watch(mesh_pb2.WatchBank(call=1, bank=8, whole=True))
    rows = told(banks.frames())
    assert sorted(rows) == list(range(256))
    assert rows[ref.row] == {"row": ref.row, "state": "live", "kind": "scroll", "seq": ref.seq}


async def test_the_link_is_told_that_a_bank_is_not_there(disk: Disk, feeds: BankFeeds):
    banks = LinkBanks(feeds, lambda: NODE, lambda: None)
    reply = banks.watch(mesh_pb2.WatchBank(call=7, bank=12))
    assert reply.call == 7
    assert isinstance(convert.error_from_wire(reply.error), NotFound)
