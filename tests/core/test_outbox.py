"""Scrolls on their way: receipts that only move forward, whatever order they arrive in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.contract import MAX_SCROLL_BYTES, MAX_TTL_S, SCROLL_STATES
from hyperpi.errors import BadRequest
from node.outbox import (
    FINAL,
    Incoming,
    Outgoing,
    Receipt,
    accepted_scroll,
    incoming_shape,
    outgoing_shape,
)

RANK = {state: min(place, 4) for place, state in enumerate(SCROLL_STATES)}


def outgoing(to: str = "client@attic", ttl_s: float = 60.0) -> Outgoing:
    wanted = contract.Scroll(to=to, message="schema changed", ttl_s=ttl_s)
    return Outgoing("lead@den", accepted_scroll(wanted, "lead@den", "SCROLL-1"), 1_000.0, 1_000.0 + ttl_s)


@given(st.lists(st.sampled_from(SCROLL_STATES), max_size=12))
def test_a_receipt_only_moves_forward_and_stays_final(states):
    receipt = Receipt("client@attic", "accepted", 0.0)
    for now, state in enumerate(states, start=1):
        before = receipt.state
        moved = receipt.move(state, float(now), f"because {now}")
        assert moved == (before not in FINAL and RANK[state] > RANK[before])
        assert (receipt.state == state) if moved else (receipt.state == before)
        assert not moved or (receipt.at, receipt.reason) == (float(now), f"because {now}")

    finals = [state for state in states if state in FINAL]
    if finals:
        assert receipt.state == finals[0]


@given(st.permutations(["relayed", "stored", "delivered", "answered"]), st.data())
def test_in_any_order_and_repeated_the_receipts_of_one_scroll_end_answered(order, data):
    repeated = [state for state in order for _ in range(data.draw(st.integers(1, 3)))]
    receipt = Receipt("client@attic", "accepted", 0.0)
    for now, state in enumerate(repeated):
        receipt.move(state, float(now), opcode={"content": "done"} if state == "answered" else None)
    assert (receipt.state, receipt.opcode) == ("answered", {"content": "done"})


@given(
    st.lists(
        st.tuples(st.sampled_from(["a@den", "b@attic", "c@attic"]), st.sampled_from(SCROLL_STATES)),
        max_size=20,
    )
)
def test_the_row_is_kept_exactly_as_long_as_a_node_lacks_the_scroll(told):
    sent = outgoing("*")
    assert not sent.handed_over and not sent.settled
    sent.routed(["a@den", "b@attic", "c@attic"], [], 1_000.0)
    for to, state in told:
        sent.receipts[to].move(state, 1_001.0)
        states = [receipt.state for receipt in sent.receipts.values()]
        assert sent.handed_over == all(RANK[state] >= RANK["stored"] for state in states)
        assert sent.settled == all(state in FINAL for state in states)
        assert {r.to for r in sent.waiting()} == {
            to for to, r in sent.receipts.items() if RANK[r.state] < RANK["stored"]
        }
        assert RANK[sent.state()] == min(RANK[state] for state in states)


def test_routing_tells_of_those_that_can_be_reached_and_waits_for_the_others():
    sent = outgoing("*")
    changed = sent.routed(["a@den", "b@attic"], ["b@attic"], 1_001.0)

    assert [(r.to, r.state) for r in changed] == [("a@den", "relayed")]
    assert sent.receipts["b@attic"].state == "accepted"
    assert [r.to for r in sent.routed(["b@attic"], [], 1_002.0)] == ["b@attic"]
    assert sent.routed(["a@den", "b@attic"], [], 1_003.0) == []


def test_a_scroll_whose_time_is_over_bounces_visibly():
    sent = outgoing(ttl_s=60.0)
    sent.routed(["client@attic"], [], 1_001.0)
    assert sent.expire(1_059.9) == []
    (receipt,) = sent.expire(1_060.0)
    assert (receipt.to, receipt.state, receipt.reason) == (
        "client@attic",
        "expired",
        "its time to live is over",
    )
    assert sent.settled and sent.handed_over
    assert sent.expire(1_061.0) == []


def test_a_scroll_that_nobody_was_ever_named_for_bounces_too():
    sent = outgoing("nobody")
    (receipt,) = sent.expire(2_000.0)
    assert (receipt.to, receipt.state) == ("nobody", "expired")


def test_an_answered_scroll_does_not_expire():
    sent = outgoing()
    sent.routed(["client@attic"], [], 1_001.0)
    sent.receipts["client@attic"].move("answered", 1_002.0)
    assert sent.expire(2_000.0) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": ""},
        {"ttl_s": 0},
        {"ttl_s": -1},
        {"ttl_s": MAX_TTL_S + 1},
        {"ttl_s": float("nan")},
        {"scroll_id": ""},
        {"scroll_id": "x" * 129},
        {"message": "x" * MAX_SCROLL_BYTES},
        {"data": {"diff": "é" * (MAX_SCROLL_BYTES // 2)}},
    ],
    ids=str,
)
def test_a_scroll_that_may_not_travel_is_refused_before_anything_is_stored(wrong):
    wanted = contract.Scroll(**{"to": "a", "message": "hi", **wrong})
    with pytest.raises(BadRequest):
        accepted_scroll(wanted, "lead@den", "SCROLL-1")


def test_who_sent_it_is_what_we_know_and_not_what_it_says():
    wanted = contract.Scroll(to="a", message="hi", sender="the owner")
    assert accepted_scroll(wanted, "lead@den", "SCROLL-1")["from"] == "lead@den"


def test_its_own_id_is_kept_and_a_missing_one_is_made():
    assert (
        accepted_scroll(contract.Scroll(to="a", message="hi"), "x@den", "SCROLL-9")["scroll_id"] == "SCROLL-9"
    )
    wanted = contract.Scroll(to="a", message="hi", scroll_id="mine")
    assert accepted_scroll(wanted, "x@den", "SCROLL-9")["scroll_id"] == "mine"


def test_a_received_scroll_owes_its_sender_every_state_until_it_is_acknowledged():
    received = Incoming(
        sender="lead@den",
        sender_node="n-den",
        agent=AgentId("a-1"),
        to="client@attic",
        scroll=outgoing().scroll,
        expires_at=1_060.0,
        receipt=Receipt("client@attic", "stored", 1_001.0),
    )
    assert received.owed
    received.told = "stored"
    assert not received.owed
    received.receipt.move("delivered", 1_002.0)
    assert received.owed
    assert incoming_shape(received)["state"] == "delivered"


def test_a_sent_scroll_shows_every_receipt_with_its_reason_and_its_answer():
    sent = outgoing()
    sent.routed(["client@attic"], [], 1_001.0)
    sent.receipts["client@attic"].move("answered", 1_002.0, opcode={"content": "done"})
    shape = outgoing_shape(sent)
    assert (shape["state"], shape["message"], shape["side"]) == ("answered", "schema changed", "sender")
    assert shape["receipts"] == [
        {
            "to": "client@attic",
            "state": "answered",
            "at": "1970-01-01T00:16:42.000Z",
            "opcode": {"content": "done"},
        }
    ]
