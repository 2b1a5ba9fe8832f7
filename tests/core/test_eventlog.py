"""One agent's log: its numbering against ours."""

import json

import pytest

from hyperpi.errors import BadMessage
from hyperpi.event import Reset
from node.eventlog import EventLog

NOW = "2026-01-05T10:00:00.000Z"


def events(*texts: str) -> list[bytes]:
    return [json.dumps({"type": "notice", "text": text}).encode() for text in texts]


def held(log: EventLog) -> list[tuple[int, str]]:
    found = [json.loads(raw) for raw in log.ring.since(log.ring.oldest, 1 << 30)]
    return [(event["seq"], event.get("text", event["type"])) for event in found]


def test_events_get_our_numbers_in_the_order_of_the_agents():
    log = EventLog()
    assert log.ingest(1, events("a", "b"), NOW) == (2, None)
    assert log.ingest(3, events("c"), NOW) == (1, None)
    assert held(log) == [(1, "a"), (2, "b"), (3, "c")]
    assert log.acked == 3


def test_what_is_sent_again_is_taken_once():
    log = EventLog()
    log.ingest(1, events("a", "b"), NOW)
    assert log.ingest(1, events("a", "b", "c"), NOW) == (1, None)
    assert log.ingest(1, events("a"), NOW) == (0, None)
    assert held(log) == [(1, "a"), (2, "b"), (3, "c")]
    assert log.acked == 3


def test_our_own_events_take_numbers_that_the_agent_knows_nothing_of():
    log = EventLog()
    log.say({"type": "state", "state": "idle"}, NOW)
    log.ingest(1, events("a"), NOW)
    log.say({"type": "state", "state": "working"}, NOW)
    log.ingest(2, events("b"), NOW)
    assert held(log) == [(1, "state"), (2, "a"), (3, "state"), (4, "b")]
    assert log.acked == 2


def test_a_jump_begins_a_new_epoch_since_events_were_dropped():
    log = EventLog()
    log.ingest(1, events("a"), NOW)
    before = log.ring.epoch
    new, reset = log.ingest(5, events("e"), NOW)

    assert (new, reset) == (1, Reset(log.ring.epoch, "overrun"))
    assert log.ring.epoch != before
    assert held(log) == [(1, "e")]
    assert log.acked == 5


def test_after_a_restart_of_the_node_any_number_may_come_first():
    log = EventLog()
    log.say({"type": "state", "state": "idle"}, NOW)
    assert log.ingest(4_711, events("x", "y"), NOW) == (2, None)
    assert log.acked == 4_712
    assert held(log) == [(1, "state"), (2, "x"), (3, "y")]


def test_a_conversation_that_changed_begins_anew_and_the_agents_numbers_go_on():
    log = EventLog()
    log.ingest(1, events("a"), NOW)
    log.begin("new")
    assert log.ingest(2, events("b"), NOW) == (1, None)
    assert held(log) == [(1, "b")]


def test_what_stands_before_an_event_without_a_type_is_kept_acknowledged_and_told():
    log, woken = EventLog(), []
    log.ring.listen(lambda: woken.append(1))
    with pytest.raises(BadMessage):
        log.ingest(1, [*events("a"), b'{"no":"type"}', *events("c")], NOW)
    assert (held(log), log.acked) == ([(1, "a")], 1)
    assert woken


def test_readers_are_woken_only_for_something_new():
    log, woken = EventLog(), []
    log.ring.listen(lambda: woken.append(1))
    log.ingest(1, events("a"), NOW)
    log.ingest(1, events("a"), NOW)
    assert len(woken) == 1
