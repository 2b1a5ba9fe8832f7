"""Refusals in the audit trail, bounded: who guesses a million times grows no file and pushes nothing out.

Of one origin and one kind of act the first refusals of a window are rows of their own; the others of that
window are counted, and the count becomes one row when the window ends. Origins are bounded too: of too many,
those that come late are counted together. Blocks on the trail; for its thread.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hyperpi.audit import Audit, AuditUnwritable
from hyperpi.clock import rfc3339
from hyperpi.errors import HyperPiError
from hypivisor.attempts import WINDOW_S, address_key

log = logging.getLogger(__name__)

MOST_ORIGINS = 64  # of one kind, that have rows of their own at one time
OTHERS = "elsewhere"


@dataclass(frozen=True, slots=True)
class Bound:
    """How many refusals of one origin are rows of their own within a window."""

    rows: int
    window_s: float


BOUND = Bound(10, WINDOW_S)  # a person who mistypes sees each try; an attacker is known by then
# A machine that was revoked, or is a stale copy, dials on for as long as nobody looks after it.
BOUNDS: Mapping[str, Bound] = {
    "node.link": Bound(1, 86_400.0),
    "node.renew": Bound(1, 86_400.0),
    "node.clock": Bound(1, 86_400.0),
}


@dataclass(slots=True)
class _Window:
    """What one origin was refused since the window began."""

    ends: float  # seconds of the monotonic clock
    since: float  # Unix seconds
    who: str
    origin: str
    rows: int = 0
    more: int = 0
    why: str = ""  # of the last one
    result: str = "refused"


class RefusalTrail:
    """Writes refusals down and counts what is too many. For one thread."""

    def __init__(self, audit: Audit, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._audit = audit
        self._clock = clock
        self._monotonic = monotonic
        self._windows: dict[tuple[str, str], _Window] = {}

    def note(
        self,
        who: str,
        origin: str,
        what: str,
        exc: HyperPiError,
        details: Mapping[str, object] | None = None,
        *,
        result: str = "refused",
    ) -> None:
        """A refusal, or what else is wrong, as `result` says: a row and a line in the log, or one more that
        is only counted.

        Never raises for a trail that cannot be written: nothing was done that would have to be undone.
        """
        now = self._monotonic()
        bound = BOUNDS.get(what, BOUND)
        window = self._window(what, who, origin, now, bound)
        window.result = result
        window.why = type(exc).__name__
        if window.rows >= bound.rows:
            window.more += 1
            return
        window.rows += 1
        said: dict[str, object] = {"why": window.why, **(details or {})}
        if window.rows == bound.rows:
            said["further"] = f"counted until {rfc3339(self._clock() + window.ends - now)}"
        log.warning(
            "%s %s who=%s from=%s reason=%s; what to do: %s",
            what,
            result,
            who,
            origin,
            exc,
            exc.hint or "see the audit trail",
        )
        self._append(window, what, said)

    def sweep(self) -> None:
        """End the windows whose time is over; to be called now and then."""
        now = self._monotonic()
        for key in [key for key, window in self._windows.items() if window.ends <= now]:
            self._end(key)

    def close(self) -> None:
        """End all windows: what was counted is written down."""
        for key in list(self._windows):
            self._end(key)

    def _window(self, what: str, who: str, origin: str, now: float, bound: Bound) -> _Window:
        key = (what, address_key(origin))
        known = self._windows.get(key)
        if known is not None and known.ends <= now:
            self._end(key)
            known = None
        if known is None:
            if sum(1 for kind, _ in self._windows if kind == what) >= MOST_ORIGINS:
                key, who, origin = (what, OTHERS), "?", OTHERS
            known = self._windows.setdefault(key, _Window(now + bound.window_s, self._clock(), who, origin))
        return known

    def _end(self, key: tuple[str, str]) -> None:
        window = self._windows.pop(key)
        if window.more:
            details = {"why": window.why, "times": window.more, "since": rfc3339(window.since)}
            self._append(window, key[0], details)

    def _append(self, window: _Window, what: str, details: Mapping[str, object]) -> None:
        try:
            self._audit.append(window.who, window.origin, what, window.result, details)
        except AuditUnwritable:
            log.debug("a refusal is missing in the trail what=%s", what)  # which says so itself
