"""What it costs a node that somebody watches its PXLDisk: `python -m bench.watch [--json]`.

One disk, written by 64 tasks that wait together. In turns nobody watches it, and the Link does as it would
for a viewer in the mesh: noise of the machine hits both. Time is that of the processor, all threads.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figure import Figure, at_most, table_of
from bench.pxldisk import PAYLOAD, scratch
from hyperpi.mesh_view import MeshView
from hyperpi.roles import VIEWER, Caller
from hyperpi.viewer import Viewer
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.bank_feeds import GATHER_S, BankFeed, BankFeeds
from node.link_banks import LinkBanks
from pxldisk import Consume, Disk

ROUNDS = 9
WRITERS = 64
ROWS = 16_000  # of a round, a multiple of twice the writers
CALM_ROWS = 25


def measure() -> list[Figure]:
    """All figures."""
    with scratch() as folder:
        return asyncio.run(_measure(folder))


async def _measure(folder: Path) -> list[Figure]:
    async with Disk.open(folder / "disk") as disk:
        feeds = BankFeeds(disk)
        running = asyncio.create_task(feeds.run())
        try:
            return [*await busy(disk, feeds), await calm(disk, feeds)]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class WatchedBank:
    """The Link's side: takes what is to be sent whenever it is woken, and counts its bytes."""

    def __init__(self, feeds: BankFeeds) -> None:
        self.bytes = 0
        self.rows = 0
        self.woken = asyncio.Event()
        self.banks = LinkBanks(feeds, lambda: "n-bench", self.woken.set)

    async def send(self) -> None:
        """Encode and count until cancelled."""
        while True:
            await self.woken.wait()
            self.woken.clear()
            self.take()

    def take(self) -> None:
        """What waits now."""
        while frames := self.banks.frames():
            self.bytes += len(mesh_pb2.NodeBatch(frames=frames).SerializeToString())
            self.rows += sum(len(frame.bank_rows.rows) for frame in frames)


@asynccontextmanager
async def watched(feeds: BankFeeds) -> AsyncIterator[WatchedBank]:
    """The bank is watched as long as the block lasts."""
    watching = WatchedBank(feeds)
    watching.banks.watch(mesh_pb2.WatchBank(call=1, bank=8))
    sending = asyncio.create_task(watching.send())
    try:
        yield watching
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        watching.take()
        watching.banks.close()


async def busy(disk: Disk, feeds: BankFeeds) -> list[Figure]:
    """A writer at full speed, watched and not."""
    alone, seen, sent = [], [], []
    for _ in range(ROUNDS):
        alone.append(await cpu_us_per_row(disk))
        async with watched(feeds) as watching:
            seen.append(await cpu_us_per_row(disk))
            await asyncio.sleep(2 * GATHER_S)  # what is gathered is told
        sent.append(watching.bytes * 1_000 / ROWS)
    times = statistics.median(ours / theirs for ours, theirs in zip(seen, alone, strict=True))
    median, others = statistics.median(seen), statistics.median(alone)
    picture = len(disk.png(8))
    said = f"{median:.1f} us a committed row, {median - others:+.1f} us", f"not watched {others:.1f} us"
    bytes_ = statistics.median(sent)
    return [
        at_most("CPU of a row, watched / not watched, full speed", times, "x", 1.25, *said),
        at_most(
            "1,000 rows at full speed, on the Link",
            bytes_ / 1_000,
            "kB",
            picture / 4_000,
            f"{bytes_ / picture:.3f} of a picture: changes of one row are merged",
            "not watched 0",
        ),
    ]


async def cpu_us_per_row(disk: Disk) -> float:
    """Processor time of committing one row, in microseconds."""

    async def write() -> None:
        for _ in range(ROWS // WRITERS // 2):
            ref = await disk.append("input_scrolls", PAYLOAD)
            await disk.commit([Consume(ref)])

    started = time.process_time()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return (time.process_time() - started) * 1e6 / (ROWS // WRITERS // 2 * WRITERS * 2)


async def calm(disk: Disk, feeds: BankFeeds) -> Figure:
    """Rows so far apart that none is merged with another: each is a message of its own, to a viewer."""
    viewer = Viewer(_OneDisk(feeds), Caller("bench", VIEWER, "api"), outlet := _Counting())
    writing = asyncio.create_task(viewer.run())
    viewer.rpc.receive(b'{"jsonrpc":"2.0","id":1,"method":"disk.watch","params":{"node":"n-bench"}}')
    await outlet.messages.get()
    outlet.bytes = 0
    for _ in range(CALM_ROWS):
        await disk.append("input_scrolls", PAYLOAD)
        await outlet.messages.get()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await viewer.leave()
    bytes_ = outlet.bytes * 1_000 / CALM_ROWS
    picture = len(disk.png(8))
    return at_most(
        "1,000 rows one by one, to a viewer",
        bytes_ / 1_000,
        "kB",
        picture / 1_000,
        f"{bytes_ / picture:.2f} of a picture",
        "not watched 0; a picture for each would be 1000 of them",
    )


class _OneDisk:
    """As much of a viewer's backend as `disk.watch` needs."""

    def __init__(self, feeds: BankFeeds) -> None:
        self.view = MeshView()
        self._feeds = feeds

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        return self._feeds.open(node, bank, wake)


class _Counting:
    def __init__(self) -> None:
        self.bytes = 0
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, message: bytes) -> None:
        self.bytes += len(message)
        self.messages.put_nowait(message)

    async def close(self, code: int, reason: str) -> None:
        raise RuntimeError(f"{code} {reason}")


if __name__ == "__main__":
    table_of("watch", measure)
