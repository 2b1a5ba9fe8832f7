"""Opening a disk: make it if there is none, else bring its pictures up to its journal. Blocks."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import bank, files, journal, superblock
from .bank import BankFile, Loaded
from .errors import Corrupt, ForeignPicture, NoSpace, WrongShape
from .journal import Journal
from .keys import keys_after
from .lock import Lock
from .memory import Memory
from .plan import Stroke
from .png import FIRST_PIXEL, Picture
from .rows import MARK, MIN_ROW_BYTES, BadRow, decode, seq_of, without_padding
from .segment import Checkpoint, Segment
from .store import Start, Store
from .superblock import FIRST_BANK, Superblock
from .values import RowRef
from .zones import DEFAULT_ZONES, Zone, zone_table

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a disk is made and kept. Size and zones are fixed when it is made; None takes what is there."""

    width: int | None = None  # 256 for a new disk
    height: int | None = None  # 256 for a new disk
    zones: Mapping[str, Zone | tuple[int, int]] | None = None  # DEFAULT_ZONES for a new disk
    max_banks: int = 1
    max_payload: int = 65_536  # bytes
    segment_bytes: int = 4_194_304  # a longer journal is checkpointed; some 10,000 small commits
    keep_log_bytes: int = 67_108_864  # segments and their base pictures
    keep_keys: int = 20_000
    keep_snapshots: int = 24
    keep_snapshots_s: float = 30 * 86_400.0
    clock: Callable[[], float] = field(default=time.time)  # seconds since 1970


def open_disk(folder: Path, options: Options) -> tuple[Memory, Store]:
    """Lock a disk, make or recover it, and return its memory and its files.

    Raises Locked, WrongShape, ForeignPicture, Corrupt, NoSpace, ValueError, OSError.
    """
    try:
        return _open(folder, options)
    except OSError as error:
        if error.errno in files.NO_SPACE:
            raise NoSpace(folder) from error
        raise


def _open(folder: Path, options: Options) -> tuple[Memory, Store]:
    files.make_folder(folder)
    lock = Lock(folder)
    store: Store | None = None
    try:
        files.make_folder(folder / "log")
        files.remove_leftovers(folder)
        files.remove_leftovers(folder / "log")
        loaded = _load_or_make(folder, options)
        first = loaded[FIRST_BANK].superblock
        _check_shape(folder, first, options)
        memory = Memory(folder, first, max_payload=options.max_payload, keep_keys=options.keep_keys)
        store = Store(folder, lock, disk_id=first.disk_id, keep_log_bytes=options.keep_log_bytes)
        for number in loaded:
            store.banks[number] = BankFile(bank.bank_path(folder, number))
        _replay(memory, store, loaded, _newest_segment(store.log), now_us(options))
    except BaseException:
        if store is None:
            lock.release()
        else:
            store.close()
        raise
    return memory, store


def starting_point(memory: Memory, commit: int, at_us: int) -> Start:
    """What a segment that follows `commit` starts from. Stamps the superblocks in memory."""
    stamps: list[Stroke] = []
    copies: list[Stroke] = []
    for number in memory.pictures:
        first, second = memory.stamp(number, commit)
        stamps += first
        copies += second
    bases = {number: picture.copy() for number, picture in memory.pictures.items()}
    return Start(at_us, bases, stamps, copies, Checkpoint(memory.next_seq, tuple(memory.keys.items())))


def now_us(options: Options) -> int:
    """Microseconds since 1970, by the disk's clock."""
    return int(options.clock() * 1e6)


def _load_or_make(folder: Path, options: Options) -> dict[int, Loaded]:
    if not bank.bank_numbers(folder) and not journal.segment_numbers(folder / "log"):
        _make_first_bank(folder, options)
    return load_banks(folder)


def load_banks(folder: Path) -> dict[int, Loaded]:
    """Read all banks of a folder. Raises Corrupt (one is missing or damaged as a whole), ForeignPicture."""
    numbers = bank.bank_numbers(folder) or [FIRST_BANK - 1]
    if numbers[0] != FIRST_BANK:
        raise Corrupt(bank.bank_path(folder, FIRST_BANK), None, None, "the file is missing")
    loaded = {number: bank.load(bank.bank_path(folder, number)) for number in numbers}
    for expected, number in enumerate(numbers, FIRST_BANK):
        path = bank.bank_path(folder, number)
        block, first = loaded[number].superblock, loaded[numbers[0]].superblock
        if number != expected:
            raise Corrupt(bank.bank_path(folder, expected), None, None, "the file is missing")
        if block.bank != number or block.disk_id != first.disk_id:
            raise ForeignPicture(path, f"it is bank {block.bank} of disk {block.disk_id}")
    return loaded


def _make_first_bank(folder: Path, options: Options) -> None:
    width, height = options.width or 256, options.height or 256
    if 3 * width < MIN_ROW_BYTES:
        raise ValueError(f"width {width}: a record needs at least {MIN_ROW_BYTES // 3} pixels")
    zones = zone_table(DEFAULT_ZONES if options.zones is None else options.zones, height)
    block = Superblock(uuid.uuid4(), uuid.uuid4(), FIRST_BANK, width, height, zones, now_us(options))
    bank.create(bank.bank_path(folder, FIRST_BANK), bank.blank(block)).close()


def _check_shape(folder: Path, block: Superblock, options: Options) -> None:
    size = (options.width or block.width, options.height or block.height)
    if size != (block.width, block.height):
        raise WrongShape(folder, f"{block.width}x{block.height} pixels, not {size[0]}x{size[1]}")
    if options.zones is not None and zone_table(options.zones, block.height) != dict(block.zones):
        raise WrongShape(folder, "its zones are others: " + ", ".join(block.zones))


def _newest_segment(folder: Path) -> Segment | None:
    numbers = journal.segment_numbers(folder)
    return journal.read_segment(journal.segment_path(folder, numbers[-1])) if numbers else None


def _replay(
    memory: Memory, store: Store, loaded: Mapping[int, Loaded], segment: Segment | None, at_us: int
) -> None:
    """Bring pictures and index to the end of the journal, and the files to the pictures."""
    changed = False
    for one in loaded.values():
        changed |= clean_padding(one.picture) or bool(one.flaws)
    if segment is not None:
        check_belongs(store.folder, loaded, segment)
        changed |= redo(store.folder, loaded, segment)
    for one in loaded.values():
        memory.add_bank(one.superblock, one.picture)
    base = max(one.superblock.checkpoint for one in loaded.values())
    if segment is None:
        memory.remember(memory.keys_in_rows())
    else:
        memory.next_seq = max(memory.next_seq, next_seq_of(segment))
        memory.remember(keys_of(segment))
        base = segment.last
        store.last_segment = segment.header.number
        store.journal = Journal(segment.path, segment.header, end=segment.end, number=segment.last)
        if segment.torn:
            store.journal.trim()  # before it is no longer the newest: only the newest may be torn
            log.warning("torn journal tail dropped file=%s offset=%d", segment.path, segment.end)
    _report(store.folder, memory, loaded)
    if changed:
        _rewrite(store, loaded)
    # A bank that was made, and the power failed before a commit told of it: the log must know it first.
    unknown = set(loaded) - set(journal.base_banks(store.log, store.last_segment))
    if changed or unknown or segment is None or segment.torn or segment.commits:
        _start_segment(memory, store, base, at_us)


def _start_segment(memory: Memory, store: Store, base: int, at_us: int) -> None:
    try:
        store.checkpoint(starting_point(memory, base, at_us), base)
    except NoSpace:
        if store.journal is None:
            raise
        # A full file system must not keep the disk from being read: go on with the old segment.
        log.warning("no space for a new journal segment; the old one stays in use folder=%s", store.folder)
        store.journal.trim()


def check_belongs(folder: Path, loaded: Mapping[int, Loaded], segment: Segment) -> None:
    """Raises Corrupt (a bank is missing or older than the log), ForeignPicture (it is another disk's)."""
    for number in journal.base_banks(folder / "log", segment.header.number):
        if number not in loaded:
            raise Corrupt(bank.bank_path(folder, number), None, None, "the file is missing")
    size = (segment.header.width, segment.header.height)
    for number, one in loaded.items():
        path = bank.bank_path(folder, number)
        if (one.superblock.width, one.superblock.height) != size:
            why = (
                f"{one.superblock.width}x{one.superblock.height} pixels; the log tells of {size[0]}x{size[1]}"
            )
            raise Corrupt(path, superblock.ROWS[0], FIRST_PIXEL, why)
        if one.superblock.disk_id != segment.header.disk_id:
            raise ForeignPicture(path, f"the log beside it belongs to disk {segment.header.disk_id}")
        if one.superblock.checkpoint < segment.header.base:
            held, base = one.superblock.checkpoint, segment.header.base
            why = f"it holds commits up to {held}; the log goes on from {base}"
            raise Corrupt(path, superblock.ROWS[0], None, why)


def clean_padding(picture: Picture) -> bool:
    """Make the padding behind sound records zero. Whether anything was not."""
    dirty = False
    for row in range(len(superblock.ROWS), picture.grid.height):
        content = picture.row(row)
        record = without_padding(content)
        if content[0] == MARK and content.count(0, len(record)) != len(content) - len(record):
            dirty |= _rewrite_if_sound(picture, row, record)
    picture.seal()
    return dirty


def _rewrite_if_sound(picture: Picture, row: int, record: bytes) -> bool:
    try:
        decode(record)
    except BadRow:
        return False  # reported as damage when the bank is indexed
    picture.write(row, record)
    return True


def redo(folder: Path, loaded: Mapping[int, Loaded], segment: Segment) -> bool:
    """Give every row its last image in the journal. Whether any row was changed by that."""
    last = {(image.bank, image.row): image for commit in segment.commits for image in commit.images}
    changed = False
    for (number, row), image in last.items():
        if number not in loaded:
            raise Corrupt(bank.bank_path(folder, number), None, None, "the file is missing")
        picture = loaded[number].picture
        if picture.row(row) != image.content.ljust(picture.grid.row_bytes, b"\x00"):
            picture.write(row, image.content)
            changed = True
    for one in loaded.values():
        one.picture.seal()
    return changed


def _rewrite(store: Store, loaded: Mapping[int, Loaded]) -> None:
    """Make the files equal to the pictures in memory."""
    for number, one in loaded.items():
        path = bank.bank_path(store.folder, number)
        if path.read_bytes() != one.picture.image:
            store.banks[number].paint(0, one.picture.image)


def next_seq_of(segment: Segment) -> int:
    """A sequence number above all that the segment tells of.

    The rows alone do not tell: a restore may have taken away the newest records since.
    """
    images = (image for commit in segment.commits for image in commit.images)
    used = (seq_of(image.content) for image in images if image.content and image.row not in superblock.ROWS)
    return max(segment.checkpoint.next_seq, max(used, default=0) + 1)


def keys_of(segment: Segment) -> list[tuple[str, RowRef]]:
    """Keys of records that the segment tells of, oldest first."""
    images = (image for commit in segment.commits for image in commit.images)
    return list(keys_after(dict(segment.checkpoint.keys), images).items())


def _report(folder: Path, memory: Memory, loaded: Mapping[int, Loaded]) -> None:
    for number, one in loaded.items():
        path = bank.bank_path(folder, number)
        for flaw in one.flaws:
            log.warning("mended file=%s row=%s offset=%d what=%s", path, flaw.row, flaw.offset, flaw.what)
        for damage in memory.damage[number]:
            log.error("damaged file=%s row=%d offset=%d why=%s", path, damage.row, damage.offset, damage.why)
