"""The audit trail notices what was changed, and refuses what it cannot record."""

import sqlite3
from pathlib import Path

import pytest
from trust_world import Clock

from hypivisor.audit import Audit, AuditUnwritable


@pytest.fixture
def audit(tmp_path: Path, clock: Clock):
    trail = Audit.open(tmp_path / "audit.db", clock)
    for number in range(10):
        trail.append("anna", "192.0.2.7", "node.join", "done", {"number": number})
        clock.advance(1)
    yield trail
    trail.close()


def tamper(trail: Audit, statement: str) -> None:
    trail._db.execute(statement)


def test_an_honest_trail_verifies_and_lists_the_newest_first(audit: Audit):
    verdict = audit.verify()
    assert (verdict.rows, verdict.broken_at) == (10, None)
    rows = audit.ls(3)
    assert [row.seq for row in rows] == [10, 9, 8]
    assert rows[0].details == {"number": 9}
    assert rows[0].hash == verdict.head
    assert [row.seq for row in audit.ls(2, before=8)] == [7, 6]


@pytest.mark.parametrize(
    "change",
    [
        "who = 'eve'",
        "origin = ''",
        "what = 'node.leave'",
        "result = 'refused'",
        "details = '{}'",
        "at = at + 1",
        "hash = zeroblob(32)",
    ],
)
def test_an_edited_row_is_found(audit: Audit, change: str):
    tamper(audit, f"UPDATE audit SET {change} WHERE seq = 4")
    assert audit.verify().broken_at == 4


def test_a_row_whose_details_are_no_json_any_more_is_found_and_can_still_be_listed(audit: Audit):
    tamper(audit, "UPDATE audit SET details = 'oops' WHERE seq = 4")
    assert audit.verify().broken_at == 4
    assert audit.ls()[6].details == {"unreadable": "oops"}


def test_a_missing_row_is_found_in_the_middle_and_at_the_end(audit: Audit):
    tamper(audit, "DELETE FROM audit WHERE seq > 8")
    assert audit.verify().broken_at == 9
    tamper(audit, "DELETE FROM audit WHERE seq = 4")
    assert audit.verify().broken_at == 4


def test_all_rows_missing_is_found(audit: Audit):
    tamper(audit, "DELETE FROM audit")
    assert audit.verify().broken_at == 1


def test_two_rows_that_changed_places_are_found(audit: Audit):
    tamper(audit, "UPDATE audit SET seq = 100 WHERE seq = 4")
    tamper(audit, "UPDATE audit SET seq = 4 WHERE seq = 5")
    tamper(audit, "UPDATE audit SET seq = 5 WHERE seq = 100")
    assert audit.verify().broken_at == 4


def test_the_trail_goes_on_after_a_restart(audit: Audit, tmp_path: Path, clock: Clock):
    again = Audit.open(tmp_path / "audit.db", clock)
    assert again.append("anna", "here", "token.create", "done") == 11
    assert again.verify().rows == 11
    again.close()


def test_what_cannot_be_recorded_is_refused(audit: Audit):
    audit._db.execute("PRAGMA query_only = ON")
    with pytest.raises(AuditUnwritable, match="refused"):
        audit.append("anna", "here", "agent.spawn", "done")
    audit._db.execute("PRAGMA query_only = OFF")
    assert audit.verify().rows == 10


def test_any_text_can_be_recorded_and_huge_details_are_cut(audit: Audit):
    strange = "a\r\nb\x1b[31m\u2028\ud800\0'; DROP TABLE audit"
    audit.append(strange, strange, "x", "done", {"text": strange, "blob": b"\xff", "nan": float("nan")})
    audit.append("anna", "here", "x", "done", {"text": "y" * 1_000_000})
    assert audit.verify().broken_at is None
    newest = audit.ls(1)[0]
    assert len(str(newest.details)) < 20_000


def test_the_file_is_synced_and_private(audit: Audit, tmp_path: Path):
    assert audit._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}


def test_a_second_reader_sees_every_row_at_once(audit: Audit, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "audit.db")
    audit.append("anna", "here", "x", "done")
    assert other.execute("SELECT count(*) FROM audit").fetchone() == (11,)
    other.close()
