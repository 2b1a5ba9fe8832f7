"""Pictures out of files that are no sound banks. For repairs; blocks; never writes."""

from collections.abc import Iterator
from pathlib import Path

from . import bank, journal, snapshot, superblock
from .errors import PxlDiskError
from .png import FIRST_PIXEL, Grid, Picture, size_in_header
from .superblock import Superblock

MAX_PIXEL_BYTES = 67_108_864  # of a foreign picture whose size nothing else vouches for


def superblock_of(picture: Picture) -> Superblock | None:
    """The first readable superblock of a picture."""
    for row in superblock.ROWS:
        try:
            return superblock.decode(picture.row(row))
        except ValueError:
            continue
    return None


def kept_pictures(folder: Path, number: int) -> Iterator[tuple[Path, Picture]]:
    """Snapshots of a bank and the pictures kept in the log, as far as they can be read."""
    log = folder / "log"
    bases = [journal.base_path(log, at, number) for at in journal.segment_numbers(log)]
    taken = [path for _, of, path in snapshot.snapshots(folder) if of == number]
    for path in [*taken, *bases]:
        try:
            yield path, bank.load(path).picture
        except (PxlDiskError, OSError):
            continue


def cut_picture(path: Path) -> Picture | None:
    """A bank whose file is too short or too long, with the rows it has; the others read as damaged."""
    try:
        content = path.read_bytes()
        block = superblock.decode(content[FIRST_PIXEL:])
    except (OSError, ValueError):
        return None
    grid = Grid(block.width, block.height)
    # 0x01 and not 0: a row that is not there must not look free.
    picture = Picture(grid, bytearray(content[: grid.file_bytes].ljust(grid.file_bytes, b"\x01")))
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
        from PIL import Image

        with Image.open(path) as foreign:
            pixels = foreign.convert("RGB").tobytes()
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for files that are no pictures
        return None
    picture = Picture.blank(grid)
    for row in range(grid.height):
        picture.write(row, pixels[row * grid.row_bytes : (row + 1) * grid.row_bytes])
    picture.seal()
    return picture if superblock_of(picture) is not None else None
