"""Which rows a snapshot would change. Pure: the disk commits them like any other rows."""

from pathlib import Path

from . import rows, superblock
from .bank import Loaded
from .errors import Corrupt, ForeignPicture, WrongShape
from .memory import Memory
from .plan import Image


def images(memory: Memory, loaded: Loaded, picture: Path) -> tuple[list[Image], int]:
    """The rows that differ from the snapshot, as it has them; how many live records that would end.

    Raises WrongShape, ForeignPicture, Corrupt: all before anything is changed.
    """
    number = loaded.superblock.bank
    _check(memory, loaded, picture)
    found: list[Image] = []
    for row in range(len(superblock.ROWS), memory.grid.height):
        content = loaded.picture.row(row)
        try:
            record = rows.without_padding(content) if rows.decode(content) is not None else b""
        except rows.BadRow as bad:
            offset = loaded.picture.grid.pixels_at(row) + bad.offset
            raise Corrupt(picture, row, offset, bad.why) from None
        if memory.pictures[number].row(row) != content:
            found.append(Image(number, row, record))
    return found, memory.live_in(number, [image.row for image in found])


def _check(memory: Memory, loaded: Loaded, picture: Path) -> None:
    block = loaded.superblock
    own = memory.superblocks.get(block.bank)
    if own is None:
        raise WrongShape(memory.folder, f"it has no bank {block.bank}, which {picture.name} shows")
    if (block.width, block.height, dict(block.zones)) != (own.width, own.height, dict(own.zones)):
        raise WrongShape(memory.folder, f"{picture.name} has another size or other zones")
    if block.disk_id != own.disk_id and len(memory.pictures) > 1:
        # Sequence numbers of two disks would meet in one; a disk of one bank is replaced whole.
        raise ForeignPicture(picture, "it shows another disk, and this one has several banks")
