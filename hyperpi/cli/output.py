"""How results are printed: one JSON document, or lines and tables for people."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from hyperpi.cli.words import one_line
from hyperpi.config import owners_environment

# json escapes C0 only; these would steer a terminal or cannot be encoded, and may stand only inside strings.
_ESCAPED = "[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"

_NO_CELL = {"Mn", "Me", "Cf"}

GAP = "  "  # between columns
NARROWEST = 6  # cells of a column that has given all it can

STYLES = {  # select graphic rendition
    "bold": "1",
    "dim": "90",
    "good": "32",
    "busy": "1;36",
    "soon": "36",
    "wants": "1;33",
    "away": "33",
    "bad": "31",
    "alarm": "1;31",
}
STATE_STYLES = {
    "idle": "good",
    "working": "busy",
    "waiting": "wants",
    "starting": "soon",
    "stuck": "alarm",
    "unreachable": "bad",
    "exited": "dim",
    "online": "good",
    "disconnected": "away",
    "lost": "bad",
    "left": "dim",
    "pending": "wants",
}


class Cell(NamedTuple):
    """One field of a table. `style` is a key of STYLES, used on a terminal alone."""

    text: str
    style: str = ""


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that is safe to look at on a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return re.sub(_ESCAPED, lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: Any) -> None:
    """The one document of a `--json`: indented on a terminal, in one line for programs."""
    click.echo(to_json(value, indent=2 if sys.stdout.isatty() else None).encode())


def print_line(value: Any) -> None:
    """One of many documents, one a line."""
    click.echo(to_json(value).encode())


def note(text: str) -> None:
    """A remark beside the result."""
    click.echo(text, err=True)


def colours(stream: Any) -> bool:
    """Whether colours are wanted there: a terminal that can, and no NO_COLOR."""
    if not stream.isatty():
        return False
    known = owners_environment()
    return not known.get("NO_COLOR") and known.get("TERM") != "dumb"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> None:
    """A table: fitted to the terminal; whole elsewhere."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines(columns, rows, width, coloured=colours(sys.stdout)):
        click.echo(line)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[Cell | str]], width: int | None, *, coloured: bool
) -> list[str]:
    """The lines of a table, cut to `width` terminal cells; None: as wide as it is."""
    head = [Cell(column, "dim") for column in columns]
    cells = [head, *([_cell(cell) for cell in row] for row in rows)]
    texts = [[one_line(cell.text) for cell in row] for row in cells]
    widths = [max(_width(row[place]) for row in texts) for place in range(len(columns))]
    if width is not None:
        widths = _fitted(widths, width - len(GAP) * (len(columns) - 1))
    lines = []
    for row, line in zip(cells, texts, strict=True):
        parts = []
        for cell, text, room in zip(row, line, widths, strict=True):
            shown = _cut(text, room)
            padding = " " * (room - _width(shown))
            if width is not None:  # for people; programs get the text as it is
                shown = isolated(shown)
            parts.append((styled(shown, cell.style) if coloured else shown) + padding)
        lines.append(GAP.join(parts).rstrip())
    return lines


def _fitted(widths: list[int], room: int) -> list[int]:
    """Take from the widest until all fit; the first column, which names the row, gives last."""
    fitted = list(widths)
    for candidates in (range(1, len(fitted)), range(len(fitted))):
        while sum(fitted) > room:
            widest = max(candidates, key=lambda place: fitted[place], default=0)
            if fitted[widest] <= NARROWEST:
                break
            fitted[widest] -= 1
    return fitted


def _width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    # Marks stand on the letter before them, and format characters (joiners) are not seen.
    return sum(0 if category(char) in _NO_CELL else 1 + (east_asian_width(char) in "WF") for char in text)


def isolated(text: str) -> str:
    """For a terminal: what is written from right to left keeps that to itself and moves no other column."""
    if text.isascii():
        return text
    from unicodedata import bidirectional

    turns = any(bidirectional(char) in {"R", "AL", "AN"} for char in text)
    return f"\u2068{text}\u2069" if turns else text  # first strong isolate, pop directional isolate


def _cut(text: str, room: int) -> str:
    """A text in at most `room` cells, with an ellipsis where something is missing."""
    if _width(text) <= room:
        return text
    kept = text[: max(0, room - 1)]
    while _width(kept) > room - 1:
        kept = kept[:-1]
    return kept + "…"


def print_fields(fields: Sequence[tuple[str, Cell | str]]) -> None:
    """Names and values, one a line; empty ones are left out."""
    shown = [(name, _cell(value)) for name, value in fields if _cell(value).text]
    width = max((len(name) for name, _ in shown), default=0)
    coloured = colours(sys.stdout)
    for name, cell in shown:
        text = one_line(cell.text)
        if sys.stdout.isatty():
            text = isolated(text)
        if coloured:
            click.echo(styled(name.ljust(width), "dim") + GAP + styled(text, cell.style))
        else:
            click.echo(name.ljust(width) + GAP + text)


def styled(text: str, style: str) -> str:
    """A text in one of our styles, for a terminal that shows colours."""
    codes = STYLES.get(style)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def _cell(value: Cell | str) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def state_cell(state: object, detail: object = None) -> Cell:
    """A state in its colour, with its detail."""
    text = f"{state} ({one_line(detail, 60)})" if detail else str(state)
    return Cell(text, STATE_STYLES.get(str(state), ""))


def draw_qr(text: str) -> None:
    """A text as a QR code, for a terminal; on stderr, so that what is piped stays what was asked for."""
    import segno

    segno.make(text, error="l").terminal(out=sys.stderr, compact=True)
