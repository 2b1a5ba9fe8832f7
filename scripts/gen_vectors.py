"""Generate tests/pxldisk/vectors/: small disks and, beside each, the JSON of what it holds.

    python scripts/gen_vectors.py            write them all again
    python scripts/gen_vectors.py --check    exit 1 and name the files when the committed ones differ

The disks are made by the library with a clock and ids that repeat. The JSON is what was asked of the
disk and what it answered, never what was read back from its files: reading is what the vectors test.
A second implementation of docs/pxldisk-format.md should read each disk as its JSON says.
"""

import argparse
import asyncio
import itertools
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from pxldisk import FIRST_BANK, Append, Consume, Disk, RowRef, StaleRef, Zone, segment
from pxldisk.png import Picture
from pxldisk.recovery import Options, open_disk

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "pxldisk" / "vectors"
MADE_S = 1_767_225_600  # 2026-01-01T00:00:00Z; the clock then moves a second at each look
ZONES = {"system": Zone(0, 2), "in": Zone(3, 7), "out": Zone(8, 9)}


class Recipe:
    """One disk while it is made, and all that it must hold."""

    def __init__(self, folder: Path, about: str, disk: Disk) -> None:
        self.folder = folder
        self.about = about
        self.disk = disk
        self.memory = disk._memory
        self.commits: int | None = None  # None: what the disk says
        self.written: dict[RowRef, dict[str, Any]] = {}
        self.damaged: list[list[int]] = []

    async def append(self, zone: str, payload: bytes, **texts: str) -> RowRef:
        """Store a record and note it."""
        ref = await self.disk.append(zone, payload, **texts)
        if ref not in self.written:
            self.note(ref, Append(zone, payload, **texts))
        return ref

    async def consume(self, ref: RowRef) -> None:
        """Consume a record and note it."""
        await self.disk.consume(ref)
        self.written[ref]["state"] = "consumed"

    def note(self, ref: RowRef, item: Append) -> None:
        """What the disk must hold from now on."""
        rows = [self.memory.describe(ref.bank, row) for row in range(self.memory.grid.height)]
        parts = sorted((row for row in rows if row.seq == ref.seq), key=lambda row: row.part)
        self.written[ref] = {
            "bank": ref.bank,
            "rows": [row.row for row in parts],
            "seq": ref.seq,
            "state": "live",
            "kind": item.kind,
            "owner": item.owner,
            "key": item.key,
            "at_us": round(parts[0].at * 1e6),
            "payload": item.payload.hex(),
        }

    def expected(self) -> dict[str, Any]:
        """The JSON: what was written and is not overwritten yet."""
        memory = self.memory
        keys = {record["key"]: ref for ref, record in self.written.items() if record["key"]}
        return {
            "about": self.about,
            "disk": str(memory.superblocks[FIRST_BANK].disk_id),
            "width": memory.grid.width,
            "height": memory.grid.height,
            "zones": {name: [zone.first, zone.last, zone.owner] for name, zone in memory.zones.items()},
            "banks": list(memory.pictures),
            "commits": self.disk.stats().commits if self.commits is None else self.commits,
            "next_seq": memory.next_seq,
            "keys": {key: [ref.bank, ref.row, ref.seq] for key, ref in keys.items()},
            "records": [record for ref, record in self.written.items() if self._stands(ref)],
            "damaged": self.damaged,
        }

    def _stands(self, ref: RowRef) -> bool:
        try:
            self.memory.read(ref)
        except StaleRef:
            return False
        return True


# -- the disks ---------------------------------------------------------------------------------

Cook = Callable[[Recipe], Awaitable[None]]


async def one_row(recipe: Recipe) -> None:
    """One record of one row, with all its texts and bytes of every kind"""
    await recipe.append("in", bytes(range(0, 256, 4)), kind="scroll", owner="junior", key="s-1")


async def chained(recipe: Recipe) -> None:
    """Records of two and three rows, live and consumed, laid around the end of the ring"""
    first = await recipe.append("in", b"a" * 200, key="a")
    await recipe.append("in", b"b" * 91)
    await recipe.consume(first)
    await recipe.append("in", bytes(range(250)), kind="long", owner="ä")
    await recipe.append("out", b"")


async def two_banks(recipe: Recipe) -> None:
    """A zone that has gone on in a second bank; keys of records that are gone"""
    refs = [await recipe.append("in", f"{n}".encode() * 9, key=f"key {n}") for n in range(8)]
    for ref in refs[1:4]:
        await recipe.consume(ref)
    await recipe.append("in", b"in a row used before")
    assert await recipe.append("in", b"the key decides", key="key 2") == refs[2]
    await recipe.append("out", "Antwort ✓".encode(), kind="opcode")


async def owned_zones(recipe: Recipe) -> None:
    """Zones given to owners, names that are not ASCII, an odd width"""
    await recipe.append("für Jünger", b"mine", owner="Jünger")
    await recipe.append("other", b"[1, 2, 3]", kind="0123456789abcdef", owner="anyone")


async def damaged(recipe: Recipe) -> None:
    """One bit of row 4 is not what was written: that record is lost to readers, the others are not"""
    await recipe.append("in", b"one", key="before")
    hit = await recipe.append("in", b"two")
    await recipe.append("in", b"three")
    await recipe.disk.close()
    file, grid = recipe.folder / "8.png", recipe.memory.grid
    content = bytearray(file.read_bytes())
    content[grid.pixels_at(hit.row) + 50] ^= 0x20
    picture = Picture(grid, content)
    picture.mend()  # the PNG itself is sound, so that only the record's own checksum tells
    file.write_bytes(picture.image)
    del recipe.written[hit]
    recipe.damaged.append([FIRST_BANK, hit.row])


async def power_cut(recipe: Recipe) -> None:
    """The journal holds two commits that the picture lacks, and half of a third"""
    painted = await recipe.append("in", b"painted", key="p")
    await recipe.disk.close()
    recipe.memory, store = open_disk(recipe.folder, Options())
    assert store.journal is not None
    at_us = (MADE_S + 100) * 1_000_000
    for items in ([Append("in", b"unpainted " * 15, key="u")], [Consume(painted), Append("out", b"o")]):
        plan = recipe.memory.plan(items, at_us)
        store.commit([(at_us, segment.encode_images(plan.images))])
        recipe.memory.apply([plan])
        for item, ref in zip(items, plan.refs, strict=True):
            if isinstance(item, Append) and ref is not None:
                recipe.note(ref, item)
    recipe.written[painted]["state"] = "consumed"
    recipe.commits, whole, next_seq = store.journal.number, store.journal.end, recipe.memory.next_seq
    torn = recipe.memory.plan([Append("in", b"never acknowledged")], at_us)
    store.commit([(at_us, segment.encode_images(torn.images))])
    recipe.memory.abandon(torn)
    recipe.memory.next_seq = next_seq
    store.close()
    os.truncate(store.journal.path, whole + 60)


DISKS: dict[str, tuple[Cook, Mapping[str, Any]]] = {
    "one-row": (one_row, {}),
    "chained": (chained, {}),
    "two-banks": (two_banks, {"max_banks": 2}),
    "owned-zones": (
        owned_zones,
        {
            "width": 61,
            "height": 6,
            "zones": {"für Jünger": Zone(2, 3, "Jünger"), "other": Zone(5, 5)},
        },
    ),
    "damaged": (damaged, {}),
    "power-cut": (power_cut, {}),
}


# -- making them -------------------------------------------------------------------------------


@contextmanager
def repeatable() -> Iterator[Callable[[], float]]:
    """Ids and salts that are the same at each run; the clock."""
    ids, salts, looks = itertools.count(1), itertools.count(1), itertools.count()
    with (
        mock.patch.object(uuid, "uuid4", side_effect=(uuid.UUID(int=n, version=4) for n in ids)),
        mock.patch.object(os, "urandom", lambda size: (0xC0FFEE00 + next(salts)).to_bytes(size)),
    ):
        yield lambda: float(MADE_S + next(looks))


async def make(name: str, root: Path) -> None:
    """Make one disk with its JSON below `root`."""
    cook, options = DISKS[name]
    folder = root / name
    with repeatable() as clock:
        opening = Disk.open(folder, **{"width": 48, "height": 10, "zones": ZONES, "clock": clock, **options})
        async with opening as disk:
            recipe = Recipe(folder, cook.__doc__ or "", disk)
            await cook(recipe)
            expected = recipe.expected()
    (folder / "lock").unlink()  # holds the number of the process that made it
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (folder / "holds.json").write_text(text + "\n", "utf-8")


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root`."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(prog="gen_vectors.py")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "vectors"
        for name in DISKS:
            asyncio.run(make(name, made))
        wanted, found = contents(made), contents(FOLDER)
        if options.check:
            differ = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
            for name in differ:
                print(f"{FOLDER / name} is not current: run python scripts/gen_vectors.py")
            return 1 if differ else 0
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(made, FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
