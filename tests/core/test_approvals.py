"""Approvals: an id for one action for ever, the first answer wins, silence denies."""

import pytest

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.errors import BadRequest, Conflict, NotFound, Overloaded
from hyperpi.process_tree import Relative
from node.approvals import (
    DECISIONS,
    MAX_PENDING,
    NOTE_CHARS,
    REMEMBERED_S,
    Approvals,
    Asked,
    Verdict,
    approval_shape,
)

AGENT = AgentId("a-1")
YES, NO = Verdict("approve", "ann", "pide"), Verdict("deny", "bob", "cli", note="not on a Friday")


def wanted(approval: str = "ap-1", *, fingerprint: str = "h1", **more: object) -> contract.ApprovalAsk:
    action = contract.Action(kind="tool", summary="rm -rf /srv", hash=fingerprint, detail={"tool": "bash"})
    return contract.ApprovalAsk(id=approval, action=action, **more)  # type: ignore[arg-type]


def asked(book: Approvals, approval: str = "ap-1", at: float = 100.0) -> Asked:
    return book.ask(AGENT, wanted(approval), 60.0, at)[0]


def test_the_first_answer_wins_and_the_second_hears_whose_it_was():
    book = Approvals()
    one = asked(book)
    book.answer(one, NO, 110.0)
    with pytest.raises(Conflict, match="denied by bob"):
        book.answer(one, YES, 111.0)
    shape = approval_shape(one)
    assert (shape.state, shape.choice, shape.by, shape.via) == ("denied", "deny", "bob", "cli")
    assert shape.note == "not on a Friday"
    assert book.pending() == []


def test_whoever_asks_again_hears_what_was_decided_meanwhile():
    book = Approvals()
    book.answer(asked(book), YES, 110.0)
    again, new = book.ask(AGENT, wanted(), 60.0, 120.0, asker=Relative(7, "x"))
    assert not new
    assert (again.state, again.asked_at, again.asker) == ("approved", 100.0, Relative(7, "x"))


def test_an_id_stands_for_one_action_for_ever():
    book = Approvals()
    book.answer(asked(book), YES, 110.0)
    with pytest.raises(Conflict, match="another action"):
        book.ask(AGENT, wanted(fingerprint="h2"), 60.0, 120.0)
    with pytest.raises(Conflict, match="another action"):
        book.ask(AgentId("a-2"), wanted(), 60.0, 120.0)


def test_silence_denies_and_an_answer_that_comes_later_is_too_late():
    book = Approvals()
    one = asked(book)
    assert book.next_expiry == 160.0
    assert book.due(159.9) == []
    assert book.due(160.0) == [one]
    with pytest.raises(Conflict, match="nobody answered in time"):
        book.answer(one, YES, 160.0)
    assert one.state == "expired"
    assert book.next_expiry is None


def test_what_was_withdrawn_needs_no_answer():
    book = Approvals()
    one = asked(book)
    assert book.withdraw(one, "the turn was aborted", 105.0)
    assert not book.withdraw(one, "again", 106.0)
    with pytest.raises(Conflict, match="the turn was aborted"):
        book.answer(one, YES, 110.0)


def test_only_what_is_offered_can_be_chosen():
    book = Approvals()
    one = asked(book)
    with pytest.raises(BadRequest, match="'maybe' is not offered"):
        book.answer(one, Verdict("maybe", "ann", "pide"), 110.0)
    assert one.state == "pending"
    text = contract.Choice(id="submit", label="Answer", kind="text")
    typed = book.ask(AGENT, wanted("ap-2", choices=[text]), 60.0, 100.0)[0]
    with pytest.raises(BadRequest, match="needs a text"):
        book.answer(typed, Verdict("submit", "ann", "pide"), 110.0)
    book.answer(typed, Verdict("submit", "ann", "pide", text=""), 110.0)
    assert (typed.state, typed.text) == ("approved", "")


def test_two_choices_of_one_id_are_refused():
    twice = contract.Choice(id="a", label="A", kind="option")
    with pytest.raises(BadRequest, match="one id"):
        Approvals().ask(AGENT, wanted(choices=[twice, twice]), 60.0, 100.0)


def test_an_answer_that_could_not_be_written_down_was_none():
    book = Approvals()
    one = asked(book)
    book.answer(one, YES, 110.0)
    book.reopen(one)
    assert book.pending(AGENT) == [one]
    book.answer(one, NO, 111.0)
    assert (one.state, one.by) == ("denied", "bob")


def test_an_agent_cannot_flood_people_with_questions():
    book = Approvals()
    for number in range(MAX_PENDING):
        asked(book, f"ap-{number}")
    with pytest.raises(Overloaded):
        asked(book, "one-more")
    assert book.ask(AgentId("a-2"), wanted("another"), 60.0, 100.0)[1]


def test_an_approval_is_found_at_its_own_agent_only():
    book = Approvals()
    one = asked(book)
    assert book.of(AGENT, "ap-1") is one
    with pytest.raises(NotFound):
        book.of(AgentId("a-2"), "ap-1")


def test_what_waits_is_never_forgotten_and_what_was_decided_is_after_a_week():
    book = Approvals()
    waiting, decided = asked(book, "ap-1"), asked(book, "ap-2")
    book.answer(decided, YES, 110.0)
    assert book.outdated(100.0 + REMEMBERED_S) == []
    assert book.outdated(101.0 + REMEMBERED_S) == [decided]
    book.forget(decided)
    assert list(Approvals(book)) == [waiting]
    assert Approvals(book).pending() == [waiting]


def test_what_became_of_a_call_is_kept_for_those_who_come_later():
    book = Approvals()
    for number, verdict in enumerate((YES, NO)):
        action = contract.Action(kind="tool", summary="x", hash="h", detail={"call_id": f"c-{number}"})
        wish = contract.ApprovalAsk(id=f"ap-{number}", action=action)
        book.answer(book.ask(AGENT, wish, 60.0, 100.0)[0], verdict, 110.0)
    book.answer(asked(book, "ap-of-no-call"), YES, 110.0)
    waits = contract.Action(kind="tool", summary="x", hash="h", detail={"call_id": "c-9"})
    book.ask(AGENT, contract.ApprovalAsk(id="ap-9", action=waits), 60.0, 100.0)
    told = [(one.call_id, one.state, one.by, one.note) for one in book.decisions([AGENT])]
    assert told == [("c-0", "approved", "ann", None), ("c-1", "denied", "bob", "not on a Friday")]
    assert book.decisions([AgentId("a-2")]) == []


def test_a_snapshot_has_the_newest_decisions_and_the_beginning_of_long_notes():
    book = Approvals()
    for number in range(DECISIONS + 5):
        action = contract.Action(kind="tool", summary="x", hash="h", detail={"call_id": f"c-{number}"})
        one, _ = book.ask(AGENT, contract.ApprovalAsk(id=f"ap-{number}", action=action), 60.0, 100.0)
        book.answer(one, Verdict("deny", "bob", "cli", note="n" * 4_000), 110.0)
    found = book.decisions([AGENT])
    assert (found[0].call_id, len(found), len(found[-1].note or "")) == ("c-5", DECISIONS, NOTE_CHARS)
