"""Events: stamped once, merged for who is slow without losing a letter."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperpi.errors import BadMessage
from hyperpi.event import merge, read_head, stamp

NOW = "2026-01-05T10:00:00.000Z"


def stamped(event: dict, seq: int) -> dict:
    raw = json.dumps(event).encode()
    return json.loads(stamp(raw, seq, NOW, read_head(raw)))


def test_an_event_gets_its_seq_and_the_time_of_its_arrival():
    assert stamped({"type": "notice", "text": "hi"}, 7) == {
        "seq": 7,
        "at": NOW,
        "type": "notice",
        "text": "hi",
    }


def test_an_event_that_brings_its_time_keeps_it():
    then = "2026-01-05T09:59:59.000Z"
    assert stamped({"type": "notice", "at": then}, 7) == {"seq": 7, "type": "notice", "at": then}


@pytest.mark.parametrize(
    "own", [{"seq": 99}, {"first_seq": 1}, {"seq": None, "first_seq": "x"}, {"at": None}]
)
def test_an_agent_cannot_choose_the_place_of_its_event(own):
    assert stamped({"type": "notice", **own, "text": "hi"}, 7) == {
        "seq": 7,
        "at": NOW,
        "type": "notice",
        "text": "hi",
    }


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"3", b'{"type":3}', b'{"type":"x","at":3}'])
def test_an_event_without_a_type_is_refused(raw):
    with pytest.raises(BadMessage):
        read_head(raw)


def delta(seq: int, text: str, *, block: int = 0, message: str = "m1", kind: str = "text_delta") -> dict:
    return {
        "seq": seq,
        "at": NOW,
        "type": kind,
        "message_id": message,
        "block": block,
        "delta": text,
    }


def merged(events: list[dict]) -> list[dict]:
    return [json.loads(raw) for raw in merge(json.dumps(event).encode() for event in events)]


def test_neighbouring_deltas_of_one_block_become_one_that_says_what_it_covers():
    out = merged([delta(5, "a"), delta(6, "b"), delta(7, "c")])

    assert len(out) == 1
    assert (out[0]["first_seq"], out[0]["seq"], out[0]["delta"]) == (5, 7, "abc")


def test_deltas_of_other_blocks_messages_or_kinds_stay_apart():
    events = [
        delta(1, "a"),
        delta(2, "b", block=1),
        delta(3, "c", block=1, message="m2"),
        delta(4, "d", block=1, message="m2", kind="thinking_delta"),
    ]
    assert [(e["seq"], e["delta"]) for e in merged(events)] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


def test_what_stands_between_two_deltas_keeps_its_place():
    tool = {"seq": 2, "type": "tool_start", "call_id": "c", "name": "bash", "args": {}}
    out = merged([delta(1, "a"), tool, delta(3, "b")])

    assert [e["type"] for e in out] == ["text_delta", "tool_start", "text_delta"]
    assert out[1] == tool


def test_merging_merged_events_again_keeps_their_ranges():
    once = merged([delta(1, "a"), delta(2, "b")])
    again = merged([*once, delta(3, "c")])

    assert [(e["first_seq"], e["seq"], e["delta"]) for e in again] == [(1, 3, "abc")]


kinds = st.sampled_from(["text_delta", "thinking_delta", "tool_start", "state", "message_end", "unheard_of"])
streams = st.lists(
    st.tuples(kinds, st.sampled_from(["m1", "m2"]), st.integers(0, 1), st.text(max_size=5)), max_size=60
)


@given(streams)
def test_merging_loses_no_text_and_leaves_no_hole(stream):
    events = [
        delta(seq, text, block=block, message=message, kind=kind)
        for seq, (kind, message, block, text) in enumerate(stream, start=1)
    ]
    out = merged(events)

    def texts(of: list[dict]) -> dict:
        found: dict = {}
        for event in of:
            key = (event["type"], event["message_id"], event["block"])
            found[key] = found.get(key, "") + event["delta"]
        return found

    assert texts(out) == texts(events)
    ranges = [(event.get("first_seq", event["seq"]), event["seq"]) for event in out]
    covered = [seq for first, last in ranges for seq in range(first, last + 1)]
    assert covered == list(range(1, len(events) + 1))
    assert [e for e in out if e["type"] not in {"text_delta", "thinking_delta"}] == [
        e for e in events if e["type"] not in {"text_delta", "thinking_delta"}
    ]
