"""The redo journal, which is also the scroll log: its files, and writing it.

A disk's log is a folder of numbered segments. One is written; the older ones are kept so that any
past state can be shown again. What a segment holds is in segment.py.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import failpoint, files, segment
from .errors import Corrupt, DiskFailed, NoSpace
from .segment import Checkpoint, Segment, SegmentHeader

# Zeros kept ahead of the end, some 600 small commits: a sync that need not make the file grow is quicker.
AHEAD_BYTES: Final = 262_144
GAP_BYTES: Final = 8_388_608  # what one power cut can tear: more than any group of commits
_BLOCK_BYTES: Final = 65_536


def segment_path(log: Path, number: int) -> Path:
    """The file of a segment in the folder `log`."""
    return log / f"{number:08d}.pxj"


def base_path(log: Path, number: int, bank: int) -> Path:
    """The picture a bank had when segment `number` began."""
    return log / f"{number:08d}-{bank}.png"


def segment_numbers(log: Path) -> list[int]:
    """The numbers of all segments in a log, oldest first."""
    return sorted(number for path in log.glob("*.pxj") if (number := _segment_in(path.stem)) is not None)


def base_banks(log: Path, number: int) -> list[int]:
    """The banks that a segment began with, by the pictures kept of them."""
    return sorted(bank for of, bank, _ in bases(log) if of == number)


def bases(log: Path) -> list[tuple[int, int, Path]]:
    """All pictures kept in a log as (segment, bank, file)."""
    found = []
    for path in log.glob("*-*.png"):
        name, _, bank = path.stem.partition("-")
        number = _segment_in(name)
        if (
            number is not None
            and bank.isascii()
            and bank.isdigit()
            and base_path(log, number, int(bank)) == path
        ):
            found.append((number, int(bank), path))
    return sorted(found)


def _segment_in(name: str) -> int | None:
    return int(name) if len(name) == 8 and name.isascii() and name.isdigit() else None


def read_segment(path: Path) -> Segment:
    """Read and parse a segment's file. Raises Corrupt, OSError."""
    content, gap_at = read_content(path)
    found = segment.parse(content, path)
    if gap_at is not None:
        raise Corrupt(path, None, gap_at, "it goes on with more than a power cut can tear")
    _check_name(path, found.header)
    return found


def read_content(path: Path) -> tuple[bytes, int | None]:
    """The bytes of a segment that matter, and where more follow than a journal ever has; None: nowhere.

    A file longer than GAP_BYTES is walked. All of its good records are kept, of anything else GAP_BYTES, and
    no zeros at its end: a file that is long but holds little costs little memory. What stands behind bytes
    that were left out is nearer to the start than in the file. Raises Corrupt, OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return (file.read(size), None) if size <= GAP_BYTES else _walk(file.fileno(), size, path)


def _walk(fd: int, size: int, path: Path) -> tuple[bytes, int | None]:
    kept = [os.pread(fd, segment.HEADER_BYTES, 0)]
    salt = segment.parse_header(kept[0], path).salt
    at, spare = segment.HEADER_BYTES, GAP_BYTES
    left_out_at: int | None = None
    while at < size:
        if (length := _good_bytes(fd, at, size, salt)) is not None:
            kept.append(os.pread(fd, length, at))
            at += length
            continue
        end = _next_good(fd, at, size, salt)
        used = (end if end < size else _last_used(fd, at, size)) - at
        if used > spare and left_out_at is None:
            left_out_at = at + spare
        kept.append(os.pread(fd, min(used, spare), at))
        spare -= min(used, spare)
        at = end
    return b"".join(kept), left_out_at


def _good_bytes(fd: int, at: int, size: int, salt: int) -> int | None:
    """How long the record at `at` is if it is a good one. No more than a block of it is in memory."""
    head = os.pread(fd, segment.RECORD_HEAD_BYTES, at)
    found = segment.record_size(head)
    if found is None or at + found[1] > size:
        return None
    body = (
        os.pread(fd, min(_BLOCK_BYTES, at + found[1] - block), block)
        for block in range(at + len(head), at + found[1], _BLOCK_BYTES)
    )
    return found[1] if segment.fits_head(head, body, salt) else None


def _next_good(fd: int, at: int, size: int, salt: int) -> int:
    """Where the first good record behind `at` is, or `size`."""
    for block_at in range(at, size, _BLOCK_BYTES):
        # Some bytes of the next block: a mark may stand across the two.
        block = os.pread(fd, _BLOCK_BYTES + len(segment.MARK) - 1, block_at)
        found = block.find(segment.MARK)
        while found >= 0:
            if _good_bytes(fd, block_at + found, size, salt) is not None:
                return block_at + found
            found = block.find(segment.MARK, found + 1)
    return size


def _last_used(fd: int, at: int, size: int) -> int:
    """Behind the last block that holds anything but zeros."""
    used = at
    for block_at in range(at, size, _BLOCK_BYTES):
        block = os.pread(fd, _BLOCK_BYTES, block_at)
        if block.count(0) != len(block):
            used = block_at + len(block)
    return used


def read_header(path: Path) -> SegmentHeader:
    """Read only a segment's header. Raises Corrupt."""
    with path.open("rb") as file:
        header = segment.parse_header(file.read(segment.HEADER_BYTES), path)
    _check_name(path, header)
    return header


def _check_name(path: Path, header: SegmentHeader) -> None:
    if segment_path(path.parent, header.number) != path:
        raise Corrupt(path, None, 8, f"it says that it is segment {header.number}")


class Journal:
    """The segment that is being written. Blocks; one thread at a time."""

    def __init__(self, path: Path, header: SegmentHeader, *, end: int, number: int) -> None:
        """Go on with an existing segment behind byte `end`, whose last commit is `number`.

        Only zeros may follow `end`; see `trim`.
        """
        self.path = path
        self.header = header
        self.end = end
        self.number = number
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._allocated = os.fstat(self._fd).st_size

    @classmethod
    def create(cls, log: Path, header: SegmentHeader, checkpoint: Checkpoint) -> "Journal":
        """Make a new segment, durable on return. OSError when it cannot be made; then there is none."""
        body = segment.encode_checkpoint(checkpoint)
        base = header.base
        record = segment.encode_record(segment.CHECKPOINT, base, header.made_us, body, header.salt, base)
        content = segment.encode_header(header) + record
        path = segment_path(log, header.number)
        files.put(path, content + bytes(AHEAD_BYTES), point="pxldisk.segment")
        return cls(path, header, end=len(content), number=header.base)

    @property
    def empty(self) -> bool:
        """Whether it holds no commit."""
        return self.number == self.header.base

    def append(self, commits: Sequence[tuple[int, bytes]]) -> None:
        """Store (time in µs, body) for each commit, with one sync for all; durable on return.

        Raises NoSpace (none of them is stored; later calls may succeed) or DiskFailed.
        """
        number, records = self.number, []
        for at_us, body in commits:
            number += 1
            records.append(
                segment.encode_record(segment.COMMIT, number, at_us, body, self.header.salt, self.number)
            )
        block = b"".join(records)
        failpoint.passing("pxldisk.journal.before")
        self._write(block)
        failpoint.passing("pxldisk.journal.written")
        try:
            files.sync(self._fd)
        except OSError as error:
            raise DiskFailed(self.path, f"sync failed: {error.strerror}", offset=self.end) from error
        failpoint.passing("pxldisk.journal.synced")
        self.end += len(block)
        self.number = number

    def trim(self) -> None:
        """Drop whatever follows the last record. OSError passes through."""
        os.ftruncate(self._fd, self.end)
        self._allocated = self.end

    def close(self) -> None:
        """Give up the zeros written ahead and close the file."""
        with contextlib.suppress(OSError):  # zeros behind the end mean nothing
            self.trim()
        os.close(self._fd)

    def _write(self, block: bytes) -> None:
        try:
            if self.end + len(block) > self._allocated:
                self._grow(block)
            else:
                files.write_all(self._fd, block, self.end)
        except OSError as error:
            self._undo(error)
            if error.errno in files.NO_SPACE:
                raise NoSpace(self.path) from error
            raise DiskFailed(self.path, f"write failed: {error.strerror}", offset=self.end) from error

    def _grow(self, block: bytes) -> None:
        try:
            files.write_all(self._fd, block + bytes(AHEAD_BYTES), self.end)
            self._allocated = self.end + len(block) + AHEAD_BYTES
        except OSError as error:
            if error.errno not in files.NO_SPACE:
                raise
            self.trim()  # nearly full: what matters is the record itself
            files.write_all(self._fd, block, self.end)
            self._allocated = self.end + len(block)

    def _undo(self, cause: OSError) -> None:
        """Remove what a refused write left behind, so that no refused commit is ever replayed."""
        try:
            self.trim()
        except OSError as error:
            raise DiskFailed(self.path, f"cannot undo a refused write: {error.strerror}") from cause
