"""Pictures out of files that are no sound banks. For repairs; blocks; never writes."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from . import bank, journal, snapshot, superblock
from .errors import PxlDiskError
from .png import FIRST_PIXEL, MAX_WIDTH, Grid, Picture, size_in_header
from .segment import SegmentHeader
from .superblock import Identity, Superblock

MAX_ROW_BYTES = 3 * MAX_WIDTH
MAX_PIXEL_BYTES = 8_388_608  # of a foreign picture whose size nothing else vouches for


def superblock_of(picture: Picture) -> Superblock | None:
    """The first readable superblock of a picture."""
    for row in superblock.ROWS:
        try:
            return superblock.decode(picture.row(row))
        except ValueError:
            continue
    return None


def identity_of(folder: Path, header: SegmentHeader | None) -> Identity | None:
    """Which disk the files of a folder are of: what most of them say. None: no file says it.

    `header`: of the newest segment, if it can be read; it has the first word when as many contradict it.
    """
    said = [] if header is None else [Identity(header.disk_id, header.width, header.height)]
    banks = [bank.bank_path(folder, number) for number in bank.bank_numbers(folder)]
    bases = [path for _, _, path in journal.bases(folder / "log")]
    for path in [*banks, *bases, *(path for _, _, path in snapshot.snapshots(folder))]:
        try:
            said.append(superblock.identity(bank.load(path).superblock))
        except (PxlDiskError, OSError):
            continue
    return max(said, key=said.count, default=None)


def kept_pictures(folder: Path, number: int, identity: Identity | None) -> Iterator[tuple[Path, Picture]]:
    """Snapshots of a bank and the pictures kept in the log, as far as they can be read."""
    bases = [path for _, of, path in journal.bases(folder / "log") if of == number]
    taken = [path for _, of, path in snapshot.snapshots(folder) if of == number]
    for path in [*taken, *bases]:
        try:
            loaded = bank.load(path)
        except (PxlDiskError, OSError):
            continue
        if superblock.identity(loaded.superblock) == identity and loaded.superblock.bank == number:
            yield path, loaded.picture


def cut_picture(path: Path) -> Picture | None:
    """A bank whose file is too short or too long, with the rows it has; the others read as damaged.

    None if its superblock cannot be read, or if it shows too few rows for the size that it tells.
    """
    try:
        with path.open("rb") as file:
            block = superblock.decode(file.read(FIRST_PIXEL + MAX_ROW_BYTES)[FIRST_PIXEL:])
            grid = Grid(block.width, block.height)
            if grid.stream_bytes > MAX_PIXEL_BYTES and not bank.shows_rows(file.fileno(), grid):
                return None
            file.seek(0)
            content = file.read(grid.file_bytes)
    except (OSError, ValueError):
        return None
    # 0x01 and not 0: a row that is not there must not look free.
    picture = Picture(grid, bytearray(content.ljust(grid.file_bytes, b"\x01")))
    picture.mend()
    return picture


def decoded_picture(path: Path, expected: Grid | None) -> Picture | None:
    """A bank that another tool has saved again without changing its pixels.

    Its header is believed only if it tells the expected size, or a modest one.
    """
    try:
        with path.open("rb") as file:
            grid = Grid(*size_in_header(file.read(64)))
            if grid != expected if expected is not None else grid.stream_bytes > MAX_PIXEL_BYTES:
                return None
            if os.fstat(file.fileno()).st_size > 2 * grid.file_bytes:
                return None
            file.seek(0)
            content = io.BytesIO(
                file.read()
            )  # from memory, a chunk's length cannot ask for more than is there
        from PIL import Image

        with Image.open(content) as foreign:
            pixels = foreign.convert("RGB").tobytes()
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for files that are no pictures
        return None
    picture = Picture.blank(grid)
    for row in range(grid.height):
        picture.write(row, pixels[row * grid.row_bytes : (row + 1) * grid.row_bytes])
    picture.seal()
    return picture if superblock_of(picture) is not None else None
