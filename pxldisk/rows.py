"""Records as the bytes of rows. Pure: knows neither files nor which rows are free.

A row that holds (a part of) a record, big-endian:

    mark 0x50, state, version          the row's first pixel: its colour shows the state
    owner bytes, key bytes             lengths of both texts, at the start of part 0's body
    part, parts, next row              part i of n; the row of part i + 1, 0 for none
    body bytes here, body bytes in all
    sequence number, time (µs, 1970)   the same in every part
    kind                               16 ASCII bytes, zero-padded
    body                               part 0: owner, key, payload; others: payload
    CRC-32 of all the above
    zero padding to the end of the row

A free row is all zeros. A consumed row keeps its bytes, so that people can look at it, until its
place is used again.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MARK: Final = 0x50
VERSION: Final = 1
HEADER: Final = struct.Struct(">BBBBBHHHHIQQ16s")
OVERHEAD: Final = HEADER.size + 4  # header and checksum: what a row holds besides its body
MIN_ROW_BYTES: Final = 96
MAX_TEXT_BYTES: Final = 255
MAX_KIND_BYTES: Final = 16
MAX_NUMBER: Final = 2**62  # of records and commits: what is counted on from it still fits 64 bits
MAX_TIME_US: Final = 253_402_300_799_999_999  # the end of the year 9999, where calendars end

_CHECK: Final = struct.Struct(">I")
_STATE_AT: Final = 1


class State(StrEnum):
    """What a row is."""

    FREE = "free"
    LIVE = "live"
    CONSUMED = "consumed"
    DAMAGED = "damaged"  # never on disk: its bytes are not what was written


# More than one bit apart, and apart to the eye: green and dark violet beside the mark.
CODES: Final = {State.FREE: 0x00, State.LIVE: 0xE0, State.CONSUMED: 0x40}
_STATES: Final = {code: state for state, code in CODES.items()}


class BadRow(ValueError):
    """The bytes of a row are not what was written. `offset`: bytes from the row's first pixel."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(why)
        self.offset = offset
        self.why = why


@dataclass(frozen=True, slots=True)
class Row:
    """One decoded row. `at_us`: microseconds since 1970. `next_row` 0: the last part."""

    state: State
    part: int
    parts: int
    next_row: int
    total: int
    seq: int
    at_us: int
    kind: str
    owner: str | None
    key: str | None
    body: bytes  # without owner and key


def capacity(row_bytes: int) -> int:
    """Body bytes that fit in one row."""
    return row_bytes - OVERHEAD


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is the same in all rows of one record, encoded. `body`: owner, key and payload."""

    seq: int
    at_us: int
    kind: bytes
    owner_bytes: int
    key_bytes: int
    body: bytes


def encode(sheet: Sheet, rows: Sequence[int], row_bytes: int) -> list[tuple[int, bytes]]:
    """Lay a live record out in `rows`; (row, content without padding) for each, in part order."""
    body, size, parts = sheet.body, row_bytes - OVERHEAD, len(rows)
    images: list[tuple[int, bytes]] = []
    for part, row in enumerate(rows):
        piece = body if parts == 1 else body[part * size : (part + 1) * size]
        content = (
            HEADER.pack(
                MARK,
                0xE0,
                VERSION,
                0 if part else sheet.owner_bytes,
                0 if part else sheet.key_bytes,
                part,
                parts,
                rows[part + 1] if part + 1 < parts else 0,
                len(piece),
                len(body),
                sheet.seq,
                sheet.at_us,
                sheet.kind,
            )
            + piece
        )
        images.append((row, content + _CHECK.pack(zlib.crc32(content))))
    return images


def consumed(content: bytes) -> bytes:
    """A row's content with its state changed to consumed; trailing zero padding is dropped."""
    end = HEADER.size + _body_bytes(content)
    changed = bytearray(content[:end])
    changed[_STATE_AT] = CODES[State.CONSUMED]
    return bytes(changed) + _CHECK.pack(zlib.crc32(changed))


def without_padding(content: bytes) -> bytes:
    """A sound record's row up to and including its checksum."""
    return content[: OVERHEAD + _body_bytes(content)]


def decode(content: bytes) -> Row | None:
    """Read one row (`3 * width` bytes, or without its padding). None: free. Raises BadRow."""
    if content[0] != MARK:
        _check_free(content)
        return None
    if len(content) < OVERHEAD:
        raise BadRow(0, "the row is too short for a record")
    (_, state, version, owner_bytes, key_bytes, part, parts, next_row, here, total, seq, at_us, kind) = (
        HEADER.unpack_from(content)
    )
    end = HEADER.size + here
    if end + 4 > len(content):
        raise BadRow(9, f"the record claims {here} bytes in a row that has fewer")
    if _CHECK.unpack_from(content, end)[0] != zlib.crc32(content[:end]):
        raise BadRow(0, "the record's checksum differs")
    if version != VERSION or state not in _STATES or not 0 <= part < parts or owner_bytes + key_bytes > here:
        raise BadRow(0, f"a record of version {version}, state {state}, part {part} of {parts}")
    if not 0 < seq <= MAX_NUMBER or at_us > MAX_TIME_US:
        raise BadRow(0, f"a record numbered {seq}, stored at {at_us} µs")
    key_at, body_at = HEADER.size + owner_bytes, HEADER.size + owner_bytes + key_bytes
    try:
        owner, key = content[HEADER.size : key_at].decode() or None, content[key_at:body_at].decode() or None
        title = kind.rstrip(b"\x00").decode("ascii")
    except UnicodeDecodeError:
        raise BadRow(HEADER.size, "owner, key or kind is not text") from None
    body = content[body_at:end]
    return Row(_STATES[state], part, parts, next_row, total, seq, at_us, title, owner, key, body)


def body_of(content: bytes) -> bytes:
    """The payload part of a row whose place and checksum are known to be good. Raises BadRow."""
    end = HEADER.size + _body_bytes(content)
    if _CHECK.unpack_from(content, end)[0] != zlib.crc32(content[:end]):
        raise BadRow(0, "the record's checksum differs")
    return content[HEADER.size + content[3] + content[4] : end]


def seq_of(content: bytes) -> int:
    """The sequence number of a record's row."""
    seq: int = HEADER.unpack_from(content)[10]
    return seq


def key_of(content: bytes) -> tuple[int, str] | None:
    """Sequence number and key of a live head row with a key; None for every other row, free ones too."""
    if not content or content[0] != MARK or not content[4] or content[_STATE_AT] != CODES[State.LIVE]:
        return None
    at = HEADER.size + content[3]
    return seq_of(content), content[at : at + content[4]].decode()


def _body_bytes(content: bytes) -> int:
    return content[11] << 8 | content[12]


def _check_free(content: bytes) -> None:
    if content.count(0) != len(content):
        first = next(offset for offset, value in enumerate(content) if value)
        raise BadRow(first, "neither free nor a record")
