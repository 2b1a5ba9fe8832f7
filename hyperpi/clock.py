"""Wall-clock text. Timeouts use a monotonic clock and never come here."""

import time
from datetime import UTC, datetime


def rfc3339(unix_s: float | None = None) -> str:
    """RFC 3339 in UTC with milliseconds, for now or for a Unix time in seconds."""
    seconds = time.time() if unix_s is None else unix_s
    whole = datetime.fromtimestamp(seconds, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


def from_rfc3339(text: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


OFF_S = 60.0  # two clocks that differ by less are right enough for everything that we do with them


def apart(ahead_s: float) -> str:
    """How far one clock is ahead of another (negative: behind), in one unit: `24 h ahead of`."""
    seconds = abs(ahead_s)
    for size, unit in ((2 * 86_400, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            seconds /= {"days": 86_400, "h": 3_600, "min": 60}[unit]
            break
    else:
        unit = "s"
    return f"{seconds:.0f} {unit} {'ahead of' if ahead_s > 0 else 'behind'}"
