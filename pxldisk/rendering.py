"""A disk drawn for people: its pixels enlarged, each row's state beside them, zones by name, a legend."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .memory import Memory
from .rows import State

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS: Final = {
    State.FREE: (24, 24, 28),
    State.LIVE: (60, 200, 90),
    State.CONSUMED: (110, 90, 150),
    State.DAMAGED: (230, 40, 40),
}
_STRIPE: Final = 6  # pixels of the disk
_BORDER: Final = (255, 170, 0)  # where a zone begins
_PAPER: Final = (12, 12, 15)
_INK: Final = (215, 215, 220)
_MARGIN: Final = 8  # pixels of the drawing, as all below
_LINE: Final = 14
_BOX: Final = 10


def render(memory: Memory, out: Path, scale: int) -> Sequence[Path]:
    """Draw each bank into `out`, or `out-9` and so on for further banks; the files."""
    paths: list[Path] = []
    for number in memory.pictures:
        path = out if not paths else out.with_stem(f"{out.stem}-{number}")
        _drawn(memory, number, scale).save(path)
        paths.append(path)
    return paths


def _drawn(memory: Memory, number: int, scale: int) -> "Image":
    from PIL import Image, ImageDraw

    grid, rows = memory.grid, _rows(memory, number)
    rows = rows.resize((rows.width * scale, rows.height * scale), Image.Resampling.NEAREST)
    write = ImageDraw.Draw(rows)  # only to measure
    labels = {name: _label(memory, name) for name in memory.zones}
    wide = max(int(write.textlength(label)) for label in labels.values()) + _MARGIN
    legend = {state: f"{state}" for state in COLOURS}
    width = max(rows.width + _MARGIN + wide, 4 * 90) + 2 * _MARGIN
    top = _MARGIN + _LINE
    whole = Image.new("RGB", (width, top + rows.height + _LINE + 2 * _MARGIN), _PAPER)
    whole.paste(rows, (_MARGIN, top))
    write = ImageDraw.Draw(whole)
    write.text((_MARGIN, _MARGIN // 2), f"{number}.png   {grid.width}x{grid.height}", fill=_INK)
    bottom = 0  # of the last label: those of small zones move down to stay readable
    right = _MARGIN + rows.width
    for name, zone in memory.zones.items():
        first, last = top + zone.rows.start * scale, top + zone.rows.stop * scale
        write.line(
            [(right + 2, first), (right + 4, first), (right + 4, last - 1), (right + 2, last - 1)], _BORDER
        )
        bottom = max(first, bottom)
        write.text((right + _MARGIN, bottom), labels[name], fill=_INK)
        bottom += _LINE
    for place, (state, words) in enumerate(legend.items()):
        left, above = _MARGIN + place * 90, whole.height - _MARGIN - _BOX
        write.rectangle([left, above, left + _BOX, above + _BOX], fill=COLOURS[state], outline=_INK)
        write.text((left + _BOX + 4, above - 1), words, fill=_INK)
    return whole


def _label(memory: Memory, name: str) -> str:
    zone = memory.zones[name]
    owner = "" if zone.owner is None else f" ({zone.owner})"
    return f"{name}{owner} {zone.first}-{zone.last}".encode("ascii", "replace").decode()


def _rows(memory: Memory, number: int) -> "Image":
    """The bank's pixels behind a stripe that shows each row's state, and where zones begin."""
    from PIL import Image

    grid, picture = memory.grid, memory.pictures[number]
    first_rows = {zone.rows.start for zone in memory.zones.values()}
    pixels = bytearray()
    for row in range(grid.height):
        state = memory.describe(number, row).state
        border = _BORDER if row in first_rows else COLOURS[state]
        pixels += bytes(border) + bytes(COLOURS[state]) * (_STRIPE - 1) + picture.row(row)
    return Image.frombytes("RGB", (grid.width + _STRIPE, grid.height), bytes(pixels))
