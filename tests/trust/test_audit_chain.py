"""The audit trail notices what was changed, and refuses what it cannot record."""

import sqlite3
from pathlib import Path

import pytest
from trust_world import Clock

import hyperpi.audit as trail_module
from hyperpi.audit import Audit, AuditUnwritable, Page, Verdict, Wanted


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


def seqs(page: Page) -> list[int]:
    return [row.seq for row in page.rows]


@pytest.fixture
def busy(audit: Audit, clock: Clock) -> Audit:
    """Ten joins, then one row each for what the search is about."""
    audit.append("Anna", "pide 192.0.2.7", "node.spawn", "asked", {"node": "attic", "path": "/srv"})
    clock.advance(1)
    audit.append("bob", "cli", "token.create", "done", {"id": "abc", "role": "node"})
    clock.advance(1)
    audit.append("n-7", "link", "node.link", "refused", {"boot": 3})
    return audit


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(who="ann"), [11, *range(10, 0, -1)]),
        (Wanted(who="BOB"), [12]),
        (Wanted(what="node.", result="asked"), [11]),
        (Wanted(what="node.", result="refused"), [13]),
        (Wanted(what="create"), [12]),
        (Wanted(about=("attic",)), [11]),
        (Wanted(about=("attic", "n-7")), [13, 11]),
        (Wanted(about=("nowhere",)), []),
        (Wanted(result="don"), []),
        (Wanted(who="%"), []),
    ],
)
def test_rows_are_found_by_who_what_result_and_what_they_are_about(
    busy: Audit, wanted: Wanted, found: list[int]
):
    page = busy.search(wanted, 100)
    assert (seqs(page), page.next) == (found, None)


def test_rows_are_found_by_time(busy: Audit, clock: Clock):
    assert seqs(busy.search(Wanted(since=clock() - 1.5), 100)) == [13, 12]
    assert seqs(busy.search(Wanted(until=clock() - 1.5), 3)) == [11, 10, 9]
    assert seqs(busy.search(Wanted(since=clock() - 4.5, until=clock() - 1.5), 100)) == [11, 10, 9]


def test_pages_follow_one_another_without_a_gap_or_a_repeat(busy: Audit):
    found, before = [], None
    while True:
        page = busy.search(Wanted(what="join"), 3, before=before)
        found += seqs(page)
        if (before := page.next) is None:
            break
    assert found == list(range(10, 0, -1))


def test_a_search_looks_at_a_bounded_number_of_rows_and_says_where_to_go_on(
    busy: Audit, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trail_module, "MAX_SEARCHED", 5)
    nothing = busy.search(Wanted(who="nobody"), 100)
    assert (nothing.rows, nothing.next) == ([], 9)
    assert busy.search(Wanted(who="nobody"), 100, before=9).next == 4
    assert busy.search(Wanted(who="nobody"), 100, before=4).next is None


def test_the_chain_can_be_walked_in_parts(audit: Audit):
    verdict, done = audit.verify_some(Verdict.start(), 4)
    assert (verdict.rows, done) == (4, False)
    tamper(audit, "UPDATE audit SET who = 'eve' WHERE seq = 7")
    verdict, done = audit.verify_some(verdict, 4)
    assert (verdict.broken_at, done) == (7, True)
    tamper(audit, "UPDATE audit SET who = 'anna' WHERE seq = 7")
    parts, (verdict, done) = 1, audit.verify_some(Verdict.start(), 5)
    while not done:
        parts, (verdict, done) = parts + 1, audit.verify_some(verdict, 5)
    assert (parts, verdict) == (3, audit.verify())


def test_a_second_reader_sees_every_row_at_once(audit: Audit, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "audit.db")
    audit.append("anna", "here", "x", "done")
    assert other.execute("SELECT count(*) FROM audit").fetchone() == (11,)
    other.close()
