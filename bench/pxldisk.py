"""What a PXLDisk costs, against the plain ways of doing the same: `python -m bench.pxldisk [--json]`.

Both sides of every comparison run in turns on the same file system (of the temporary folder), so
that noise of the machine hits both. Figures are ratios; absolute ones are only for orientation.
"""

import asyncio
import base64
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from PIL import Image

from bench.figure import Figure, at_least, table_of
from pxldisk import Consume, Disk, Zone, bank
from pxldisk.bank import BankFile, bank_path
from pxldisk.png import Grid, Picture
from pxldisk.recovery import Options, open_disk

PAYLOAD = b'{"to":"frontend","text":"' + b"x" * 174 + b'"}'  # 201 bytes
ROUNDS = 7


def main() -> None:
    """Print the table."""
    if in_memory(Path(tempfile.gettempdir())):
        print(
            "the temporary folder is in memory, where a sync is free: set TMPDIR to a folder on a drive",
            file=sys.stderr,
        )
    table_of("pxldisk", measure)


def in_memory(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a folder is on a tmpfs or ramfs, as far as the system tells."""
    if not mounts.exists():
        return False
    kinds = {Path(words[1]): words[2] for line in mounts.read_text().splitlines() if (words := line.split())}
    whole = folder.resolve()
    nearest = next((kinds[one] for one in (whole, *whole.parents) if one in kinds), "")
    return nearest in ("tmpfs", "ramfs")


def measure() -> list[Figure]:
    """All figures, in the order of the table in docs."""
    with scratch() as folder:
        return [
            *in_place_against_pillow(folder),
            *rows_as_pictures_grow(folder),
            asyncio.run(appends_as_disks_grow(folder)),
            asyncio.run(group_commit_against_sqlite(folder)),
            asyncio.run(one_writer_against_fdatasync(folder)),
            asyncio.run(opening(folder)),
            asyncio.run(reading(folder)),
        ]


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-pxldisk-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def in_place_against_pillow(folder: Path) -> list[Figure]:
    """Rows written in place, not synced, against saving the picture with Pillow and syncing it.

    Both pictures are full of the same records: texts of 400 to 715 bytes that hardly compress.
    """
    picture = Picture.blank(Grid(256, 256))
    contents = [base64.b64encode(random.Random(row).randbytes(300 + row * 37 % 236)) for row in range(256)]
    for row, content in enumerate(contents):
        picture.write(row, content)
    picture.seal()
    file = bank.create(folder / "in-place.png", picture)
    with Image.open(folder / "in-place.png") as opened:
        image = opened.copy()
    single, runs, theirs = [], [], []
    for _ in range(ROUNDS):
        single.append(row_rate(picture, file, 8000, contents))
        runs.append(16 * rate(500, lambda number: write_run(picture, file, number, contents)))
        theirs.append(rate(12, lambda number: save_with_pillow(image, folder, number, contents)))
    file.close()
    # The fastest round of each: both are work of the processor, which others on the machine only slow down.
    one, run, rewrite = [max(single)], [max(runs)], [max(theirs)]
    return [
        ratio("in-place rows, one by one / Pillow rewrites", one, rewrite, "rows/s", 1000),
        ratio("in-place rows, 16 in a run / Pillow rewrites", run, rewrite, "rows/s", 1000),
    ]


def rows_as_pictures_grow(folder: Path) -> list[Figure]:
    """Rows written in place into pictures of more and more rows: the cost of one must not grow with them.

    Rewriting would make it 16 times as much (0.06 x). What is left are the processor's caches: 3 MB of a
    picture and the kernel's copy of it do not fit, where 200 KB do.
    """
    figures = []
    for width in (256, 4096):
        contents = [random.Random(row).randbytes(2 * width) for row in range(256)]
        made = {height: blank_bank(folder, width, height) for height in (256, 1024, 4096)}
        rates: dict[int, list[float]] = {height: [] for height in made}
        for _ in range(ROUNDS):
            for height, (picture, file) in made.items():
                rates[height].append(row_rate(picture, file, 4096, contents))
        for _, file in made.values():
            file.close()
            file.path.unlink()
        fastest = {height: max(found) for height, found in rates.items()}
        value = fastest[4096] / fastest[256]
        words = [f"{height:,} rows high {rate:,.0f} rows/s" for height, rate in fastest.items()]
        what = f"in-place rows, {width:,} wide: 4,096 / 256 rows high"
        figures.append(Figure(what, value, "x", ">= 0.5", value >= 0.5, ", ".join(words[1:]), words[0]))
    return figures


async def appends_as_disks_grow(folder: Path) -> Figure:
    """The same of whole appends: planned, synced to the journal and painted, by 128 writers at once."""
    rates: dict[int, list[float]] = {256: [], 4096: []}
    for turn in range(ROUNDS):
        for height, found in rates.items():
            zones = {"in": Zone(2, height - 1)}
            async with Disk.open(folder / f"{height}-{turn}", height=height, zones=zones) as disk:
                started = time.perf_counter()
                for _ in range(8):
                    refs = await asyncio.gather(*(disk.append("in", PAYLOAD) for _ in range(128)))
                    await disk.commit([Consume(ref) for ref in refs])
                found.append(8 * 128 / (time.perf_counter() - started))
    low, high = statistics.median(rates[256]), statistics.median(rates[4096])
    what = "Disk.append, 256 wide: 4,096 / 256 rows high"
    return at_least(
        what, high / low, "x", 0.5, f"{high:,.0f} appends/s", f"256 rows high {low:,.0f} appends/s"
    )


def blank_bank(folder: Path, width: int, height: int) -> tuple[Picture, BankFile]:
    """An empty picture and its file."""
    picture = Picture.blank(Grid(width, height))
    return picture, bank.create(folder / f"{width}x{height}.png", picture)


def row_rate(picture: Picture, file: BankFile, count: int, contents: list[bytes]) -> float:
    """Rows a second, each written for itself, with the picture's checksum after each."""
    height = picture.grid.height
    started = time.perf_counter()
    for number in range(count):
        row = number % height
        picture.write(row, contents[number % 255])
        file.paint(*picture.span(row, row))
        file.paint(picture.sealed_at, picture.seal())
    return count / (time.perf_counter() - started)


def write_run(picture: Picture, file: BankFile, number: int, contents: list[bytes]) -> None:
    """What a disk does with rows that gathered for a moment: one write for all of them."""
    first = number % 16 * 16
    for row in range(first, first + 16):
        picture.write(row, contents[row - 1])
    file.paint(*picture.span(first, first + 15))
    file.paint(picture.sealed_at, picture.seal())


def save_with_pillow(image: Image.Image, folder: Path, number: int, contents: list[bytes]) -> None:
    pixels = contents[number % 256 - 1].ljust(768, b"\x00")
    image.paste(Image.frombytes("RGB", (256, 1), pixels), (0, number % 256))
    temporary = folder / "pillow.tmp"
    with temporary.open("wb") as file:
        image.save(file, "png", compress_level=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / "pillow.png")


async def group_commit_against_sqlite(folder: Path) -> Figure:
    """64 writers that wait for each append, against one SQLite WAL insert per synced commit."""
    database = sqlite3.connect(folder / "peer.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE scrolls (seq INTEGER PRIMARY KEY, payload BLOB)")
    ours, theirs = [], []
    async with Disk.open(folder / "group", height=30_002, zones={"in": Zone(2, 30_001)}) as disk:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(64):
                    tasks.create_task(append_many(disk, 50))
            ours.append(64 * 50 / (time.perf_counter() - started))
            theirs.append(rate(500, lambda _: insert(database)))
    database.close()
    return ratio("durable appends, 64 writers / SQLite FULL", ours, theirs, "commits/s", 3)


async def append_many(disk: Disk, count: int) -> None:
    for _ in range(count):
        await disk.append("in", PAYLOAD, kind="scroll")


def insert(database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO scrolls (payload) VALUES (?)", (PAYLOAD,))


async def one_writer_against_fdatasync(folder: Path) -> Figure:
    """One append at a time, against appending the same bytes to a file and syncing it."""
    raw = os.open(folder / "raw", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    ours: list[float] = []
    theirs: list[float] = []
    async with Disk.open(folder / "one", height=3002, zones={"in": Zone(2, 3001)}) as disk:
        for _ in range(60):
            for _ in range(25):
                started = time.perf_counter()
                os.write(raw, PAYLOAD)
                os.fdatasync(raw)
                theirs.append(time.perf_counter() - started)
            for _ in range(25):
                started = time.perf_counter()
                await disk.append("in", PAYLOAD, kind="scroll")
                ours.append(time.perf_counter() - started)
    os.close(raw)
    mine, peer = statistics.median(ours) * 1e6, statistics.median(theirs) * 1e6
    value = mine / peer
    return Figure(
        "durable append, one writer, p50 / raw fdatasync",
        value,
        "x",
        "<= 2.5",
        value <= 2.5,
        f"PXLDisk {mine:.0f} us",
        f"append + fdatasync {peer:.0f} us",
    )


async def opening(folder: Path) -> Figure:
    """Opening a disk whose process died with 10,000 commits in the journal and none in the picture."""
    made = folder / "crashed"
    disk = await Disk.open(made, segment_bytes=1 << 30)
    blank = bank_path(made, 8).read_bytes()
    for _ in range(10_000 // 40 // 2):
        refs = await asyncio.gather(
            *(disk.append("input_scrolls", PAYLOAD, kind="scroll") for _ in range(40))
        )
        await asyncio.gather(*(disk.consume(ref) for ref in refs))
    assert disk.stats().commits == 10_000
    copy = folder / "copy"
    shutil.copytree(made, copy)
    await disk.close()
    times = []
    for _ in range(ROUNDS):
        again = folder / "again"
        shutil.copytree(copy, again)
        bank_path(again, 8).write_bytes(blank)
        started = time.perf_counter()
        _, store = open_disk(again, Options())
        times.append((time.perf_counter() - started) * 1e3)
        store.close()
        shutil.rmtree(again)
    value, peer = statistics.median(times), statistics.median(sqlite_recoveries(folder))
    what = "open and recover 10,000 journal records"
    theirs = f"SQLite with 10,000 commits in its WAL {peer:.1f} ms: {value / peer:.1f} x as long"
    return Figure(what, value, "ms", "<= 300", value <= 300, f"fastest {min(times):.0f} ms", theirs)


def sqlite_recoveries(folder: Path) -> list[float]:
    """Milliseconds until SQLite has recovered 10,000 commits from its log, and read one."""
    made = folder / "recovered.db"
    db = sqlite3.connect(made, isolation_level=None)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0")
    db.execute("CREATE TABLE scrolls (id INTEGER PRIMARY KEY, payload BLOB)")
    for _ in range(10_000):
        db.execute("INSERT INTO scrolls (payload) VALUES (?)", (PAYLOAD,))
    times = []
    for number in range(ROUNDS):
        again = folder / f"again-{number}.db"
        shutil.copy(made, again)
        shutil.copy(f"{made}-wal", f"{again}-wal")
        started = time.perf_counter()
        with closing(sqlite3.connect(again)) as opened:
            assert opened.execute("SELECT max(id) FROM scrolls").fetchone() == (10_000,)
            times.append((time.perf_counter() - started) * 1e3)
    db.close()
    return times


async def reading(folder: Path) -> Figure:
    """Reading a record of one row by its reference, in memory."""
    async with Disk.open(folder / "read") as disk:
        ref = await disk.append("input_scrolls", PAYLOAD, kind="scroll")
        times = [1e6 / rate(5000, lambda _: disk.read(ref)) for _ in range(ROUNDS)]
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE scrolls (id INTEGER PRIMARY KEY, payload BLOB)")
        db.execute("INSERT INTO scrolls (payload) VALUES (?)", (PAYLOAD,))
        query = "SELECT payload FROM scrolls WHERE id = 1"
        rates = [rate(5000, lambda _: db.execute(query).fetchone()) for _ in range(ROUNDS)]
    value, peer = statistics.median(times), 1e6 / statistics.median(rates)
    theirs = f"SQLite in memory {peer:.1f} us: {value / peer:.1f} x as long"
    what = "read a row by reference"
    return Figure(what, value, "us", "<= 10", value <= 10, f"fastest {min(times):.1f} us", theirs)


def rate(count: int, work: Callable[[int], object]) -> float:
    """How often a second `work` runs."""
    started = time.perf_counter()
    for number in range(count):
        work(number)
    return count / (time.perf_counter() - started)


def ratio(what: str, ours: list[float], theirs: list[float], unit: str, target: float) -> Figure:
    """Medians compared: at least `target` times as many."""
    mine, peer = statistics.median(ours), statistics.median(theirs)
    value = mine / peer
    good = value >= target
    mine_words, peer_words = f"PXLDisk {mine:,.0f} {unit}", f"the other {peer:,.0f} {unit}"
    return Figure(what, value, "x", f">= {target:,.0f}", good, mine_words, peer_words)


if __name__ == "__main__":
    main()
