"""The audit trail: who did what, from where, with what result. Its own SQLite file, hash-chained.

Each row's hash covers the row and the hash before it (as in RFC 6962's idea of an append-only log, but a
plain chain): a row that is edited, removed from the middle or put in between breaks every hash after it. Rows
cut off at the end are noticed by SQLite's own counter. Whoever can write the file can also recompute all of
it; what helps against that is a copy of the last hash elsewhere, which `verify` returns for that purpose.

When a row cannot be written, the act that it records must not happen: `append` raises AuditUnwritable.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hyperpi.clock import rfc3339
from hyperpi.database import StoreUnwritable, open_database, transaction
from hyperpi.errors import Overloaded

MAX_DETAILS_BYTES = 16 * 1024  # more is cut: the trail says what happened, it is not an archive
MAX_SEARCHED = 10_000  # rows that one search looks at: some 50 ms, which others wait for
_GENESIS = hashlib.sha256(b"hyperpi audit v1").digest()

_SCHEMA_1 = """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, origin TEXT NOT NULL,
    what TEXT NOT NULL, result TEXT NOT NULL, details TEXT NOT NULL, hash BLOB NOT NULL
);
"""
MIGRATIONS: tuple[str, ...] = (_SCHEMA_1,)


log = logging.getLogger(__name__)

# For whoever is refused, on whichever machine.
MAKE_ROOM = (
    "make room on the disk of HYPERPI_HOME on the hypivisor's machine (`hyperpi doctor` there); "
    "then try again, nothing has to be restarted"
)


class AuditUnwritable(Overloaded):
    """The trail cannot be written, so what it would record is refused. Retry once the disk is well."""


@dataclass(slots=True)
class _Gap:
    """A time when nothing could be written down, and so nothing of it was done."""

    since: float  # Unix seconds
    acts: int = 0  # that were refused, or are missing


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act. `origin` is where it came from: an address, "control socket", "node den"."""

    seq: int
    at: float  # Unix seconds
    who: str
    origin: str
    what: str  # a dotted verb: node.join, token.create, session.open
    result: str  # done | refused | failed
    details: Mapping[str, object]
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying found (so far). `broken_at` is the first row that does not fit, None when all do."""

    rows: int
    head: bytes  # hash of the last good row; the same later means that nothing before it was changed
    broken_at: int | None = None
    reason: str = ""

    @classmethod
    def start(cls) -> "Verdict":
        """Before the first row."""
        return cls(0, _GENESIS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows somebody looks for; what is not set does not matter. `about`: any one of these words."""

    who: str = ""
    what: str = ""
    result: str = ""
    about: tuple[str, ...] = ()
    since: float | None = None  # Unix seconds
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first, and below which row to look for more; None when there is no more."""

    rows: list[AuditRow]
    next: int | None


def fits(row: AuditRow, wanted: Wanted) -> bool:
    """Whether a row is looked for. Texts are found anywhere in a field, in any case."""
    return (
        (wanted.since is None or row.at >= wanted.since)
        and (wanted.until is None or row.at <= wanted.until)
        and (not wanted.result or row.result == wanted.result)
        and wanted.who.casefold() in row.who.casefold()
        and wanted.what.casefold() in row.what.casefold()
        and (not wanted.about or _speaks_of(row, wanted.about))
    )


def _speaks_of(row: AuditRow, words: tuple[str, ...]) -> bool:
    said = [row.who, *map(str, row.details.values())]
    return any(word.casefold() in text.casefold() for word in words for text in said)


class Audit:
    """The trail of one hypivisor, or of one node's owner. Blocks on its file; for one thread."""

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], float], hint: str) -> None:
        self._db = db
        self._hint = hint
        self._clock = clock
        self._gap: _Gap | None = None  # while it cannot be written
        self.appended: Callable[[], None] = lambda: None  # called in the thread that appends

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float], hint: str = MAKE_ROOM) -> "Audit":
        """Open or make the file (0600). `hint`: what to do when it is full. Raises StoreUnusable, OSError."""
        return cls(open_database(path, MIGRATIONS), clock, hint)

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    def append(
        self, who: str, origin: str, what: str, result: str, details: Mapping[str, object] | None = None
    ) -> int:
        """Record an act durably; its number. No secrets in `details`. Raises AuditUnwritable."""
        text = json.dumps(details or {}, ensure_ascii=False, separators=(",", ":"), default=str)
        if len(text.encode("utf-8", "replace")) > MAX_DETAILS_BYTES:
            text = json.dumps({"cut": text[: MAX_DETAILS_BYTES // 4]}, ensure_ascii=True)
        fields = [_clean(part) for part in (who, origin, what, result, text)]
        at = round(self._clock(), 3)
        try:
            with transaction(self._db) as db:
                last = db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
                seq, before = (last[0] + 1, bytes(last[1])) if last else (1, _GENESIS)
                row = (seq, at, *fields, _hash(before, seq, at, *fields))
                db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except (StoreUnwritable, sqlite3.Error) as exc:
            self._failed(at, exc)
            raise AuditUnwritable("refused: the audit trail cannot be written", hint=self._hint) from exc
        self.appended()
        if (gap := self._gap) is not None:
            self._gap = None
            log.warning("the audit trail can be written again; %d acts were refused meanwhile", gap.acts)
            missed = {"since": rfc3339(gap.since), "acts": gap.acts}
            with suppress(AuditUnwritable):  # then there is a new gap, which says so in its turn
                self.append("hyperpi", "this machine", "audit.gap", "failed", missed)
        return int(seq)

    def _failed(self, at: float, exc: Exception) -> None:
        if self._gap is None:
            self._gap = _Gap(at)
            log.error(
                "the audit trail cannot be written, so acts that belong there are refused reason=%s; "
                "what to do: %s",
                exc,
                self._hint,
            )
        self._gap.acts += 1

    def ls(self, limit: int = 100, *, before: int | None = None) -> list[AuditRow]:
        """The newest rows (below `before`), newest first."""
        rows = self._db.execute(
            "SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?",
            (before if before is not None else 2**62, max(0, min(limit, 10_000))),
        )
        return [_row(*found) for found in rows]

    def search(self, wanted: Wanted, limit: int, *, before: int | None = None) -> Page:
        """The newest rows that fit, below the row `before`: at most `limit`, of at most MAX_SEARCHED rows.

        A page may be empty and have a next one. Rows stand in the order of time, so what is older than
        `since` ends the search; a clock that was set back in between can hide rows behind it.
        """
        rows: list[AuditRow] = []
        at, count = before if before is not None else 2**62, 0
        for found in self._db.execute(
            "SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?", (at, MAX_SEARCHED)
        ):
            row = _row(*found)
            if wanted.since is not None and row.at < wanted.since:
                return Page(rows, None)
            at, count = row.seq, count + 1
            if fits(row, wanted):
                rows.append(row)
            if len(rows) == limit:
                break
        more = at > 1 and (len(rows) == limit or count == MAX_SEARCHED)
        return Page(rows, at if more else None)

    def verify(self) -> Verdict:
        """Walk the whole chain."""
        verdict, done = self.verify_some(Verdict.start(), 2**62)
        assert done
        return verdict

    def verify_some(self, so_far: Verdict, limit: int) -> tuple[Verdict, bool]:
        """Walk on from where an earlier call came to, at most `limit` rows; whether that was all."""
        hash_before, count = so_far.head, so_far.rows
        for seq, at, who, origin, what, result, details, found in self._db.execute(
            "SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (count, limit)
        ):
            if seq != count + 1:
                return Verdict(count, hash_before, count + 1, "a row is missing"), True
            wanted = _hash(hash_before, seq, at, who, origin, what, result, details)
            if wanted != found:
                return Verdict(count, hash_before, seq, "the row was changed"), True
            hash_before, count = wanted, seq
        if count - so_far.rows == limit:
            return Verdict(count, hash_before), False
        counter = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
        if counter is not None and counter[0] != count:
            return Verdict(count, hash_before, count + 1, "rows at the end are missing"), True
        return Verdict(count, hash_before), True


def _hash(before: bytes, *fields: object) -> bytes:
    # JSON with ASCII only: one text for one list of values, whatever the values contain.
    return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()


def _clean(text: str) -> str:
    """Text that SQLite can hold: a lone surrogate cannot be stored as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _row(
    seq: int, at: float, who: str, origin: str, what: str, result: str, details: str, found: bytes
) -> AuditRow:
    try:
        read = json.loads(details)
    except ValueError:
        read = None
    if not isinstance(read, dict):  # somebody edited it; verify() says where
        read = {"unreadable": details}
    return AuditRow(seq, at, who, origin, what, result, read, found)
