"""Refusals in the audit trail: each is told, and no number of them grows the file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from trust_world import Clock

from hyperpi.audit import Audit, AuditRow
from hyperpi.errors import BadRequest, Conflict, HyperPiError
from hypivisor.refusals import BOUND, MOST_ORIGINS, OTHERS, RefusalTrail
from hypivisor.tokens import TokenUnknown
from hypivisor.trust import Gate, open_gate

WRONG = TokenUnknown()
PIDE = "http://127.0.0.1:31415"


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    found = Audit.open(tmp_path / "audit.db", Clock())
    yield found
    found.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trail(audit: Audit, clock: Clock) -> RefusalTrail:
    return RefusalTrail(audit, clock, clock)


def rows(audit: Audit) -> list[AuditRow]:
    return list(reversed(audit.ls(10_000)))


def guess(trail: RefusalTrail, times: int, origin: str = "192.0.2.7", exc: HyperPiError = WRONG) -> None:
    for _ in range(times):
        trail.note("?", origin, "node.join", exc, {"token": "abcdefgh"})


def test_each_of_a_few_refusals_is_a_row_that_says_why(audit: Audit, trail: RefusalTrail):
    guess(trail, 3)
    trail.close()
    assert [(row.what, row.result, row.origin) for row in rows(audit)] == [
        ("node.join", "refused", "192.0.2.7")
    ] * 3
    assert rows(audit)[0].details == {"why": "TokenUnknown", "token": "abcdefgh"}


def test_ten_thousand_guesses_are_a_few_rows_and_a_count(audit: Audit, trail: RefusalTrail, clock: Clock):
    guess(trail, 10_000)
    assert len(rows(audit)) == BOUND.rows
    assert "counted until" in str(rows(audit)[-1].details["further"])
    clock.advance(BOUND.window_s)
    trail.sweep()
    assert len(rows(audit)) == BOUND.rows + 1
    assert rows(audit)[-1].details["times"] == 10_000 - BOUND.rows
    assert audit.verify().broken_at is None


def test_a_window_that_is_over_begins_anew_and_loses_no_count(
    audit: Audit, trail: RefusalTrail, clock: Clock
):
    guess(trail, BOUND.rows + 5)
    clock.advance(BOUND.window_s)
    guess(trail, 1)
    assert [row.details.get("times") for row in rows(audit)[BOUND.rows :]] == [5, None]


def test_the_addresses_of_one_attacker_are_one_origin(audit: Audit, trail: RefusalTrail):
    for host in range(1000):
        guess(trail, 1, f"2001:db8::{host:x}")
    assert len(rows(audit)) == BOUND.rows


def test_many_origins_together_are_bounded_too(audit: Audit, trail: RefusalTrail):
    for number in range(5000):
        guess(trail, 3, f"10.{number >> 8}.{number & 255}.1")
    assert len(rows(audit)) <= 3 * MOST_ORIGINS + BOUND.rows
    before = len(rows(audit))
    trail.close()
    counted = rows(audit)[before:]
    assert [row.origin for row in counted] == [OTHERS]
    assert before + sum(int(str(row.details["times"])) for row in counted) == 15_000


def test_one_origin_does_not_hide_another(audit: Audit, trail: RefusalTrail):
    guess(trail, 1000)
    guess(trail, 1, "192.0.2.8", BadRequest("no request"))
    assert rows(audit)[-1].origin == "192.0.2.8"
    assert rows(audit)[-1].details["why"] == "BadRequest"


def test_a_machine_that_dials_on_and_on_is_one_row_a_day(audit: Audit, trail: RefusalTrail, clock: Clock):
    for _ in range(86_400 // 60):
        trail.note("n-attic", "link n-attic", "node.link", Conflict("a later start is known"))
        trail.sweep()
        clock.advance(59)
    assert len(rows(audit)) == 1
    clock.advance(86_400)
    trail.sweep()
    assert len(rows(audit)) == 2


def test_a_trail_that_cannot_be_written_stops_no_refusal(audit: Audit, trail: RefusalTrail):
    audit._db.execute("PRAGMA query_only = ON")
    guess(trail, 20)
    trail.close()
    audit._db.execute("PRAGMA query_only = OFF")
    assert rows(audit) == []


# --- where people and programs come in --------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with open_gate(tmp_path / "home", "home", None) as found:
        yield found


async def test_a_thousand_tries_to_log_in_are_refused_and_a_few_rows(gate: Gate):
    for number in range(1000):
        with pytest.raises(HyperPiError):
            await gate.trust.internal(
                "auth.login", {"code": f"guess{number}", "address": "192.0.2.7", "origin": PIDE}
            )
    found = [row for row in gate.audit.ls(5000) if row.what == "login"]
    assert len(found) == BOUND.rows
    assert {row.result for row in found} == {"refused"}


async def test_a_revoked_token_that_a_program_shows_on_and_on_is_told_and_bounded(gate: Gate):
    made = gate.tokens.create()
    gate.tokens.revoke(made.id)
    for _ in range(200):
        with pytest.raises(HyperPiError, match="revoked"):
            await gate.trust.internal("auth.bearer", {"token": made.token, "address": "192.0.2.7"})
    found = [row for row in gate.audit.ls(5000) if row.what == "token.use"]
    assert len(found) == BOUND.rows


def test_what_was_counted_is_written_down_when_the_hypivisor_ends(tmp_path: Path):
    with open_gate(tmp_path, "home", None) as gate:
        for _ in range(300):
            gate.trust._refusals.note("?", "192.0.2.7", "login", WRONG)
    with sqlite3.connect(tmp_path / "audit.db") as db:
        last = db.execute("SELECT details FROM audit ORDER BY seq DESC LIMIT 1").fetchone()[0]
    assert f'"times":{300 - BOUND.rows}' in last
