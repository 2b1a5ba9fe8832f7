"""Making a damaged disk whole again from what is sound: pictures, log, snapshots. Blocks.

Where the log is whole, every row is known exactly: the pictures its newest segment began with, and
the commits since. Only where it has a gap must a damaged row be taken from the newest version that
is left, and the report says so. What is replaced stays beside it as `NAME.damaged-<unix seconds>`.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import (
    bank,
    files,
    history,
    journal,
    recovery,
    rows,
    salvage,
    segment,
    snapshot,
    verification,
)
from .bank import BankFile
from .errors import Corrupt, ForeignPicture, PxlDiskError, Unrepairable
from .lock import Lock
from .memory import Memory
from .png import Grid, Picture
from .recovery import Options
from .rows import State
from .segment import Commit, Segment
from .store import Store
from .superblock import FIRST_BANK, Identity, Superblock, identity

# Where commits may be missing, their numbers and those of their records are not used again.
_GAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did, in words, and the rows (bank, row) whose content nobody knows any more."""

    actions: tuple[str, ...] = ()
    lost: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class _Evidence:
    """What is left of a disk, and what was done with it."""

    folder: Path
    now_s: int
    last_segment: int
    segment: Segment | None = None  # the newest; its commits before any gap
    later: tuple[Commit, ...] = ()  # its commits behind a gap
    reference: Mapping[int, Picture] = field(default_factory=dict)  # exact; empty if the log cannot tell
    identity: Identity | None = None  # of the disk; None: nothing tells
    gap: bool = False  # commits may be missing
    actions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what makes the actions understood
    lost: list[tuple[int, int]] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)  # files to keep a copy of

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def commits(self) -> tuple[Commit, ...]:
        return (self.segment.commits if self.segment is not None else ()) + self.later


def repair(folder: Path, options: Options | None = None) -> Repaired:
    """Make the disk in `folder` sound. To a sound one it does nothing.

    Raises Locked, Unrepairable (there is nothing to start from; nothing was changed), OSError.
    """
    options = options or Options()
    lock = Lock(folder)
    try:
        evidence = _gather(folder, recovery.now_us(options))
        banks = _banks(evidence)
        pictures = {number: _mended(evidence, number) for number in banks}
        _set_aside_strays(evidence, banks.stop)
        _set_aside_kept_files(evidence)
        if evidence.actions:
            _write(evidence, pictures, options, lock)
            evidence.actions[:0] = evidence.notes
    finally:
        lock.release()
    return Repaired(tuple(evidence.actions), tuple(evidence.lost))


# -- what is left ------------------------------------------------------------------------------


def _gather(folder: Path, now_us: int) -> _Evidence:
    numbers = journal.segment_numbers(folder / "log")
    # A number that only pictures have is not used again: one of them may have to be set aside.
    taken = [*numbers, *(number for number, _, _ in journal.bases(folder / "log"))]
    evidence = _Evidence(folder, now_us // 1_000_000, max(taken, default=0))
    if numbers:
        _read_newest(evidence, journal.segment_path(evidence.log, numbers[-1]))
    header = evidence.segment.header if evidence.segment is not None else None
    evidence.identity = salvage.identity_of(folder, header)
    if header is not None and evidence.identity != Identity(header.disk_id, header.width, header.height):
        assert evidence.segment is not None
        evidence.actions.append(f"{evidence.segment.path.name}: it is of another disk; set aside")
        evidence.aside.append(evidence.segment.path)
        evidence.segment, evidence.later, evidence.gap = None, (), True
    if evidence.segment is not None and not evidence.gap:
        _read_reference(evidence)
    return evidence


def _read_newest(evidence: _Evidence, path: Path) -> None:
    try:
        evidence.segment = journal.read_segment(path)
    except Corrupt as error:
        evidence.gap = True
        evidence.actions.append(f"{path.name}: {error.why}; read around it")
        try:
            evidence.segment, evidence.later = segment.salvage(journal.read_content(path)[0], path)
        except Corrupt:
            evidence.actions[-1] = f"{path.name}: {error.why}; nothing of it can be read"
    else:
        if evidence.segment.torn:
            evidence.actions.append(f"{path.name}: torn record at byte {evidence.segment.end} dropped")


def _read_reference(evidence: _Evidence) -> None:
    try:
        pictures = history.past_state(evidence.log).pictures
    except PxlDiskError as error:
        evidence.notes.append(f"the log cannot tell every row: {error}")
        return
    if all(_fits(evidence, picture, number) for number, picture in pictures.items()):
        for picture in pictures.values():
            recovery.clean_padding(picture)
        evidence.reference = pictures


def _banks(evidence: _Evidence) -> range:
    """The banks that the disk has, by all that tells of them."""
    known = {FIRST_BANK, *evidence.reference}
    if not evidence.reference:  # else what only snapshots or older pictures show is not of this disk any more
        known.update(number for _, number, _ in snapshot.snapshots(evidence.folder))
        known.update(journal.base_banks(evidence.log, evidence.last_segment))
        known.update(image.bank for commit in evidence.commits for image in commit.images)
    known.update(number for number in bank.bank_numbers(evidence.folder) if _is_bank(evidence, number))
    return range(FIRST_BANK, max(known) + 1)


def _is_bank(evidence: _Evidence, number: int) -> bool:
    """Whether a file shows the bank of this disk that its name says, whole or in part."""
    path = bank.bank_path(evidence.folder, number)
    try:
        block = bank.load(path).superblock
    except (Corrupt, ForeignPicture):
        return not evidence.reference and _own_pixels(evidence, path, number) is not None
    return block.bank == number and identity(block) == evidence.identity


def _set_aside_strays(evidence: _Evidence, first: int) -> None:
    """Opening would take pictures for banks that are named like the next ones, or say that they are one."""
    strays = {number for number in bank.bank_numbers(evidence.folder) if number >= first}
    while bank.bank_path(evidence.folder, first).exists():
        strays.add(first)
        first += 1
    for number in sorted(strays):
        path = bank.bank_path(evidence.folder, number)
        evidence.aside.append(path)
        evidence.actions.append(f"{path.name}: nothing else knows such a bank; set aside")


# -- one bank ----------------------------------------------------------------------------------


def _mended(evidence: _Evidence, number: int) -> Picture:
    """The bank as it should be, in memory."""
    path = bank.bank_path(evidence.folder, number)
    try:
        loaded = bank.load(path)
        _check_identity(path, loaded.superblock, number, evidence)
    except (Corrupt, ForeignPicture, FileNotFoundError) as error:
        why = "missing" if isinstance(error, FileNotFoundError) else error.why
        evidence.aside.append(path)
        picture = _rebuilt(evidence, path, number, why)
    else:
        if recovery.clean_padding(loaded.picture) or loaded.flaws:
            evidence.actions.append(f"{path.name}: {len(loaded.flaws) or 1} checksums or headers mended")
        picture = loaded.picture
    _redo(evidence, number, picture)
    _mend_rows(evidence, number, picture)
    recovery.clean_padding(picture)  # of rows that came from elsewhere; it seals the picture too
    return picture


def _check_identity(path: Path, block: Superblock, number: int, evidence: _Evidence) -> None:
    segment = evidence.segment
    if block.bank != number:
        raise ForeignPicture(path, f"it is bank {block.bank}")
    if identity(block) != evidence.identity:
        raise ForeignPicture(path, f"it is of {block.width}x{block.height} pixels, of disk {block.disk_id}")
    if segment is not None and block.checkpoint < segment.header.base:
        raise ForeignPicture(path, "it is older than the log beside it")


def _rebuilt(evidence: _Evidence, path: Path, number: int, why: str) -> Picture:
    """A picture in place of a file that is no bank, from the best there is."""
    reference = evidence.reference.get(number)
    if reference is not None:
        evidence.actions.append(f"{path.name}: {why}; rebuilt from the log")
        return reference
    own = None if evidence.reference else _own_pixels(evidence, path, number)
    if own is not None:
        evidence.gap = True
        evidence.actions.append(f"{path.name}: {why}; kept the rows that its pixels still tell")
        return own
    kept = list(salvage.kept_pictures(evidence.folder, number, evidence.identity))
    if not kept:
        raise Unrepairable(evidence.folder, f"{path.name}: {why}; no log and no snapshot holds it")
    evidence.gap = True
    newest = max(kept, key=lambda one: _checkpoint(one[1]))
    evidence.actions.append(f"{path.name}: {why}; taken from {newest[0].name}, later rows are lost")
    return newest[1]


def _own_pixels(evidence: _Evidence, path: Path, number: int) -> Picture | None:
    """What a cut or re-saved file still shows, if it shows this bank of this disk."""
    known = evidence.identity
    expected = None if known is None else Grid(known.width, known.height)
    own = salvage.cut_picture(path) or salvage.decoded_picture(path, expected)
    return own if own is not None and _fits(evidence, own, number) else None


def _fits(evidence: _Evidence, picture: Picture, number: int) -> bool:
    block = salvage.superblock_of(picture)
    if block is None or block.bank != number:
        return False
    return evidence.identity is None or identity(block) == evidence.identity


def _checkpoint(picture: Picture) -> int:
    block = salvage.superblock_of(picture)
    return -1 if block is None else block.checkpoint


def _redo(evidence: _Evidence, number: int, picture: Picture) -> None:
    """Apply the journal as opening does; before a gap, only where the picture is not ahead of it."""
    for commit in evidence.commits:
        for image in commit.images:
            if image.bank != number or (
                evidence.gap
                and commit not in evidence.later
                and _is_ahead(picture.row(image.row), image.content)
            ):
                continue
            picture.write(image.row, image.content)


def _is_ahead(content: bytes, other: bytes) -> bool:
    found, wanted = _version(content), _version(other)
    return found is not None and wanted is not None and found > wanted


def _version(content: bytes) -> tuple[int, bool] | None:
    """Orders what one row held over time: its sequence number, then whether it is consumed."""
    try:
        row = rows.decode(content) if content else None
    except rows.BadRow:
        return None
    return (0, False) if row is None else (row.seq, row.state is State.CONSUMED)


# -- one row -----------------------------------------------------------------------------------


def _mend_rows(evidence: _Evidence, number: int, picture: Picture) -> None:
    damaged = _unusable(evidence.folder, picture)
    if not damaged:
        return
    evidence.aside.append(bank.bank_path(evidence.folder, number))
    for row in sorted(damaged):
        _mend_row(evidence, number, picture, row)
    for row in sorted(_unusable(evidence.folder, picture)):  # of records that still miss a part
        picture.write(row, b"")
        evidence.lost.append((number, row))
        evidence.actions.append(f"{number}.png row {row}: lost; made free")


def _unusable(folder: Path, picture: Picture) -> frozenset[int]:
    block = salvage.superblock_of(picture)
    assert block is not None, "every picture here has been read by its superblock"
    memory = Memory(folder, block, max_payload=0, keep_keys=0)
    memory.add_bank(block, picture)
    return memory.unusable(block.bank)


def _mend_row(evidence: _Evidence, number: int, picture: Picture, row: int) -> None:
    reference = evidence.reference.get(number)
    if reference is not None:
        picture.write(row, reference.row(row))
        evidence.actions.append(f"{number}.png row {row}: restored from the log")
        return
    best = max(_left_versions(evidence, number, row), default=None)
    if best is not None:
        picture.write(row, best[1])
        evidence.actions.append(f"{number}.png row {row}: restored from {best[2]}; newer content may be lost")


def _left_versions(
    evidence: _Evidence, number: int, row: int
) -> Iterator[tuple[tuple[int, bool], bytes, str]]:
    for commit in evidence.commits:
        for image in commit.images:
            if (image.bank, image.row) == (number, row) and (found := _version(image.content)) is not None:
                yield found, image.content, f"commit {commit.number}"
    for path, picture in salvage.kept_pictures(evidence.folder, number, evidence.identity):
        content = picture.row(row)
        if (found := _version(content)) is not None and found > (0, False):
            yield found, content, path.name


# -- writing -----------------------------------------------------------------------------------


def _set_aside_kept_files(evidence: _Evidence) -> None:
    """Damaged files of the log, and damaged snapshots, must not be mistaken for sound ones later."""
    for path in verification.kept_files(evidence.folder):
        problems = [p for p in verification.verify_file(path) if p.remedy == verification.REPAIR]
        if problems:
            evidence.aside.append(path)
            evidence.actions.append(f"{path.name}: {problems[0].what}; set aside")


def _write(evidence: _Evidence, pictures: Mapping[int, Picture], options: Options, lock: Lock) -> None:
    """Put the mended pictures in place and begin a segment with them."""
    memory, last = _memory_of(evidence, pictures, options)
    first = memory.superblocks[min(pictures)]
    store = Store(evidence.folder, lock, disk_id=first.disk_id, keep_log_bytes=options.keep_log_bytes)
    store.log.mkdir(exist_ok=True, mode=0o700)
    store.last_segment = evidence.last_segment
    for path in evidence.aside:
        if path.exists():
            shutil.copy2(path, path.with_name(f"{path.name}.damaged-{evidence.now_s}"))
    for number, picture in memory.pictures.items():
        path = bank.bank_path(evidence.folder, number)
        files.put(path, picture.image, point="pxldisk.bank")
        store.banks[number] = BankFile(path)
    newest = evidence.segment
    if newest is not None and newest.torn and newest.path not in evidence.aside:
        os.truncate(newest.path, newest.end)  # it is the newest no longer, and only the newest may be torn
    in_use = {file.path for file in store.banks.values()}
    try:
        store.checkpoint(recovery.starting_point(memory, last, evidence.now_s * 1_000_000), last)
        for path in evidence.aside:
            if path not in in_use:
                path.unlink(missing_ok=True)
    finally:
        store.close_files()


def _memory_of(evidence: _Evidence, pictures: Mapping[int, Picture], options: Options) -> tuple[Memory, int]:
    blocks = {number: salvage.superblock_of(picture) for number, picture in pictures.items()}
    found = [block for block in blocks.values() if block is not None]
    memory = Memory(evidence.folder, found[0], max_payload=0, keep_keys=options.keep_keys)
    for block in found:
        memory.add_bank(block, pictures[block.bank])
    last = max(block.checkpoint for block in found)
    if evidence.segment is not None:
        last = max(last, evidence.segment.header.base, *(commit.number for commit in evidence.commits))
        segment = replace(evidence.segment, commits=evidence.commits)
        memory.next_seq = max(memory.next_seq, recovery.next_seq_of(segment))
        memory.remember(recovery.keys_of(segment))
    memory.remember(memory.keys_in_rows())
    if evidence.gap:
        last += _GAP
        memory.next_seq += _GAP
    return memory, last
