"""One bank as a PNG whose every scanline has a constant place in the file. Pure: no files, no records.

Signature, IHDR (8-bit RGB), one IDAT with the two zlib header bytes, one IDAT for each scanline
(a stored deflate block: filter byte 0, then the pixels), one IDAT with the empty final block and
the Adler-32, IEND. Changing a scanline moves no other byte: its pixels, its chunk's CRC-32, the
Adler-32 and the last chunk's CRC-32 are rewritten where they are.

Sources: PNG (https://www.w3.org/TR/png-3/), RFC 1950 (zlib, Adler-32), RFC 1951 (stored blocks).
"""

import struct
import zlib
from array import array
from dataclasses import dataclass, field
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_WIDTH: Final = 21_844  # 1 + 3 * width must fit the 16-bit length of a stored block
MAX_HEIGHT: Final = 65_535  # rows are numbered in 16 bits
SEAL_BYTES: Final = 8  # Adler-32 and the last chunk's CRC-32
FIRST_PIXEL: Final = 61  # where row 0's pixels begin, whatever the size

_ADLER: Final = 65_521  # largest prime below 2**16, RFC 1950
_ZLIB_HEADER: Final = b"\x78\x01"  # deflate, 32 KiB window, fastest; 0x7801 is a multiple of 31
_FINAL_BLOCK: Final = b"\x01\x00\x00\xff\xff"  # stored, last, empty
_U32: Final = struct.Struct(">I")
_IHDR_END: Final = 33
_FIRST_ROW: Final = 47
_PREFIX: Final = 14  # chunk length, type, block header, filter byte


def _chunk(name: bytes, content: bytes) -> bytes:
    return _U32.pack(len(content)) + name + content + _U32.pack(zlib.crc32(content, zlib.crc32(name)))


_IEND: Final = _chunk(b"IEND", b"")


@dataclass(frozen=True, slots=True)
class Grid:
    """The size of a picture in pixels, and where in the file its parts are (bytes)."""

    width: int
    height: int
    row_bytes: int = field(init=False)
    stride: int = field(init=False)
    stream_bytes: int = field(init=False)
    trailer_at: int = field(init=False)
    file_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise ValueError(f"width {self.width} is not within 1..{MAX_WIDTH}")
        if not 1 <= self.height <= MAX_HEIGHT:
            raise ValueError(f"height {self.height} is not within 1..{MAX_HEIGHT}")
        row_bytes = 3 * self.width
        stride = row_bytes + _PREFIX + 4
        place = object.__setattr__  # the values below follow from the two above
        place(self, "row_bytes", row_bytes)
        place(self, "stride", stride)
        place(self, "stream_bytes", self.height * (row_bytes + 1))
        place(self, "trailer_at", _FIRST_ROW + self.height * stride)
        place(self, "file_bytes", _FIRST_ROW + self.height * stride + 21 + len(_IEND))

    def chunk_at(self, row: int) -> int:
        """Offset of the row's IDAT chunk."""
        return _FIRST_ROW + row * self.stride

    def pixels_at(self, row: int) -> int:
        """Offset of the row's first pixel."""
        return FIRST_PIXEL + row * self.stride


@dataclass(frozen=True, slots=True)
class Flaw:
    """A place where a file differs from what its pixels and its size demand."""

    row: int | None
    offset: int
    what: str


def _head(grid: Grid) -> bytes:
    size = struct.pack(">IIBBBBB", grid.width, grid.height, 8, 2, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", size) + _chunk(b"IDAT", _ZLIB_HEADER)


def row_prefix(grid: Grid) -> bytes:
    """What stands before the pixels of every row: chunk length and type, block header, filter byte."""
    length = grid.row_bytes + 1
    return _U32.pack(length + 5) + b"IDAT\x00" + struct.pack("<HH", length, length ^ 0xFFFF) + b"\x00"


def size_in_header(start: bytes) -> tuple[int, int]:
    """Width and height that a PNG's first 33 bytes declare. Raises ValueError for anything not ours.

    Nothing is decoded: a file that promises a huge picture is refused by its header.
    """
    if start[:8] != SIGNATURE:
        raise ValueError("no PNG signature")
    if len(start) < _IHDR_END or start[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise ValueError("no IHDR chunk")
    width, height, depth, colour, method, filtering, interlace = struct.unpack(">IIBBBBB", start[16:29])
    if (depth, colour, method, filtering, interlace) != (8, 2, 0, 0, 0):
        raise ValueError(f"{depth}-bit, colour type {colour}, interlace {interlace}; 8-bit RGB is expected")
    return width, height


class Picture:
    """A PNG held as the bytes of its file. `write` rows, then `seal`; until then the Adler-32 is stale."""

    __slots__ = ("_adlers", "_prefix_crc", "_sum", "_weighted", "grid", "image", "sealed_at")

    def __init__(self, grid: Grid, image: bytearray) -> None:
        """Take the bytes of a file of exactly `grid.file_bytes`; its framing may be flawed."""
        if len(image) != grid.file_bytes:
            raise ValueError(f"{len(image)} bytes; {grid.width}x{grid.height} pixels take {grid.file_bytes}")
        self.grid = grid
        self.image = image
        self.sealed_at = grid.trailer_at + 13  # offset of the bytes that `seal` returns
        self._prefix_crc = zlib.crc32(row_prefix(grid)[4:])
        # Adler-32 is linear: started from 0 instead of 1 it gives each row's own share of both sums.
        self._adlers = array("L", (zlib.adler32(self.row(row), 0) for row in range(grid.height)))
        self._sum, self._weighted = 1, grid.stream_bytes % _ADLER
        for row, adler in enumerate(self._adlers):
            self._add(row, adler & 0xFFFF, adler >> 16)

    @classmethod
    def blank(cls, grid: Grid) -> "Picture":
        """A black picture: every row free."""
        prefix, black = row_prefix(grid), bytes(grid.row_bytes)
        row = prefix + black + _U32.pack(zlib.crc32(black, zlib.crc32(prefix[4:])))
        picture = cls(grid, bytearray(_head(grid) + row * grid.height + bytes(21) + _IEND))
        picture._write_trailer()
        return picture

    def copy(self) -> "Picture":
        """The same picture in bytes of its own."""
        twin = object.__new__(Picture)  # not through __init__, which would add up all the pixels again
        twin.grid, twin.image, twin._prefix_crc = self.grid, bytearray(self.image), self._prefix_crc
        twin.sealed_at = self.sealed_at
        twin._adlers, twin._sum, twin._weighted = self._adlers[:], self._sum, self._weighted
        return twin

    def row(self, row: int) -> bytes:
        """The 3 * width pixel bytes of a row."""
        start = self.grid.pixels_at(row)
        return bytes(self.image[start : start + self.grid.row_bytes])

    def write(self, row: int, content: bytes) -> None:
        """Replace a row by `content`, padded with zeros; at most `grid.row_bytes` long."""
        # Every stored row passes here: what `_add` does stands a second time, as a call is a tenth of it.
        grid = self.grid
        row_bytes = grid.row_bytes
        pixels = content.ljust(row_bytes, b"\x00")
        if len(pixels) != row_bytes:
            raise ValueError(f"{len(content)} bytes for a row of {row_bytes}")
        old, new = self._adlers[row], zlib.adler32(pixels, 0)
        self._adlers[row] = new
        to_sum = (new & 0xFFFF) - (old & 0xFFFF)
        behind = (grid.height - 1 - row) * (row_bytes + 1)
        self._sum = (self._sum + to_sum) % _ADLER
        self._weighted = (self._weighted + (new >> 16) - (old >> 16) + behind * to_sum) % _ADLER
        start = FIRST_PIXEL + row * grid.stride
        end = start + row_bytes
        self.image[start:end] = pixels
        _U32.pack_into(self.image, end, zlib.crc32(pixels, self._prefix_crc))

    def seal(self) -> bytes:
        """Bring the Adler-32 and its chunk's CRC up to date; the changed bytes, at `sealed_at`."""
        adler = (self._weighted << 16 | self._sum).to_bytes(4)
        seal = adler + zlib.crc32(adler, _FINAL_CRC).to_bytes(4)
        at = self.sealed_at
        self.image[at : at + SEAL_BYTES] = seal
        return seal

    def span(self, first: int, last: int) -> tuple[int, bytes]:
        """Offset and bytes of rows first..last with their checksums: what a write in place takes."""
        stride = self.grid.stride
        start = FIRST_PIXEL + first * stride
        return start, bytes(self.image[start : _FIRST_ROW + (last + 1) * stride])

    def flaws(self) -> list[Flaw]:
        """Every place whose framing or checksum is wrong, in file order; empty for a sound picture."""
        sound = self.copy()
        sound.mend()
        if sound.image == self.image:
            return []
        return [*self._flaws_before_rows(sound), *self._flaws_in_rows(sound), *self._flaws_after_rows(sound)]

    def mend(self) -> None:
        """Rewrite all framing and checksums to fit the pixels as they are."""
        grid, image = self.grid, self.image
        image[:_FIRST_ROW] = _head(grid)
        prefix = row_prefix(grid)
        for row in range(grid.height):
            at = grid.chunk_at(row)
            image[at : at + _PREFIX] = prefix
            crc = zlib.crc32(self.row(row), self._prefix_crc)
            image[at + grid.stride - 4 : at + grid.stride] = _U32.pack(crc)
        self._write_trailer()

    def _add(self, row: int, to_sum: int, to_weighted: int) -> None:
        """Let the stream's Adler-32 follow a change of a row's own sums."""
        grid = self.grid
        behind = (grid.height - 1 - row) * (grid.row_bytes + 1)  # bytes of the stream after this row
        self._sum = (self._sum + to_sum) % _ADLER
        self._weighted = (self._weighted + to_weighted + behind * to_sum) % _ADLER

    def _write_trailer(self) -> None:
        at = self.grid.trailer_at
        self.image[at : at + 13] = b"\x00\x00\x00\x09IDAT" + _FINAL_BLOCK
        self.image[at + 21 :] = _IEND
        self.seal()

    def _flaws_before_rows(self, sound: "Picture") -> list[Flaw]:
        return _differences(self.image, sound.image, 0, _FIRST_ROW, None, "header differs")

    def _flaws_in_rows(self, sound: "Picture") -> list[Flaw]:
        flaws: list[Flaw] = []
        for row in range(self.grid.height):
            at, crc_at = self.grid.chunk_at(row), self.grid.chunk_at(row + 1) - 4
            flaws += _differences(self.image, sound.image, at, at + _PREFIX, row, "chunk header differs")
            flaws += _differences(
                self.image, sound.image, crc_at, crc_at + 4, row, "CRC-32 of the row differs"
            )
        return flaws

    def _flaws_after_rows(self, sound: "Picture") -> list[Flaw]:
        at, end = self.grid.trailer_at, self.grid.file_bytes
        return _differences(self.image, sound.image, at, end, None, "trailer (Adler-32, IEND) differs")


_FINAL_CRC: Final = zlib.crc32(_FINAL_BLOCK, zlib.crc32(b"IDAT"))


def _differences(
    found: bytearray, wanted: bytearray, start: int, end: int, row: int | None, what: str
) -> list[Flaw]:
    if found[start:end] == wanted[start:end]:
        return []
    offset = next(i for i in range(start, end) if found[i] != wanted[i])
    return [Flaw(row, offset, what)]
