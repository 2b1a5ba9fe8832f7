"""One bank's file: made whole, read whole after a look at its header, then written in place."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from . import files, superblock
from .errors import Corrupt, ForeignPicture
from .png import FIRST_PIXEL, Flaw, Grid, Picture, row_prefix, size_in_header
from .superblock import Superblock

_LOOK_BYTES = 65_536 + FIRST_PIXEL  # enough for the header and the widest row 0
_LARGE_BYTES = 4_194_304  # a file that claims more must show rows where a picture of its size has them
_LOOKS = 256


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bank as read. `picture` is mended in memory already; `flaws` say what was wrong in the file."""

    superblock: Superblock
    picture: Picture
    flaws: tuple[Flaw, ...]


def bank_path(folder: Path, number: int) -> Path:
    """The file of a bank."""
    return folder / f"{number}.png"


def bank_numbers(folder: Path) -> list[int]:
    """The banks of a folder in order: 8.png and on, and behind a gap only files that say they are banks."""
    found = sorted(number for path in folder.glob("*.png") if (number := _number_in(path)) is not None)
    return [
        number
        for at, number in enumerate(found, superblock.FIRST_BANK)
        if number == at or _says_it_is_one(bank_path(folder, number))
    ]


def is_disk(folder: Path) -> bool:
    """Whether a folder holds anything of a disk: a bank, a log, a snapshot."""
    if bank_path(folder, superblock.FIRST_BANK).exists() or bank_numbers(folder):
        return True
    snapshots = (path for path in folder.glob("*-*.png") if path.stem.replace("-", "").isdigit())
    return any((folder / "log").glob("*.pxj")) or any((folder / "log").glob("*-*.png")) or any(snapshots)


def _number_in(path: Path) -> int | None:
    name = path.stem
    if not (name.isascii() and name.isdigit() and len(name) <= 5) or name.startswith("0"):
        return None
    return int(name) if superblock.FIRST_BANK <= int(name) <= superblock.LAST_BANK else None


def _says_it_is_one(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_LOOK_BYTES)[FIRST_PIXEL:].startswith(superblock.MAGIC)
    return False


def blank(block: Superblock) -> Picture:
    """The picture of a bank that holds nothing but its superblock."""
    grid = Grid(block.width, block.height)
    picture = Picture.blank(grid)
    for row in superblock.ROWS:
        picture.write(row, superblock.encode(block, grid.row_bytes))
    picture.seal()
    return picture


def load(path: Path) -> Loaded:
    """Read a bank. Its records are not checked here.

    Nothing is decompressed, and nothing beyond the first 64 KiB is read before header and size
    agree. Raises ForeignPicture, Corrupt (a bank of ours whose length or superblock is wrong), OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(_LOOK_BYTES)
        grid, first = _look(path, start)
        if size != grid.file_bytes:
            why = f"{size} bytes; {grid.width}x{grid.height} pixels take {grid.file_bytes}"
            if first is None:
                raise ForeignPicture(path, why)
            raise Corrupt(path, None, min(size, grid.file_bytes), why)
        if size > _LARGE_BYTES and not shows_rows(file.fileno(), grid):
            raise ForeignPicture(path, "it is large, and has no rows where a bank of its size has them")
        file.seek(0)
        image = bytearray(file.read(grid.file_bytes))
    if len(image) != grid.file_bytes:
        raise Corrupt(path, None, len(image), "the file was cut while it was read")
    picture = Picture(grid, image)
    flaws = picture.flaws()
    block = _choose(path, picture)
    if (block.width, block.height) != (grid.width, grid.height):
        raise Corrupt(path, 0, FIRST_PIXEL, f"the superblock tells of {block.width}x{block.height} pixels")
    picture.mend()
    return Loaded(block, picture, tuple(flaws))


def shows_rows(fd: int, grid: Grid) -> bool:
    """Whether most rows, of some all over the file, begin as rows do. Costs no memory."""
    rows = range(0, grid.height, max(1, grid.height // _LOOKS))
    wanted = row_prefix(grid)
    good = sum(os.pread(fd, len(wanted), grid.chunk_at(row)) == wanted for row in rows)
    return 2 * good > len(rows)


def _look(path: Path, start: bytes) -> tuple[Grid, Superblock | None]:
    """The size of the picture: from its first superblock if that is whole, else from its header."""
    try:
        block = superblock.decode(start[FIRST_PIXEL:])
        return Grid(block.width, block.height), block
    except ValueError:
        pass
    try:
        return Grid(*size_in_header(start)), None
    except ValueError as error:
        raise ForeignPicture(path, str(error)) from None


def _choose(path: Path, picture: Picture) -> Superblock:
    """The newer of the two superblocks. Of a picture that has none of its own: ForeignPicture."""
    found = []
    for row in superblock.ROWS:
        try:
            found.append(superblock.decode(picture.row(row)))
        except ValueError as error:
            why = str(error)
    if not found:
        raise ForeignPicture(path, why)
    return max(found, key=lambda block: block.checkpoint)


class BankFile:
    """A bank's file, open for writing in place. Blocks; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.dirty = False

    def paint(self, offset: int, content: bytes | bytearray) -> None:
        """Write bytes where they belong. The file never changes size."""
        files.write_all(self._fd, content, offset)
        self.dirty = True

    def flush(self) -> None:
        """Return when all that was painted is on the medium."""
        if self.dirty:
            files.sync(self._fd)
            self.dirty = False

    def close(self) -> None:
        """Close the file; what was painted is not flushed."""
        os.close(self._fd)


def create(path: Path, picture: Picture) -> BankFile:
    """Make a bank's file, durable and whole on return."""
    files.put(path, picture.image, point="pxldisk.bank")
    return BankFile(path)
