"""Events that a node has not acknowledged."""

from typing import Any

from hyperpi.unacked import MAX_BYTES, MAX_EVENTS, Unacked

Json = dict[str, Any]


def delta(text: str, block: int = 0) -> Json:
    return {"type": "text_delta", "message_id": "m1", "block": block, "delta": text}


def note(text: str) -> Json:
    return {"type": "notice", "text": text}


def test_events_are_numbered_from_one_and_handed_out_once():
    unacked = Unacked()
    unacked.offer(note("a"))
    unacked.offer(note("b"))
    assert unacked.take() == (1, [note("a"), note("b")])
    assert unacked.take() is None
    unacked.offer(note("c"))
    assert unacked.take() == (3, [note("c")])


def test_what_was_not_acknowledged_is_handed_out_again_after_a_redial():
    unacked = Unacked()
    for text in "abc":
        unacked.offer(note(text))
    unacked.take()
    unacked.acknowledge(1)
    unacked.resume(2)
    assert unacked.take() == (3, [note("c")])


def test_deltas_that_go_on_are_one_event_until_it_is_handed_out():
    unacked = Unacked()
    for text in ("one", " two"):
        unacked.offer(delta(text))
    unacked.offer(delta("other", block=1))
    assert unacked.take() == (1, [delta("one two"), delta("other", block=1)])
    unacked.offer(delta(" block", block=1))
    assert unacked.take() == (3, [delta(" block", block=1)])


def test_a_node_that_knows_more_than_we_have_said_is_believed():
    unacked = Unacked()
    unacked.offer(note("new"))
    unacked.resume(40)
    assert unacked.take() == (41, [note("new")])


def test_above_a_bound_all_is_dropped_and_the_numbers_show_it():
    unacked = Unacked()
    for number in range(MAX_EVENTS + 1):
        unacked.offer(note(str(number)))
    assert unacked.take() is None
    unacked.offer(note("after"))
    assert unacked.take() == (MAX_EVENTS + 2, [note("after")])

    heavy = Unacked()
    for _ in range(2 * MAX_BYTES // 100_000):
        heavy.offer(note("x" * 100_000))
    kept = 0
    while (batch := heavy.take()) is not None:
        kept += sum(len(event["text"]) for event in batch[1])
    assert kept <= MAX_BYTES


def test_a_batch_fits_in_a_line():
    unacked = Unacked()
    for _ in range(10):
        unacked.offer(note("x" * 200_000))
    batch = unacked.take()
    assert batch is not None
    assert len(batch[1]) == 2
