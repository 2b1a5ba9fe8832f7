"""What a bank says about itself in row 0, and again in row 1. Pure.

Big-endian: magic `PXLD`, format version, width, height, bank number, time made, last checkpoint,
next sequence number, disk id, bank id, zones, CRC-32 of all that; then zero padding.
"""

import struct
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .errors import RowTooLarge
from .rows import MAX_NUMBER, MAX_TIME_US
from .zones import Zone, zone_table

MAGIC: Final = b"PXLD"
FORMAT: Final = 1
ROWS: Final = (0, 1)
FIRST_BANK: Final = 8  # banks are 8.png, 9.png, …
LAST_BANK: Final = 65_535

_FIXED: Final = struct.Struct(">4sHHHHQQQ16s16sB")
_ZONE: Final = struct.Struct(">HHBB")
_U32: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Superblock:
    """Identity, size and zones of one bank, and how much of the log its picture holds."""

    disk_id: uuid.UUID  # the same in every bank of a disk, and in its log
    bank_id: uuid.UUID
    bank: int
    width: int
    height: int
    zones: Mapping[str, Zone]
    made_us: int  # microseconds since 1970, UTC
    checkpoint: int = 0  # every commit up to this number is in the picture
    next_seq: int = 1  # no record of this or a higher sequence number existed then


@dataclass(frozen=True, slots=True)
class Identity:
    """What all files of one disk agree on."""

    disk_id: uuid.UUID
    width: int
    height: int


def identity(block: Superblock) -> Identity:
    """Which disk a bank is of."""
    return Identity(block.disk_id, block.width, block.height)


def encode(block: Superblock, row_bytes: int) -> bytes:
    """The superblock as the content of a row. Raises RowTooLarge if the zones do not fit."""
    parts = [
        _FIXED.pack(
            MAGIC,
            FORMAT,
            block.width,
            block.height,
            block.bank,
            block.made_us,
            block.checkpoint,
            block.next_seq,
            block.disk_id.bytes,
            block.bank_id.bytes,
            len(block.zones),
        )
    ]
    for name, zone in block.zones.items():
        title, owner = name.encode(), (zone.owner or "").encode()
        parts += [_ZONE.pack(zone.first, zone.last, len(title), len(owner)), title, owner]
    content = b"".join(parts)
    if len(content) + _U32.size > row_bytes:
        raise RowTooLarge(len(content) + _U32.size, row_bytes, "superblock (more width or fewer zones)")
    return content + _U32.pack(zlib.crc32(content))


def decode(content: bytes) -> Superblock:
    """Read a superblock from the start of `content`. Raises ValueError that says why not."""
    if content[:4] != MAGIC:
        raise ValueError("no superblock")
    try:
        _, version, width, height, bank, made_us, checkpoint, next_seq, disk_id, bank_id, count = (
            _FIXED.unpack_from(content)
        )
        zones, end = _zones(content, count)
        (check,) = _U32.unpack_from(content, end)
    except (struct.error, UnicodeDecodeError):
        raise ValueError("the superblock is cut short or damaged") from None
    if check != zlib.crc32(content[:end]):
        raise ValueError("the superblock's checksum differs")
    if version != FORMAT:
        raise ValueError(f"format {version}; this program reads format {FORMAT}")
    if zone_table(zones, height) != zones or max(checkpoint, next_seq) > MAX_NUMBER or made_us > MAX_TIME_US:
        raise ValueError("the superblock tells what cannot be")
    disk, own = uuid.UUID(bytes=disk_id), uuid.UUID(bytes=bank_id)
    return Superblock(disk, own, bank, width, height, zones, made_us, checkpoint, next_seq)


def _zones(content: bytes, count: int) -> tuple[dict[str, Zone], int]:
    zones: dict[str, Zone] = {}
    at = _FIXED.size
    for _ in range(count):
        first, last, name_bytes, owner_bytes = _ZONE.unpack_from(content, at)
        at += _ZONE.size
        name = content[at : at + name_bytes].decode()
        owner = content[at + name_bytes : at + name_bytes + owner_bytes].decode()
        zones[name] = Zone(first, last, owner or None)
        at += name_bytes + owner_bytes
    return zones, at
