"""Many tasks on one disk at once: appending, consuming, cancelling, over checkpoints and new banks."""

import asyncio
import random
from pathlib import Path

import pytest
from disk_rig import payloads, small

import pxldisk
from pxldisk import Consume, Disk, verify

TASKS, STEPS = 12, 40


class Crowd:
    """What the tasks know: acknowledged payloads by key, keys consumed, keys whose fate is open."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.stored: dict[str, bytes] = {}
        self.gone: set[str | None] = set()
        self.unknown: set[str | None] = set()

    async def work(self, disk: Disk) -> None:
        for _ in range(STEPS):
            step = self.chance.random()
            if step < 0.55:
                await self.append(disk)
            elif step < 0.94:
                await self.consume(disk)
            elif step < 0.97:
                await disk.snapshot()
            else:
                await disk.checkpoint()
                assert await disk.verify() == []

    async def append(self, disk: Disk) -> None:
        key, payload = f"{self.chance.random()}", self.chance.randbytes(self.chance.randrange(200))
        appending = asyncio.create_task(disk.append("in", payload, key=key))
        if self.chance.random() < 0.1:
            await asyncio.sleep(0)
            appending.cancel()
        try:
            ref = await appending
            self.stored[key] = payload
            if self.chance.random() < 0.2:
                assert await disk.append("in", b"the key decides", key=key) == ref
        except pxldisk.ZoneFull:
            pass
        except asyncio.CancelledError:
            self.unknown.add(key)

    async def consume(self, disk: Disk) -> None:
        live = list(disk.scan("in"))
        if not live:
            return
        record = self.chance.choice(live)
        try:
            await disk.commit([Consume(record.ref)])
        except pxldisk.StaleRef:
            return  # another task was quicker
        assert record.key not in self.gone, "consumed twice"
        self.gone.add(record.key)

    def check(self, disk: Disk) -> None:
        found = {record.key: record.payload for record in disk.scan("in") if record.key not in self.unknown}
        assert found == {key: payload for key, payload in self.stored.items() if key not in self.gone}


@pytest.mark.parametrize("seed", range(4))
async def test_a_crowd_of_tasks_loses_nothing_and_consumes_nothing_twice(quick: Path, seed: int) -> None:
    crowd, folder = Crowd(seed), quick / "disk"
    for segment_bytes in (2000, 6000):
        async with small(folder, max_banks=3, segment_bytes=segment_bytes, keep_log_bytes=50_000) as disk:
            crowd.check(disk)
            watch = disk.watch()
            seen: set[tuple[int, int]] = set()

            async def look(watch: pxldisk.Watch = watch, seen: set[tuple[int, int]] = seen) -> None:
                async for changes in watch:
                    seen.update((change.bank, change.row) for change in changes)

            looking = asyncio.create_task(look())
            async with asyncio.TaskGroup() as tasks:
                for _ in range(TASKS):
                    tasks.create_task(crowd.work(disk))
            # A commit whose caller was cancelled may still be on its way; a checkpoint waits for all.
            await disk.checkpoint()
            crowd.check(disk)
            assert disk.stats().in_flight == 0 and disk.stats().damage == ()
            stored = payloads(disk)
        await looking
        assert seen
    async with small(folder, max_banks=3) as disk:
        assert payloads(disk) == stored
    assert verify(folder) == []
