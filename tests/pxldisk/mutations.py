"""Ways in which files of a disk may be wrong: accidents of media and people, and lies with good checksums.

Each mutation changes files below a folder, by a random source that repeats. `blind` ones know nothing of
the format, so that no record they leave readable can say anything but what was written.
"""

import functools
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

Mutation = Callable[[Path, random.Random], None]
SOME_NUMBERS = (0, 1, 2, 3, 8, 9, 10, 47, 48, 255, 256, 4096, 21_844, 21_845, 65_535, 2**31 - 1, 2**32 - 1)
CANVAS_BYTES = 3 * 21_844  # the widest row


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def head(path: Path) -> bytes:
    """What a file begins with: another mutation may have made it very long."""
    with path.open("rb") as file:
        return file.read(200_000)


def some_file(folder: Path, chance: random.Random) -> Path | None:
    # Those that opening reads are more interesting than copies kept for later.
    found = files_of(folder)
    weights = [1 if path.parent.name == "log" and path.suffix == ".png" else 4 for path in found]
    return chance.choices(found, weights)[0] if found else None


# -- blind -------------------------------------------------------------------------------------


def flip(folder: Path, chance: random.Random) -> None:
    """Change a few bits."""
    if (path := some_file(folder, chance)) is None:
        return
    content = bytearray(head(path))
    for _ in range(chance.choice((1, 1, 2, 20)) if content else 0):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(folder: Path, chance: random.Random) -> None:
    """End a file early."""
    if (path := some_file(folder, chance)) is not None:
        os.truncate(path, chance.randrange(path.stat().st_size + 1))


def lengthen(folder: Path, chance: random.Random) -> None:
    """Put zeros, noise or nothing but size behind a file."""
    if (path := some_file(folder, chance)) is None:
        return
    size = path.stat().st_size
    os.truncate(path, size + chance.choice((1, 100, 70_000, 80_000_000)))
    if chance.random() < 0.5:
        with path.open("r+b") as file:
            file.seek(size if chance.random() < 0.5 else path.stat().st_size)
            file.write(chance.randbytes(50))


def trail(folder: Path, chance: random.Random) -> None:
    """Put more behind a segment than the memory that opening may take."""
    found = [path for path in files_of(folder) if path.suffix == ".pxj"]
    if found:
        with chance.choice(found).open("ab") as file:
            for _ in range(1100):
                file.write(bytes((chance.randrange(1, 256),)) * 65_536)


def blank_range(folder: Path, chance: random.Random) -> None:
    """Overwrite a range with one byte, as a bad block does."""
    if (path := some_file(folder, chance)) is None:
        return
    content = bytearray(head(path))
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.choice((1, 16, 512, 4096)))
    content[start:end] = bytes([chance.choice((0, 0, 255, 0x50))]) * (end - start)
    path.write_bytes(content)


def splice(folder: Path, chance: random.Random) -> None:
    """Put a piece of one file into another, in place or between."""
    source, target = some_file(folder, chance), some_file(folder, chance)
    if source is None or target is None:
        return
    piece, content = head(source), bytearray(head(target))
    start = chance.randrange(len(piece) + 1)
    piece = piece[start : start + chance.choice((1, 30, 162, 512, 5000))]
    at = chance.randrange(len(content) + 1)
    content[at : at + (len(piece) if chance.random() < 0.7 else 0)] = piece
    target.write_bytes(content)


def lose(folder: Path, chance: random.Random) -> None:
    """Delete a file, or the log."""
    if chance.random() < 0.1:
        shutil.rmtree(folder / "log", ignore_errors=True)
    elif (path := some_file(folder, chance)) is not None:
        path.unlink()


def swap(folder: Path, chance: random.Random) -> None:
    """Let a file take another's name."""
    source, target = some_file(folder, chance), some_file(folder, chance)
    if source is not None and target is not None and source != target:
        if chance.random() < 0.5:
            target.write_bytes(head(source))
        else:
            source.rename(target)


def stray(folder: Path, chance: random.Random) -> None:
    """Add files that people and tools leave."""
    names = (
        "10.png",
        "2024.png",
        "99999.png",
        "08.png",
        "²³.png",
        "8-1.png",
        "8-x.png",
        "9-99.png",
        "-1.png",
    )
    names += ("log/00000009.pxj", "log/x.pxj", "log/²².pxj", "log/9.pxj", "log/00000001-77.png")
    names += ("log/x-8.png", "log/00000099-8.png", "8.png.tmp", "notes.txt", "log/99999999999999999999.pxj")
    path = folder / chance.choice(names)
    path.parent.mkdir(exist_ok=True)
    source = some_file(folder, chance)
    content = head(source) if source is not None and chance.random() < 0.6 else b"hello"
    path.write_bytes(content)


def scribble(folder: Path, chance: random.Random) -> None:
    """Replace a file by noise, or by nothing."""
    if (path := some_file(folder, chance)) is not None:
        path.write_bytes(chance.randbytes(chance.choice((0, 1, 60, 2000))))


BLIND: tuple[Mutation, ...] = (
    trail,
    flip,
    flip,
    flip,
    cut,
    lengthen,
    blank_range,
    splice,
    lose,
    swap,
    stray,
    scribble,
)


# -- lies, with checksums to match -------------------------------------------------------------


def number_into(content: bytearray, at: int, layout: str, chance: random.Random) -> None:
    limit = 256 ** struct.calcsize(layout) - 1
    struct.pack_into(layout, content, at, min(chance.choice(SOME_NUMBERS), limit))


def lie_in_png_header(folder: Path, chance: random.Random) -> None:
    """Another width or height, sometimes with a file as long as that promises."""
    if (path := some_picture(folder, chance)) is None:
        return
    content = bytearray(head(path))
    if len(content) < 60:
        return
    number_into(content, chance.choice((16, 20)), ">I", chance)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    path.write_bytes(content)
    width, height = struct.unpack_from(">II", content, 16)
    if chance.random() < 0.5 and width < 30_000 and height < 70_000:
        os.truncate(path, 47 + height * (3 * width + 18) + 33)


def lie_in_superblock(folder: Path, chance: random.Random) -> None:
    """Other sizes, numbers, zones; in the first superblock or in both, with a file to fit or not."""
    if (path := some_picture(folder, chance)) is None:
        return
    content = bytearray(head(path))
    if len(content) < 600:
        return
    (width,) = struct.unpack_from(">I", content, 16)
    stride = 3 * width + 18
    at, layout = chance.choice(
        [(at, ">H") for at in (6, 8, 10, *range(70, 110, 2))]
        + [(at, ">Q") for at in (12, 20, 28, 36)]
        + [(68, ">B")]
    )
    for row in (0, 1) if chance.random() < 0.7 else (0,):
        start = 61 + row * stride
        if start + 3 * width > len(content):
            return
        number_into(content, start + at, layout, random.Random(chance.random()) if row == 0 else chance)
        seal_superblock(content, start, 3 * width)
    path.write_bytes(content)
    if chance.random() < 0.5:
        width, height = struct.unpack_from(">HH", content, 61 + 6)
        os.truncate(path, 47 + height * (3 * width + 18) + 33)


def seal_superblock(content: bytearray, start: int, row_bytes: int) -> None:
    """Give a superblock the checksum of what it says."""
    at = start + 69
    for _ in range(content[start + 68]):
        if at + 6 > start + row_bytes:
            return
        at += 6 + content[at + 4] + content[at + 5]
    if at + 4 <= start + row_bytes:
        struct.pack_into(">I", content, at, zlib.crc32(content[start:at]))


def lie_in_row(folder: Path, chance: random.Random) -> None:
    """Another field of a record's header."""
    if (path := some_picture(folder, chance)) is None:
        return
    content = bytearray(head(path))
    if len(content) < 600:
        return
    (width,) = struct.unpack_from(">I", content, 16)
    stride = 3 * width + 18
    starts = [at for at in range(61 + 2 * stride, len(content) - 3 * width, stride) if content[at] == 0x50]
    if not starts or 3 * width < 96:
        return
    start = chance.choice(starts)
    at, layout = chance.choice(
        [(at, ">B") for at in (1, 2, 3, 4)]
        + [(at, ">H") for at in (5, 7, 9, 11, 33, 49)]
        + [(13, ">I"), (17, ">Q"), (25, ">Q")]
    )
    number_into(content, start + at, layout, chance)
    end = start + 49 + struct.unpack_from(">H", content, start + 11)[0]
    if end + 4 <= start + 3 * width:
        struct.pack_into(">I", content, end, zlib.crc32(content[start:end]))
    path.write_bytes(content)


def lie_in_journal(folder: Path, chance: random.Random) -> None:
    """Another number in the header, or in one record, of a segment."""
    found = [path for path in files_of(folder) if path.suffix == ".pxj"]
    if not found:
        return
    path = chance.choice(found)
    content = bytearray(head(path))
    if len(content) < 100:
        return
    if chance.random() < 0.3:
        at, layout = chance.choice(((8, ">Q"), (16, ">Q"), (24, ">Q"), (32, ">H"), (34, ">H"), (40, ">I")))
        number_into(content, at, layout, chance)
        struct.pack_into(">I", content, 56, zlib.crc32(content[:56]))
    else:
        lie_in_record(content, chance)
    path.write_bytes(content)


def lie_in_record(content: bytearray, chance: random.Random) -> None:
    """One field of one record: of its head, or of what it holds."""
    (salt,) = struct.unpack_from(">I", content, 36)
    starts, at = [], 60
    while content[at : at + 4] == b"PXR1" and at + 37 <= len(content):
        starts.append(at)
        at += 37 + struct.unpack_from(">I", content, at + 5)[0]
    if not starts:
        return
    start = chance.choice(starts)
    length = struct.unpack_from(">I", content, start + 5)[0]
    at, layout = chance.choice(
        [(4, ">B"), (5, ">I")]
        + [(at, ">Q") for at in (9, 17, 25)]
        + [(37, ">I")]
        + [(at, ">H") for at in (41, 43, 45)]
    )
    if chance.random() < 0.2 and length > 8:
        at, layout = 37 + chance.randrange(length - 4), chance.choice((">B", ">H"))
    if start + at + 8 > len(content):
        return
    number_into(content, start + at, layout, chance)
    length = min(struct.unpack_from(">I", content, start + 5)[0], len(content) - start - 37)
    body = content[start + 37 : start + 37 + length]
    struct.pack_into(
        ">I", content, start + 33, zlib.crc32(body, zlib.crc32(content[start : start + 33], salt))
    )


@functools.cache
def black(row_bytes: int, rows: int) -> bytes:
    """Pixels, packed."""
    stream = zlib.compressobj(9)
    return b"".join(stream.compress(bytes(row_bytes)) for _ in range(rows)) + stream.flush()


def bomb(folder: Path, chance: random.Random) -> None:
    """A picture of another tool, small in its file and large, or very large, when it is decoded."""
    path = folder / chance.choice(("8.png", "8.png", "9.png", "8-1767225600.png"))
    width, height = chance.choice(((48, 10), (2000, 2000), (21_844, 1000), (21_844, 65_535), (2**31, 2**31)))
    packed = black(1 + min(3 * width, CANVAS_BYTES), min(height, 2000))
    header = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")):
        png += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(png)


def some_picture(folder: Path, chance: random.Random) -> Path | None:
    found = [path for path in files_of(folder) if path.suffix == ".png" and path.stat().st_size < 1 << 20]
    return chance.choice(found) if found else None


LIES: tuple[Mutation, ...] = (
    lie_in_png_header,
    lie_in_superblock,
    lie_in_superblock,
    lie_in_row,
    lie_in_row,
    lie_in_journal,
    lie_in_journal,
    lie_in_journal,
    bomb,
)
