"""The ring: what it holds, what it forgets, and what its readers share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperpi.errors import CursorCompacted
from hyperpi.event import Cursor
from hyperpi.ring import EVENT_OVERHEAD_BYTES, Ring, chunked

BIG = 1 << 30


def ring_of(count: int, **bounds: int) -> Ring:
    ring = Ring("e-1", **bounds)
    for number in range(1, count + 1):
        ring.append(b"%d" % number)
    return ring


def test_a_ring_holds_a_cursor_only_of_its_own_epoch_and_between_its_oldest_and_its_head():
    ring = ring_of(10, max_events=4)

    assert (ring.oldest, ring.head) == (6, 10)
    assert ring.holds(Cursor("e-1", 6)) and ring.holds(Cursor("e-1", 10))
    assert not ring.holds(Cursor("e-1", 5)) and not ring.holds(Cursor("e-1", 11))
    assert not ring.holds(Cursor("e-2", 8))


def test_since_gives_exactly_the_events_after_a_cursor():
    ring = ring_of(5)

    assert ring.since(0, BIG) == [b"1", b"2", b"3", b"4", b"5"]
    assert ring.since(3, BIG) == [b"4", b"5"]
    assert ring.since(5, BIG) == []


def test_since_stops_at_its_size_but_never_before_one_event():
    ring = Ring("e-1")
    for _ in range(10):
        ring.append(b"x" * 1_000)

    assert len(ring.since(0, 1)) == 1
    few = ring.since(0, 3 * (1_000 + EVENT_OVERHEAD_BYTES))
    assert 1 < len(few) <= 4


def test_a_cursor_before_the_oldest_event_is_compacted():
    with pytest.raises(CursorCompacted, match="before 7"):
        ring_of(10, max_events=4).since(5, BIG)


def test_the_oldest_events_go_when_there_are_too_many_bytes_but_the_newest_one_stays():
    ring = Ring("e-1", max_bytes=10_000)
    for _ in range(50):
        ring.append(b"x" * 1_000)
        held = sum(len(e) + EVENT_OVERHEAD_BYTES for e in ring.since(ring.oldest, BIG))
        assert held <= 10_000

    ring.append(b"y" * 20_000)
    assert ring.since(ring.oldest, BIG) == [b"y" * 20_000]


def test_a_mirror_begins_at_a_cursor_and_skips_what_it_has():
    mirror = Ring("e-1", head=7)
    mirror.extend(8, [b"8", b"9"])
    mirror.extend(8, [b"8", b"9", b"10"])

    assert mirror.since(7, BIG) == [b"8", b"9", b"10"]
    assert mirror.head == 10


def test_a_mirror_never_takes_a_run_with_a_hole_before_it():
    mirror = Ring("e-1", head=7)

    with pytest.raises(CursorCompacted, match="8 to 9 are missing"):
        mirror.extend(10, [b"10"])
    assert mirror.head == 7


def test_viewers_in_step_get_the_very_same_bytes():
    ring = ring_of(3)

    last, frame = ring.joined(1, BIG)
    assert (last, frame) == (3, b"2,3")
    assert ring.joined(1, BIG)[1] is frame


def test_shared_bytes_are_not_given_to_who_is_elsewhere_or_after_something_new():
    ring = ring_of(3)
    ring.joined(1, BIG)

    assert ring.joined(2, BIG) == (3, b"3")
    ring.joined(1, BIG)
    ring.append(b"4")
    assert ring.joined(1, BIG) == (4, b"2,3,4")


def test_the_lag_of_a_reader_counts_what_it_has_not_read():
    ring = ring_of(4)
    each = 1 + EVENT_OVERHEAD_BYTES

    assert [ring.lag_bytes(seq) for seq in range(6)] == [4 * each, 3 * each, 2 * each, each, 0, 0]


def test_a_listener_is_woken_once_however_often_it_was_added_and_not_after_it_left():
    ring, woken = ring_of(0), []
    wake = lambda: woken.append(1)  # noqa: E731

    ring.listen(wake)
    ring.listen(wake)
    ring.wake()
    assert len(woken) == 1
    ring.unlisten(wake)
    ring.wake()
    assert len(woken) == 1


def test_chunks_are_at_most_as_large_as_asked_unless_one_event_is_larger():
    events = [b"aa", b"bb", b"cccccc", b"d"]
    assert list(chunked(events, 4)) == [[b"aa", b"bb"], [b"cccccc"], [b"d"]]
    assert list(chunked([], 4)) == []


@given(
    sizes=st.lists(st.integers(1, 60), max_size=120),
    max_bytes=st.integers(300, 2_000),
    max_events=st.integers(1, 15),
    step=st.integers(1, 700),
)
def test_a_reader_that_keeps_up_gets_every_event_once_whatever_the_bounds(sizes, max_bytes, max_events, step):
    ring = Ring("e-1", max_bytes=max_bytes, max_events=max_events)
    seq, read = 0, []
    for number, size in enumerate(sizes, start=1):
        ring.append(b"%0*d" % (size, number))
        assert ring.head == number
        assert 1 <= ring.head - ring.oldest <= max_events
        assert (ring.lag_bytes(seq) > 0) == (seq < ring.head)
        while seq < ring.head:
            events = ring.since(seq, step)
            read += [int(event) for event in events]
            seq += len(events)

    assert read == list(range(1, len(sizes) + 1))


def test_what_a_ring_has_dropped_is_freed():
    ring = Ring("e-1", max_bytes=1 << 16)
    for _ in range(20_000):
        ring.append(b"x" * 100)

    assert len(ring._events) < 4_000
    assert sum(map(len, ring._events)) <= 1 << 16
