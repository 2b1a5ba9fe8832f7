"""What the command writes for people: safe text, times, sizes and durations. Pure.

Names, folders, messages and agents' output come from elsewhere, so nothing of them may steer a terminal.
"""

import re
from datetime import datetime
from typing import Any

Json = dict[str, Any]


_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# Patterns as text: re compiles and keeps them at their first use, which most runs never come to.
_DURATION = r"(\d+(?:\.\d+)?)([smhdw]?)"
_COLOUR = r"\x1b\[[0-9;:]*[A-Za-z]"
# C0 without tab and newline, DEL, C1, and the marks that turn the direction of text (trojan source).
_STEERING = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"


def printable(text: object) -> str:
    """Text from elsewhere without anything that a terminal would act on; newlines and tabs stay."""
    cleaned = str(text)
    if cleaned.isprintable():
        return cleaned
    cleaned = re.sub(_COLOUR, "", cleaned.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(_STEERING, "", cleaned)


def summed_up(block: Json) -> str:
    """What a block of type `summary` stands for, on one line."""
    if block.get("of") == "branch":
        return "left another branch, of which this is kept"
    tokens = block.get("tokens_before")
    return f"compacted: {tokens:,} tokens became this" if isinstance(tokens, int) else "compacted to this"


def one_line(text: object, limit: int | None = None) -> str:
    """The same on one line, cut to `limit` characters."""
    line = " ".join(printable(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `1h`, `7d`, `2w` or `1h30m`. Raises ValueError."""
    parts = re.findall(_DURATION, text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m, 1h or 7d")
    if len(parts) > 1 and not all(unit for _, unit in parts):
        raise ValueError(f"{text!r} is not a duration: every part needs its unit, as in 1h30m")
    return sum(float(number) * _UNITS_S[unit or "s"] for number, unit in parts)


def duration(seconds: float) -> str:
    """Seconds in the one unit that says most: `4s`, `12m`, `3h`, `9d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def load_of(load: object) -> str:
    """What something costs: cores in percent, memory."""
    if not isinstance(load, dict):
        return ""
    return f"{float(load.get('cpu') or 0):.0%} {int(load.get('mem_bytes') or 0) / (1 << 20):.0f}M"


def ago(rfc3339: object, now: float) -> str:
    """How long ago an RFC 3339 time was, for a column; `-` for none, `now` for less than a second."""
    try:
        seconds = now - datetime.fromisoformat(str(rfc3339)).timestamp()
    except ValueError:
        return "-"
    if seconds < -1:
        return f"in {duration(1 - seconds)}"  # what was set a moment ago is told as it was set
    return "now" if seconds < 1 else f"{duration(seconds)} ago"


def size(count: float) -> str:
    """Bytes in the unit that says most, in powers of 1,024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def folder(path: str, user_home: str, limit: int = 44) -> str:
    """A path for a column: `~` for the home, and the middle cut out of what is long."""
    if path == user_home or path.startswith(user_home.rstrip("/") + "/"):
        path = "~" + path[len(user_home.rstrip("/")) :]
    path = one_line(path)
    if len(path) <= limit:
        return path
    head, _, _ = path.partition("/")
    tail = path[-(limit - len(head) - 3) :]
    return f"{head}/…/{tail.partition('/')[2] or tail}"


def rows_of(answer: Any, name: str) -> list[Json]:
    """The rows of a list method, which come plain or as `{name: […], …}`."""
    rows = answer.get(name, []) if isinstance(answer, dict) else answer
    return [row for row in rows or [] if isinstance(row, dict)]
