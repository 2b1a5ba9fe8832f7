"""The stand-in's PXLDisk: a real one in a temporary folder, answered for by the node's own methods."""

import asyncio
import base64
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hyperpi.clock import from_rfc3339
from hyperpi.roles import VIEWER, Caller
from node.bank_feeds import BankFeed, BankFeeds
from node.disk_methods import DiskMethods
from pxldisk import Consume, Disk, RowRef

Json = dict[str, Any]
Notify = Callable[[str, Json], None]
NODE = "n1"
CALLER = Caller("ada", VIEWER, "pide")
PEOPLE = ["lead@den", "frontend@den", "server@den", "client@attic", "release@den"]
SAID = [
    "schema changed: sessions.epoch is text now",
    "banner text moved to banner.js, please adapt the fixture",
    "the migration ran on staging; 14 rows were skipped, all of them expired tokens",
    "can you look at the flaky reconnect test? it fails once in forty runs on the small machine",
    "done, merged as 4f1c",
]
ANSWERS = ["Seen. The fixture is adapted.", "on it", "reproduced: the counter is never reset"]


class StandInDisk:
    """What happens on the disk, and who watches it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.feeds = BankFeeds(disk)
        self._handlers = DiskMethods(disk).handlers()
        self._held: dict[Notify, list[BankFeed]] = {}
        self._rng = random.Random(8)
        self._number = 0

    async def call(self, method: str, params: Json, notify: Notify) -> Json:
        """One method of the contract."""
        if method == "disk.watch":
            self._watch(params.get("bank", 8), notify)
            return {"node": NODE, "bank": params.get("bank", 8)}
        if method == "disk.unwatch":
            self.left(notify)
            return {}
        answer: Json = await self._handlers[method](params, CALLER)
        return answer

    def _watch(self, bank: int, notify: Notify) -> None:
        def tell() -> None:
            rows = [json.loads(told) for _, told in feed.changes.take()]
            notify("disk.changed", {"node": NODE, "bank": bank, "rows": rows})

        feed = self.feeds.open(NODE, bank, tell)
        self._held.setdefault(notify, []).append(feed)

    def left(self, notify: Notify) -> None:
        """A viewer watches no more."""
        for feed in self._held.pop(notify, []):
            feed.release()

    async def picture(self, bank: int, query: Json) -> tuple[bytes, Json]:
        """The PNG, and its headers."""
        asked: Json = {"node": NODE, "bank": bank}
        if "commit" in query:
            asked["commit"] = int(query["commit"])
        if "at" in query:
            asked["at"] = from_rfc3339(query["at"])
        told = await self._handlers["disk.png"](asked, CALLER)
        headers = {"hyperpi-commit": str(told["commit"])}
        return base64.b64decode(told["png"]), headers | ({"hyperpi-at": told["at"]} if told["at"] else {})

    async def scroll(self, long: bool = False) -> RowRef:
        """A scroll comes in."""
        self._number += 1
        sender, to = self._rng.sample(PEOPLE, 2)
        said = " ".join(self._rng.choices(SAID, k=12)) if long else self._rng.choice(SAID)
        scroll = {"scroll_id": f"SCROLL-{self._number:04}", "from": sender, "to": to, "message": said}
        row = {"sender": sender, "to": to, "scroll": {**scroll, "urgency": "normal", "ttl_s": 86_400}}
        key = f"in {sender} {scroll['scroll_id']} {to}"
        return await self.disk.append(
            "input_scrolls", json.dumps(row).encode(), kind="scroll_in", owner=to, key=key
        )

    async def answer(self, scroll: RowRef) -> None:
        """Its opcode, in the same commit as the end of its row."""
        to, sender = self._rng.sample(PEOPLE, 2)
        opcode = {"from": sender, "to": to, "opcode_type": "text_display"}
        row = {"sender": sender, "opcode": {**opcode, "content": self._rng.choice(ANSWERS)}}
        ref = await self.disk.append("output_opcodes", json.dumps(row).encode(), kind="opcode", owner=sender)
        await self.disk.commit([Consume(scroll)])
        if self._rng.random() < 0.7:
            await self.disk.commit([Consume(ref)])

    async def live_a_little(self, scrolls: int) -> None:
        """Scrolls come, most are answered."""
        for number in range(scrolls):
            ref = await self.scroll(long=number % 5 == 0)
            if self._rng.random() < 0.75:
                await self.answer(ref)

    async def play(self, scene: str) -> None:
        """What a scene does to it."""
        if scene == "disk-scroll":
            await self.scroll()
        elif scene == "disk-burst":
            await self.live_a_little(30)
        elif scene == "disk-grow":
            while len(self.disk.stats().banks) < 2:
                await self.scroll(long=True)
        elif scene == "disk-damage":
            path, *_ = await self.disk.snapshot()
            image = bytearray(path.read_bytes())
            image[61 + 12 * 786 + 60] ^= 1
            path.write_bytes(image)


class _Clock:
    """Goes faster while the past is written, so that records have ages."""

    def __init__(self) -> None:
        self.behind_s = 3_000.0

    def __call__(self) -> float:
        self.behind_s = max(0.0, self.behind_s - 15.0)
        return time.time() - self.behind_s


@asynccontextmanager
async def stand_in_disk() -> AsyncIterator[StandInDisk]:
    """A disk with a past, as long as the block lasts."""
    memory = Path("/dev/shm")  # where syncing costs nothing: nobody looks at this disk tomorrow
    with tempfile.TemporaryDirectory(prefix="hps-", dir=memory if memory.is_dir() else None) as folder:
        async with Disk.open(Path(folder) / "disk", max_banks=2, clock=_Clock()) as disk:
            made = StandInDisk(disk)
            await made.live_a_little(44)
            running = asyncio.create_task(made.feeds.run())
            try:
                yield made
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
