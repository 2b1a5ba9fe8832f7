"""Receipts on disk: written behind, kept for a week after they could change, and then no longer."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperpi.database import DiskThread
from node.outbox import REMEMBERED_S, Outgoing, Receipt
from node.receipts import ReceiptStore


@pytest.fixture
def thread() -> Iterator[DiskThread]:
    """Where files are written."""
    made = DiskThread("receipts-test")
    yield made
    made.close()


def sent(scroll_id: str, age_s: float) -> Outgoing:
    """A scroll that was sent a while ago and expired at once."""
    then = time.time() - age_s
    receipt = Receipt("shore@den", "answered", then)
    return Outgoing("river@den", {"scroll_id": scroll_id}, then, then, {receipt.to: receipt})


async def written(path: Path, thread: DiskThread, *scrolls: Outgoing) -> list[str]:
    """Keep some scrolls; what a later start finds, oldest first."""
    store = ReceiptStore.open(path, thread)
    running = asyncio.create_task(store.run())
    for scroll in scrolls:
        store.keep(scroll)
        async with asyncio.timeout(10):
            await store.kept(scroll)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    store.close()
    again = ReceiptStore.open(path, thread)
    found = [scroll.scroll["scroll_id"] for scroll in await again.load()]
    again.close()
    return found


async def test_receipts_outlive_a_restart_for_a_week_and_leave_the_disk_then(
    tmp_path: Path, thread: DiskThread
):
    path = tmp_path / "receipts.db"
    recent, old = sent("recent", REMEMBERED_S - 60), sent("old", REMEMBERED_S + 60)
    assert await written(path, thread, recent) == ["recent"]
    assert await written(path, thread, old, sent("new", 0)) == ["recent", "new"]


async def test_what_is_kept_while_the_store_runs_is_written_when_it_ends(tmp_path: Path, thread: DiskThread):
    path = tmp_path / "receipts.db"
    store = ReceiptStore.open(path, thread)
    running = asyncio.create_task(store.run())
    await asyncio.sleep(0)
    store.keep(sent("last words", 0))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    store.close()
    assert await written(path, thread) == ["last words"]


async def test_a_receipt_that_is_too_old_to_be_loaded_is_still_known(
    tmp_path: Path, thread: DiskThread, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "receipts.db"
    scrolls = [sent(f"SCROLL-{age}", age) for age in (300, 200, 100)]
    assert len(await written(path, thread, *scrolls)) == 3
    monkeypatch.setattr("node.receipts.LOADED", 2)
    store = ReceiptStore.open(path, thread)
    assert [one.scroll["scroll_id"] for one in await store.load()] == ["SCROLL-200", "SCROLL-100"]
    found = await store.find(("river@den", "SCROLL-300"))
    assert found is not None and found.receipts["shore@den"].state == "answered"
    assert await store.find(("river@den", "SCROLL-none")) is None
    store.close()
