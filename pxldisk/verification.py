"""Finding out whether the files of a disk are what was written. Blocks; never writes, takes no lock."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import bank, journal, recovery, rows, snapshot, superblock
from .errors import Corrupt, ForeignPicture
from .lock import holder
from .memory import Memory

MENDED_BY_OPENING = "opening the disk mends it"
REPAIR = "repair"

_ATTEMPTS = 20
_PAUSE_S = 0.01  # longer than a write in place takes, so that the next look sees it done


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `row` and `offset` (bytes) where they are known."""

    file: Path
    row: int | None
    offset: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        row = "" if self.row is None else f" row {self.row}"
        offset = "" if self.offset is None else f" at byte {self.offset}"
        return f"{self.file}{row}{offset}: {self.what} ({self.remedy})"


def verify(path: Path) -> list[Problem]:
    """All that is wrong with a disk's folder, or with one picture or journal segment; empty if sound.

    While the disk is open elsewhere, only what stays wrong counts: a look in the middle of a
    write may see a stale checksum. Raises OSError.
    """
    folder = path if path.is_dir() else path.parent
    problems = _find(path)
    for _ in range(_ATTEMPTS):
        if not problems or holder(folder) is None:
            break
        time.sleep(_PAUSE_S)
        again = set(_find(path))
        problems = [problem for problem in problems if problem in again]
    return problems


def verify_files(folder: Path) -> list[Problem]:
    """All that is wrong with a disk's files, at one look: for the writer itself, between two writes."""
    return _find(folder)


def verify_file(path: Path) -> list[Problem]:
    """All that is wrong with one picture or journal segment, at one look."""
    return _find(path)


def kept_files(folder: Path) -> list[Path]:
    """The files of the log, and the snapshots."""
    log = folder / "log"
    segments = [journal.segment_path(log, number) for number in journal.segment_numbers(log)]
    return [*segments, *sorted(log.glob("*.png")), *(path for _, _, path in snapshot.snapshots(folder))]


def _find(path: Path) -> list[Problem]:
    if path.is_dir():
        banks = [bank.bank_path(path, number) for number in bank.bank_numbers(path)]
        every = [*banks, *kept_files(path)]
        found = [problem for file in every for problem in _find(file)] + _missing(path)
        return found or _disagreements(path)
    look: Callable[[Path], Iterator[Problem]] = _in_segment if path.suffix == ".pxj" else _in_picture
    try:
        return list(look(path))
    except (Corrupt, ForeignPicture) as error:
        at = (error.row, error.offset) if isinstance(error, Corrupt) else (None, None)
        return [Problem(path, *at, error.why, REPAIR)]


def _missing(folder: Path) -> list[Problem]:
    numbers = bank.bank_numbers(folder)
    expected = range(superblock.FIRST_BANK, max(numbers, default=superblock.FIRST_BANK) + 1)
    return [
        Problem(bank.bank_path(folder, number), None, None, "the file is missing", REPAIR)
        for number in expected
        if number not in numbers
    ]


def _disagreements(folder: Path) -> list[Problem]:
    """Why files that are each sound are not one disk."""
    try:
        loaded = recovery.load_banks(folder)
        numbers = journal.segment_numbers(folder / "log")
        if numbers:
            newest = journal.read_segment(journal.segment_path(folder / "log", numbers[-1]))
            recovery.check_belongs(folder, loaded, newest)
            recovery.redo(folder, loaded, newest)
    except (Corrupt, ForeignPicture) as error:
        return [Problem(error.file, error.row, error.offset, error.why, REPAIR)]
    return []


def _in_segment(path: Path) -> Iterator[Problem]:
    segment = journal.read_segment(path)
    if segment.torn:
        # Opening reads the newest segment and no other.
        newest = journal.segment_numbers(path.parent)[-1:] == [segment.header.number]
        remedy = MENDED_BY_OPENING if newest else REPAIR
        yield Problem(path, None, segment.end, "a torn record at the end", remedy)


def _in_picture(path: Path) -> Iterator[Problem]:
    loaded = bank.load(path)
    # Opening reads the banks themselves, not the copies of them that log and snapshots are.
    small = MENDED_BY_OPENING if path.stem.isdigit() else REPAIR
    for flaw in loaded.flaws:
        yield Problem(path, flaw.row, flaw.offset, flaw.what, small)
    memory = Memory(path.parent, loaded.superblock, max_payload=0, keep_keys=0)
    memory.add_bank(loaded.superblock, loaded.picture)
    number = loaded.superblock.bank
    for damage in {*memory.damage[number], *memory.broken(number)}:
        yield Problem(path, damage.row, damage.offset, damage.why, REPAIR)
    yield from _in_padding(path, loaded, small)
    yield from _in_superblocks(path, loaded, small)


def _in_padding(path: Path, loaded: bank.Loaded, remedy: str) -> Iterator[Problem]:
    picture = loaded.picture
    for row in range(len(superblock.ROWS), picture.grid.height):
        content = picture.row(row)
        try:
            end = len(rows.without_padding(content)) if rows.decode(content) is not None else 0
        except rows.BadRow:
            continue
        if content.count(0, end) != len(content) - end:
            offset = picture.grid.pixels_at(row) + end
            yield Problem(path, row, offset, "the padding behind the record is not zero", remedy)


def _in_superblocks(path: Path, loaded: bank.Loaded, remedy: str) -> Iterator[Problem]:
    wanted = superblock.encode(loaded.superblock, loaded.picture.grid.row_bytes)
    for row in superblock.ROWS:
        content = loaded.picture.row(row)
        if content.rstrip(b"\x00") != wanted.rstrip(b"\x00"):
            offset = loaded.picture.grid.pixels_at(row)
            yield Problem(path, row, offset, "a copy of the superblock differs", remedy)
