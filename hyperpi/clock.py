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
