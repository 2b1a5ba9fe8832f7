"""Open, read, check and repair disks whose files were changed: never anything but a typed error.

    python tests/pxldisk/fuzz_open.py [--seed N] [--cases N] [--seconds S] [--keep FOLDER] [--memory-mb N]

Each case is made from its number, so `--seed N --cases 1` shows one again. The address space of this
process is limited to what it has at the start and `--memory-mb` (64) more. Exit code 1, and what
happened, at the first case that raises something else, says something false, or needs more memory.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from disk_rig import small
from mutations import BLIND, LIES

from pxldisk import (
    Append,
    Corrupt,
    PxlDiskError,
    RowRef,
    StaleRef,
    Unrepairable,
    history,
    reader,
    repair,
    segment,
    verify,
)
from pxldisk.memory import Memory
from pxldisk.recovery import Options, open_disk

VECTORS = Path(__file__).with_name("vectors")
OPTIONS = Options(max_banks=3)

Truth = dict[RowRef, bytes]


class Wrong(Exception):
    """What must not happen, in words."""


async def busy(folder: Path) -> None:
    """A disk with two banks, three segments, a snapshot, and a journal that its pictures lack."""
    async with small(folder, max_banks=2) as disk:
        refs = [await disk.append("in", f"{n} ".encode() * 40, key=f"k{n}") for n in range(4)]
        await disk.consume(refs[0])
        await disk.checkpoint()
        await disk.append("out", b"{}", owner="me")
        await disk.snapshot()
        await disk.append("in", b"newer than the snapshot")
    disk = await small(folder, max_banks=2)
    blank = {path: path.read_bytes() for path in folder.glob("[89].png")}
    await disk.append("in", b"in the journal only " * 6, key="journal")
    await disk.consume(refs[1])
    copy = folder.with_name("copied")
    shutil.copytree(folder, copy)
    await disk.close()
    shutil.rmtree(folder)
    copy.rename(folder)
    for path, content in blank.items():
        path.write_bytes(content)


def originals(root: Path) -> list[tuple[Path, Truth]]:
    """The disks that are changed, each with every record that can be read in it."""
    # In a process of its own: what its threads reserve would widen the limit of this one.
    subprocess.run([sys.executable, __file__, "--make", str(root / "busy")], check=True)
    found = [root / "busy"]
    for vector in sorted(path.parent for path in VECTORS.glob("*/holds.json")):
        shutil.copytree(vector, root / vector.name)
        (root / vector.name / "holds.json").unlink()
        found.append(root / vector.name)
    return [(folder, everything(reader.look(folder))) for folder in found]


def everything(memory: Memory) -> Truth:
    """Each record that can be read, live or consumed."""
    truth = {}
    for bank in memory.pictures:
        for row in range(memory.grid.height):
            with contextlib.suppress(Corrupt, StaleRef):
                record = memory.record_at(bank, row)
                truth[record.ref] = record.payload
    return truth


# -- one case ----------------------------------------------------------------------------------


def case(number: int, disks: list[tuple[Path, Truth]], folder: Path) -> str:
    """Change a disk and use it; what happened."""
    chance = random.Random(number)
    original, truth = chance.choice(disks)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    lying = chance.random() < 0.5
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        chance.choice((*BLIND, *LIES) if lying else BLIND)(folder, chance)
    known = None if lying else truth
    look(folder, known)
    outcome = opened(folder, known)
    if outcome == "opened":
        return outcome
    return f"{outcome}, {repaired(folder, known)}"


def look(folder: Path, truth: Truth | None) -> None:
    """All that only reads."""
    for picture in (folder, *sorted(folder.glob("*.png"))):
        with contextlib.suppress(PxlDiskError):
            compare(reader.look(picture), truth)
        verify(picture)
    for segment_file in folder.glob("log/*.pxj"):
        verify(segment_file)
    with contextlib.suppress(PxlDiskError):
        for step in history.steps(folder):
            history.replay(folder, commit=step.commit)
    with contextlib.suppress(PxlDiskError):
        history.replay(folder)


def compare(memory: Memory, truth: Truth | None) -> None:
    for ref, payload in everything(memory).items():
        if truth is not None and truth.get(ref, payload) != payload:
            raise Wrong(f"{ref} reads {payload!r}; {truth[ref]!r} was written")
    for bank in memory.pictures:
        for row in range(memory.grid.height):
            memory.describe(bank, row)
    for zone in memory.zones:
        memory.zone_stats(zone, 0)
        for record in memory.scan(zone):
            memory.read(record.ref)


def opened(folder: Path, truth: Truth | None) -> str:
    """Open the disk, use it, open it again. "opened", or the name of the error."""
    try:
        memory, store = open_disk(folder, OPTIONS)
    except PxlDiskError as error:
        if not error.repair:
            raise Wrong(f"{error!r} offers no repair") from error
        return type(error).__name__
    try:
        compare(memory, truth)
        before = everything(memory)
        for zone in memory.zones:
            use(memory, store, zone)
        after = everything(memory)
        live = {record.ref for zone in memory.zones for record in memory.scan(zone)}
    finally:
        store.close()
    for ref in live & before.keys():
        if after[ref] != before[ref]:
            raise Wrong(f"{ref} was overwritten")
    memory, store = open_disk(folder, OPTIONS)
    store.close()
    if everything(memory) != after:
        raise Wrong("opened again, it holds something else")
    return "opened"


def use(memory: Memory, store: Any, zone: str) -> None:
    """Append until the zone is full."""
    owner = memory.zones[zone].owner
    for _ in range(12):
        try:
            plan = memory.plan([Append(zone, b"new" * 20, owner=owner)], 1)
        except PxlDiskError:
            return
        store.commit([(1, segment.encode_images(plan.images))])
        store.paint(memory.strokes(memory.apply([plan]).touched))


def repaired(folder: Path, truth: Truth | None) -> str:
    """Repair what could not be opened; it must open then, be sound, and stay as it is."""
    try:
        repair(folder)
    except Unrepairable:
        return "unrepairable"
    problems = verify(folder)
    if problems:
        raise Wrong(f"repaired, and still {problems[0]}")
    if repair(folder).actions:
        raise Wrong("a second repair found something to do")
    if opened(folder, truth) != "opened":
        raise Wrong("repaired, and cannot be opened")
    return "repaired"


# -- many --------------------------------------------------------------------------------------


def address_space() -> int:
    """Bytes of address space in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def limit_memory(more_bytes: int) -> None:
    """Let this process have so many bytes more than it has. Raises Wrong if it gets them all the same."""
    limit = address_space() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        bytearray(more_bytes + 1_000_000)
    except MemoryError:
        return
    raise Wrong("this system does not limit the memory of a process")


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="fuzz_open.py")
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9, help="end after this time")
    parser.add_argument("--keep", type=Path, help="where to leave the disk of a case that went wrong")
    parser.add_argument("--memory-mb", type=int, default=64, help="what all of it may cost")
    parser.add_argument("--make", type=Path, help="make one of the disks here and do nothing else")
    options = parser.parse_args()
    if options.make is not None:
        asyncio.run(busy(options.make))
        return 0
    logging.disable()
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    outcomes: Counter[str] = Counter()
    started, number, folder = time.monotonic(), options.seed, root / "case"
    try:
        disks = originals(root)
        from PIL import Image  # repairing may need it; what it takes is not the disk's

        Image.init()
        limit_memory(options.memory_mb * 1_000_000)
        for number in range(options.seed, options.seed + options.cases):
            if time.monotonic() - started > options.seconds:
                break
            outcomes[case(number, disks, folder)] += 1
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            return 1
        traceback.print_exc()
        print(f"case {number}: python {sys.argv[0]} --seed {number} --cases 1", file=sys.stderr)
        if options.keep is not None:
            shutil.rmtree(options.keep, ignore_errors=True)
            shutil.copytree(folder, options.keep)
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(dict(outcomes.most_common())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
