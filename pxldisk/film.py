"""A replay of the log as an animated picture: the rows as they were written, one frame after another.

Each bank is drawn as its pixels. The stripe on its left shows the state of each row, the stripe on its
right glows where a row was just written. Pillow keeps all frames until it writes the file, so a long log
gives every so many commits one frame: the memory that frames may take decides how many there are.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import history, superblock
from .errors import NotInLog
from .history import Part, Past
from .png import Grid, Picture
from .rendering import COLOURS
from .rows import CODES, MARK, State
from .segment import Commit

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FRAMES: Final = 600
FRAME_BYTES: Final = 96 * 1_048_576  # of all frames together
HOLD_S: Final = 2.0  # the last frame, before it begins again

_SIDE: Final = 640  # pixels; a larger disk is drawn smaller, a small one larger
_STRIPE: Final = 6  # pixels, on each side of a bank
_GAP: Final = 4
_LINE: Final = 16  # of text, above and below
_DARK: Final = (14, 14, 18)
_PALE: Final = (200, 200, 205)
_GLOW: Final = ((255, 236, 130), (220, 150, 60), (140, 80, 50), (70, 45, 42))  # newest first
# Bytes of text lie between 0x20 and 0x7e: most of the colours that a GIF may have go there.
_LEVELS: Final = (0, 44, 76, 104, 122, 224)

Tell = Callable[[int, int], None]  # frames drawn, of how many


@dataclass(frozen=True, slots=True)
class Film:
    """What was written."""

    file: Path
    frames: int
    part: Part


def write(
    folder: Path,
    out: Path,
    *,
    since: float | None = None,
    until: float | None = None,
    fps: float = 12.0,
    scale: float | None = None,
    tell: Tell | None = None,
) -> Film:
    """Write the commits between two times (seconds since 1970) as OUT.gif or OUT.png (animated).

    `scale`: pixels for each pixel of the disk; by default what fits a screen. An animated PNG has every
    colour as it is on the disk, a GIF 256. Raises NotInLog (nothing was done then, or the log was cut
    meanwhile), Corrupt, ValueError, OSError.
    """
    kind = out.suffix.lower()
    if kind not in (".gif", ".png"):
        raise ValueError(f"{out.name}: an animation is a .gif or a .png")
    if not out.parent.is_dir():
        raise FileNotFoundError(2, "there is no such folder", str(out.parent))
    part = history.part(folder, since=since, until=until)
    temporary = out.with_name(out.name + ".tmp")
    try:
        stage = _Stage(folder, part, since, until, scale, palette=kind == ".gif")
        count = min(part.commits, MAX_FRAMES, max(2, FRAME_BYTES // stage.frame_bytes))
        frames = stage.frames(count, tell)
        _save(next(frames), frames, count, temporary, kind, fps)
        os.replace(temporary, out)
    except (_LogWasCut, FileNotFoundError):
        left = history.part(folder, since=since, until=until)
        raise NotInLog(folder, left.first, "it was cut while the film was drawn; draw it again") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return Film(out, count, part)


class _LogWasCut(Exception):
    """The disk is written meanwhile, and its log no longer begins where it did."""


def _save(first: "Image", others: Iterator["Image"], count: int, out: Path, kind: str, fps: float) -> None:
    each, hold = max(20, round(1000 / fps)), round(1000 * HOLD_S)  # milliseconds; viewers slow down below 20
    durations = [each] * (count - 1) + [max(each, hold)]
    first.save(
        out,
        kind[1:].upper(),
        save_all=True,
        append_images=list(others),  # a PNG is asked for its frames twice
        duration=durations if count > 1 else durations[0],
        loop=0,
        # Left where it is, each frame writes only what changed.
        **({"disposal": 1, "optimize": False} if kind == ".gif" else {"disposal": 0, "blend": 0}),
    )


class _Stage:
    """Draws the frames of one film."""

    def __init__(
        self,
        folder: Path,
        part: Part,
        since: float | None,
        until: float | None,
        scale: float | None,
        *,
        palette: bool,
    ) -> None:
        self._folder, self._part, self._since, self._until = folder, part, since, until
        self._canvases: dict[int, _Canvas] = {}
        past, _ = next(self._play())
        self._grid = next(iter(past.pictures.values())).grid
        asked = scale
        width = len(part.banks) * (self._grid.width + 2 * _STRIPE + _GAP) - _GAP
        size = (width, self._grid.height)
        if scale is None:
            fitting = _SIDE / max(size)
            scale = min(4.0, float(int(fitting)) if fitting >= 1 else fitting)
        self._scale = scale
        self._drawn = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        self._size = (max(self._drawn[0], 300), self._drawn[1] + 2 * _LINE)
        self._palette = _palette() if palette else None
        if asked is not None and 2 * self.frame_bytes > FRAME_BYTES:
            each = f"{self._size[0]}x{self._size[1]} pixels"
            raise ValueError(
                f"scale {asked:g}: frames of {each} take too much memory; try a smaller one, or none"
            )

    @property
    def frame_bytes(self) -> int:
        """What one frame takes until the file is written: four bytes a pixel in colour, and Pillow's copy."""
        return self._size[0] * self._size[1] * 2 * (1 if self._palette else 4)

    def frames(self, count: int, tell: Tell | None) -> Iterator["Image"]:
        """So many frames: after the first commit, after the last, and evenly between."""
        shown = 0
        for at, (past, commit) in enumerate(self._play(), 1):
            self._follow(past, commit)
            if at <= shown * (self._part.commits - 1) // max(1, count - 1):
                continue
            yield self._frame(past)
            shown += 1
            if tell is not None:
                tell(shown, count)
            if shown == count:
                return  # the disk may have been written meanwhile

    def _play(self) -> Iterator[tuple[Past, Commit]]:
        """The commits of the film, and perhaps later ones. Raises _LogWasCut."""
        playing = history.play(self._folder, since=self._since, until=self._until)
        past, commit = next(playing, (None, None))
        if past is None or commit is None or commit.number != self._part.first:
            raise _LogWasCut
        yield past, commit
        yield from playing

    def _follow(self, past: Past, commit: Commit) -> None:
        for number, picture in past.pictures.items():
            if number not in self._canvases:
                self._canvases[number] = _Canvas(self._grid, picture)
        for image in commit.images:
            self._canvases[image.bank].changed.add(image.row)

    def _frame(self, past: Past) -> "Image":
        from PIL import Image, ImageDraw

        whole = Image.new("RGB", self._size, _DARK)
        rows_drawn = Image.new("RGB", (round(self._drawn[0] / self._scale), self._grid.height), _DARK)
        write = ImageDraw.Draw(whole)
        for place, number in enumerate(self._part.banks):
            left = place * (self._grid.width + 2 * _STRIPE + _GAP)
            if (canvas := self._canvases.get(number)) is not None:
                rows_drawn.paste(canvas.drawn(past.pictures[number]), (left, 0))
                write.text((round(left * self._scale) + 2, 2), f"{number}.png", fill=_PALE)
        smaller = Image.Resampling.BOX if self._scale < 1 else Image.Resampling.NEAREST
        whole.paste(rows_drawn.resize(self._drawn, smaller), (0, _LINE))
        when = datetime.fromtimestamp(past.at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        write.text((2, self._size[1] - _LINE + 2), f"commit {past.commit}   {when}", fill=_PALE)
        if self._palette is None:
            return whole
        return whole.quantize(palette=self._palette, dither=Image.Dither.NONE)


class _Canvas:
    """One bank as it was drawn last: only rows that changed are drawn again."""

    def __init__(self, grid: Grid, picture: Picture) -> None:
        from PIL import Image

        self.changed: set[int] = set()  # since it was drawn last
        self._image = Image.new("RGB", (grid.width + 2 * _STRIPE, grid.height))
        self._ages: dict[int, int] = {}  # of rows that glow: frames since they were written
        for row in range(grid.height):
            self._draw(row, picture.row(row), _DARK)

    def drawn(self, picture: Picture) -> "Image":
        """The bank after these changes."""
        self._ages = {row: age + 1 for row, age in self._ages.items() if age < len(_GLOW)}
        self._ages.update(dict.fromkeys(self.changed, 0))
        for row, age in self._ages.items():
            self._draw(row, picture.row(row), _GLOW[age] if age < len(_GLOW) else _DARK)
        self.changed.clear()
        return self._image

    def _draw(self, row: int, content: bytes, glow: tuple[int, int, int]) -> None:
        from PIL import Image

        line = bytes(COLOURS[_state(row, content)]) * _STRIPE + content + bytes(glow) * _STRIPE
        self._image.paste(Image.frombytes("RGB", (len(line) // 3, 1), line), (0, row))


def _state(row: int, content: bytes) -> State:
    """By the row's first bytes: the log holds no damaged rows."""
    if row in superblock.ROWS or (content[0] == MARK and content[1] == CODES[State.LIVE]):
        return State.LIVE
    return State.CONSUMED if content[0] == MARK else State.FREE


def _palette() -> "Image":
    from PIL import Image

    cube = [(r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS]
    own = [*COLOURS.values(), *_GLOW, _DARK, _PALE]
    greys = [(level, level, level) for level in range(30, 256, 8)]
    colours = (cube + own + greys)[:256]
    image = Image.new("P", (1, 1))
    image.putpalette([part for colour in colours for part in colour])
    return image
