"""A disk drawn for people: its pixels enlarged, with a stripe that shows each row's state."""

from collections.abc import Sequence
from pathlib import Path

from .memory import Memory
from .rows import State

COLOURS = {
    State.FREE: (24, 24, 28),
    State.LIVE: (60, 200, 90),
    State.CONSUMED: (110, 90, 150),
    State.DAMAGED: (230, 40, 40),
}
_STRIPE = 6  # pixels of the disk
_BORDER = (255, 170, 0)  # where a zone begins


def render(memory: Memory, out: Path, scale: int) -> Sequence[Path]:
    """Draw each bank into `out`, or `out-9` and so on for further banks; the files."""
    from PIL import Image

    grid = memory.grid
    paths: list[Path] = []
    first_rows = {zone.rows.start for zone in memory.zones.values()}
    for number, picture in memory.pictures.items():
        pixels = bytearray()
        for row in range(grid.height):
            state = memory.describe(number, row).state
            border = _BORDER if row in first_rows else COLOURS[state]
            pixels += bytes(border) + bytes(COLOURS[state]) * (_STRIPE - 1) + picture.row(row)
        drawn = Image.frombytes("RGB", (grid.width + _STRIPE, grid.height), bytes(pixels))
        large = drawn.resize((drawn.width * scale, drawn.height * scale), Image.Resampling.NEAREST)
        path = out if not paths else out.with_stem(f"{out.stem}-{number}")
        large.save(path)
        paths.append(path)
    return paths
