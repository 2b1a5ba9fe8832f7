"""A segment of the journal as bytes. Pure: byte for byte in docs/pxldisk-format.md.

    segment     header, then one checkpoint record, then commit records, then zeros
    record      mark `PXR1`, type, body bytes, commit number, time, last commit that was durable
                when this one was written, CRC-32 (started from the segment's salt, over the
                record but for itself), body
    commit      one commit: for each of its rows bank, row, length, content without padding
    checkpoint  next sequence number, keys of records stored earlier

A record that does not read well is a torn write if nothing follows it that was written when it was
durable already, and corruption otherwise.
"""

import struct
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import rows, superblock
from .errors import Corrupt
from .plan import Image
from .png import Grid
from .rows import MAX_NUMBER, MAX_TIME_US
from .values import RowRef

MAGIC: Final = b"PXLOG\r\n\x01"
MARK: Final = b"PXR1"
COMMIT: Final = 1
CHECKPOINT: Final = 2

_HEADER: Final = struct.Struct(">8sQQQHHI16s")
_U32: Final = struct.Struct(">I")
HEADER_BYTES: Final = _HEADER.size + _U32.size
_RECORD: Final = struct.Struct(">4sBIQQQ")
_RECORD_BYTES: Final = _RECORD.size + 4
RECORD_HEAD_BYTES: Final = _RECORD_BYTES  # enough to know how long a record is
_ROW: Final = struct.Struct(">HHH")
_COUNT: Final = struct.Struct(">I")
_CHECKPOINT: Final = struct.Struct(">QI")
_KEY: Final = struct.Struct(">BHHQ")


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says about itself."""

    number: int
    base: int  # number of the last commit before this segment
    made_us: int
    width: int
    height: int
    salt: int  # random: bytes of another segment, or in a payload, never read as a record of this one
    disk_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state that a segment starts from, besides the pictures."""

    next_seq: int
    keys: tuple[tuple[str, RowRef], ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the log."""

    number: int
    at_us: int
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as read. `end`: offset behind the last good record; `torn`: bytes follow it."""

    path: Path
    header: SegmentHeader
    checkpoint: Checkpoint
    commits: tuple[Commit, ...]
    end: int
    torn: bool

    @property
    def last(self) -> int:
        """Number of the last commit."""
        return self.commits[-1].number if self.commits else self.header.base


# -- encoding ----------------------------------------------------------------------------------


def encode_images(images: Sequence[Image]) -> bytes:
    """The body of a commit record."""
    parts = [_COUNT.pack(len(images))]
    for image in images:
        parts.append(_ROW.pack(image.bank, image.row, len(image.content)))
        parts.append(image.content)
    return b"".join(parts)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The body of a checkpoint record."""
    parts = [_CHECKPOINT.pack(checkpoint.next_seq, len(checkpoint.keys))]
    for key, ref in checkpoint.keys:
        encoded = key.encode()
        parts += [_KEY.pack(len(encoded), ref.bank, ref.row, ref.seq), encoded]
    return b"".join(parts)


def encode_record(kind: int, number: int, at_us: int, body: bytes, salt: int, durable: int) -> bytes:
    """A whole record. `durable`: number of the last commit that is on the medium already."""
    head = _RECORD.pack(MARK, kind, len(body), number, at_us, durable)
    return head + _U32.pack(zlib.crc32(body, zlib.crc32(head, salt))) + body


def encode_header(header: SegmentHeader) -> bytes:
    """A segment's first bytes."""
    content = _HEADER.pack(
        MAGIC,
        header.number,
        header.base,
        header.made_us,
        header.width,
        header.height,
        header.salt,
        header.disk_id.bytes,
    )
    return content + _U32.pack(zlib.crc32(content))


# -- decoding ----------------------------------------------------------------------------------


def parse(content: bytes, path: Path) -> Segment:
    """Read a segment. Raises Corrupt where a record was durable and is bad, or no record is good.

    Of commits that were written together, and torn by a power cut, a later one may be whole: only a record
    written after the missing one was durable tells that it was acknowledged.
    """
    header = parse_header(content, path)
    checkpoint, commits, end = _parse_from(content, header, HEADER_BYTES, path)
    if checkpoint is None:
        raise Corrupt(path, None, end, "the segment's first record is damaged")
    _check_order(path, header, commits)
    torn = content.count(0, end) != len(content) - end
    segment = Segment(path, header, checkpoint, tuple(commits), end, torn)
    if torn and (again := _durable_after(content, header.salt, end, segment.last)) is not None:
        raise Corrupt(path, None, end, f"a damaged record; a later one follows at byte {again}")
    return segment


def parse_commits(content: bytes, header: SegmentHeader, after: int, path: Path) -> tuple[Commit, ...]:
    """Read bytes that hold nothing but commits, of which `after` + 1 is the first. Raises Corrupt."""
    commits: list[Commit] = []
    read = 0
    try:
        for kind, number, at_us, start, end in _records(content, header.salt, 0):
            following = after + 1 + len(commits)
            if kind != COMMIT or number != following:
                raise Corrupt(path, None, None, f"record {number} stands where {following} belongs")
            commits.append(Commit(number, at_us, _parse_images(content, start, end, header)))
            read = end
    except (struct.error, ValueError) as fault:
        raise Corrupt(path, None, None, f"a commit's content is not in order ({fault})") from None
    if read != len(content):
        raise Corrupt(path, None, None, f"what follows commit {after + len(commits)} is damaged")
    return tuple(commits)


def record_size(content: bytes, at: int = 0) -> tuple[int, int] | None:
    """Commit number and bytes of the record whose head stands at `at`, unchecked; None: there is none."""
    if content[at : at + 4] != MARK or at + _RECORD_BYTES > len(content):
        return None
    _, _, length, number, _, _ = _RECORD.unpack_from(content, at)
    return number, _RECORD_BYTES + length


def fits_head(head: bytes, body: Iterable[bytes], salt: int) -> bool:
    """Whether a record's body, in blocks, is the one that the checksum in its head was made of."""
    crc = zlib.crc32(head[: _RECORD.size], salt)
    for block in body:
        crc = zlib.crc32(block, crc)
    return bool(crc == _U32.unpack_from(head, _RECORD.size)[0])


def salvage(content: bytes, path: Path) -> tuple[Segment, tuple[Commit, ...]]:
    """Read a damaged segment: what stands before the first gap, and the commits after gaps.

    For repairs only. Raises Corrupt if not even the header can be read.
    """
    header = parse_header(content, path)
    checkpoint, commits, end = _parse_from(content, header, HEADER_BYTES, path)
    later: list[Commit] = []
    last = end
    while (at := _next_good(content, header.salt, last)) is not None:
        found, more, last = _parse_from(content, header, at, path)
        checkpoint = checkpoint or found
        later += more
    segment = Segment(path, header, checkpoint or Checkpoint(0, ()), tuple(commits), end, bool(later))
    return segment, tuple(later)


def _parse_from(
    content: bytes, header: SegmentHeader, at: int, path: Path
) -> tuple[Checkpoint | None, list[Commit], int]:
    """The checkpoint and the commits from byte `at` up to the first bad record, and where that is."""
    checkpoint: Checkpoint | None = None
    commits: list[Commit] = []
    end = at
    try:
        for kind, number, at_us, start, end in _records(content, header.salt, at):
            if kind == COMMIT:
                commits.append(Commit(number, at_us, _parse_images(content, start, end, header)))
            elif checkpoint is None:
                checkpoint = _parse_checkpoint(content, start, end)
    except (struct.error, ValueError) as fault:
        raise Corrupt(path, None, end, f"a record's content is not in order ({fault})") from None
    return checkpoint, commits, end


def parse_header(content: bytes, path: Path) -> SegmentHeader:
    """Read a segment's header. Raises Corrupt."""
    if len(content) < HEADER_BYTES:
        raise Corrupt(path, None, len(content), "the segment's header is cut short")
    magic, number, base, made_us, width, height, salt, disk_id = _HEADER.unpack_from(content)
    if magic != MAGIC or _U32.unpack_from(content, _HEADER.size)[0] != zlib.crc32(content[: _HEADER.size]):
        raise Corrupt(path, None, 0, "the segment's header is damaged")
    if base > MAX_NUMBER or made_us > MAX_TIME_US:
        raise Corrupt(path, None, 0, f"the segment's header tells of commit {base} at {made_us} µs")
    try:
        Grid(width, height)
    except ValueError as why:
        raise Corrupt(path, None, 32, f"the segment's header tells of {why}") from None
    return SegmentHeader(number, base, made_us, width, height, salt, uuid.UUID(bytes=disk_id))


def _record_at(content: bytes, salt: int, at: int) -> tuple[int, int, int, int, int] | None:
    """Type, number, time, start and end of the body of the good record at `at`; None: there is none."""
    if content[at : at + 4] != MARK or at + _RECORD_BYTES > len(content):
        return None
    _, kind, length, number, at_us, _ = _RECORD.unpack_from(content, at)
    start = at + _RECORD_BYTES
    end = start + length
    if end > len(content):
        return None
    crc = zlib.crc32(memoryview(content)[start:end], zlib.crc32(content[at : at + _RECORD.size], salt))
    if _U32.unpack_from(content, at + _RECORD.size)[0] != crc:
        return None
    if at_us > MAX_TIME_US:
        return None
    return kind, number, at_us, start, end


def _records(content: bytes, salt: int, at: int) -> Iterator[tuple[int, int, int, int, int]]:
    while (record := _record_at(content, salt, at)) is not None:
        yield record
        at = record[4]


def _next_good(content: bytes, salt: int, at: int) -> int | None:
    while (at := content.find(MARK, at)) >= 0:
        if _record_at(content, salt, at) is not None:
            return at
        at += 1
    return None


def _durable_after(content: bytes, salt: int, at: int, last: int) -> int | None:
    """Where a good record is that was written when more commits than `last` were durable."""
    while (at_good := _next_good(content, salt, at)) is not None:
        if _RECORD.unpack_from(content, at_good)[5] > last:
            return at_good
        at = at_good + 1
    return None


def _parse_images(content: bytes, at: int, end: int, header: SegmentHeader) -> tuple[Image, ...]:
    (count,) = _COUNT.unpack_from(content, at)
    at += _COUNT.size
    images = []
    for _ in range(count):
        bank, row, length = _ROW.unpack_from(content, at)
        at += _ROW.size
        image = Image(bank, row, content[at : at + length])
        _check_image(image, header)
        images.append(image)
        at += length
    if at != end:
        raise ValueError(f"{end - at} bytes too many")
    return tuple(images)


def _check_image(image: Image, header: SegmentHeader) -> None:
    """Raises ValueError for a row that no disk of this size holds."""
    if image.bank < superblock.FIRST_BANK or image.row >= header.height:
        raise ValueError(f"row {image.row} of bank {image.bank}")
    if len(image.content) > 3 * header.width:
        raise ValueError(f"{len(image.content)} bytes in row {image.row}")
    if image.row in superblock.ROWS:
        block = superblock.decode(image.content)
        if (block.bank, block.width, block.height) != (image.bank, header.width, header.height):
            raise ValueError(f"the superblock of another disk for bank {image.bank}")
    elif image.content and rows.decode(image.content) is None:
        raise ValueError(f"a free row with content in row {image.row}")


def _parse_checkpoint(content: bytes, at: int, end: int) -> Checkpoint:
    next_seq, key_count = _CHECKPOINT.unpack_from(content, at)
    at += _CHECKPOINT.size
    keys = []
    for _ in range(key_count):
        length, bank, row, seq = _KEY.unpack_from(content, at)
        at += _KEY.size
        keys.append((content[at : at + length].decode(), RowRef(bank, row, seq)))
        at += length
    if at != end:
        raise ValueError(f"{end - at} bytes too many")
    if next_seq > MAX_NUMBER:
        raise ValueError(f"sequence number {next_seq}")
    return Checkpoint(next_seq, tuple(keys))


def _check_order(path: Path, header: SegmentHeader, commits: Sequence[Commit]) -> None:
    for expected, commit in enumerate(commits, header.base + 1):
        if commit.number != expected:
            raise Corrupt(path, None, None, f"commit {commit.number} stands where {expected} belongs")
