"""What a person sees of a conversation: what is settled once, what goes on as lines that change."""

import re
from typing import Any

import pytest

from hyperpi.cli.conversation import FIRST_ENTRIES, Conversation, drawn

Json = dict[str, Any]


def text_of(parts: Any) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", drawn(list(parts), 100))


def entry(number: int, role: str = "assistant", **block: Any) -> Json:
    shown = {"type": "text", "text": f"entry {number}"} | block
    return {
        "id": f"e{number}",
        "message_id": f"m{number}",
        "role": role,
        "at": "2026-01-01T10:00:00.000Z",
        "blocks": [shown],
    }


def delta(text: str) -> Json:
    return {"type": "text_delta", "message_id": "m1", "block": 0, "delta": text}


@pytest.fixture
def talk() -> Conversation:
    found = Conversation("frontend")
    list(found.snapshot({"entries": [], "state": "idle"}))
    return found


def test_words_that_stream_in_are_live_and_then_settled_once_with_their_markdown(talk: Conversation):
    for piece in ("Hello **wor", "ld**\n\n- one\n"):
        assert text_of(talk.event(delta(piece))) == ""
    assert [line for _, line in talk.live()] == ["Hello **world**", "", "- one"]
    end = {"type": "message_end", "message_id": "m1", "entry": entry(1, text="Hello **world**\n\n- one\n")}
    shown = text_of(talk.event(end))
    assert "Hello world" in shown and "• one" in shown and "frontend" in shown
    assert talk.live() == []
    assert text_of(talk.event(end)) == ""


def test_a_tool_is_one_line_while_it_runs_and_folded_when_it_is_done(talk: Conversation):
    start = {
        "type": "tool_start",
        "call_id": "c1",
        "message_id": "m1",
        "name": "bash",
        "args": {"command": "seq 9"},
    }
    assert text_of(talk.event(start)) == ""
    assert [line for _, line in talk.live()] == ["▸ bash seq 9 …"]
    shown = text_of(
        talk.event({"type": "tool_end", "call_id": "c1", "result": "1\n2\n3", "duration_ms": 1500})
    )
    assert shown == "  ▸ bash seq 9 1.5 s · 3 lines\n    1\n"
    result = {
        "id": "e2",
        "role": "tool",
        "blocks": [{"type": "tool_result", "call_id": "c1", "text": "1\n2\n3"}],
    }
    assert text_of(talk.event({"type": "message_end", "message_id": "m2", "entry": result})) == ""
    assert talk.live() == []


def test_of_a_long_history_the_end_is_drawn_and_the_rest_is_known(talk: Conversation):
    shown = text_of(talk.snapshot({"entries": [entry(n) for n in range(100)], "more": True, "state": "idle"}))
    assert re.findall(r"entry (\d+)", shown) == [str(n) for n in range(100 - FIRST_ENTRIES, 100)]
    assert talk.older
    again = text_of(talk.snapshot({"entries": [entry(n) for n in range(50, 103)], "state": "working"}))
    assert re.findall(r"entry (\d+)", again) == ["100", "101", "102"]
    assert talk.state == "working"


def test_a_turn_that_runs_when_one_comes_is_live(talk: Conversation):
    running = {
        "message_id": "m9",
        "blocks": [{"type": "text", "text": "half a"}],
        "tools": [{"call_id": "c", "name": "read"}],
    }
    list(talk.snapshot({"entries": [], "running": running, "state": "working"}))
    list(talk.event({"type": "text_delta", "message_id": "m9", "block": 0, "delta": " word"}))
    assert [line for _, line in talk.live()] == ["half a word", "▸ read …"]


def test_a_prompt_of_ours_waits_until_it_is_in_the_conversation(talk: Conversation):
    talk.sent("p-1", "do it")
    assert [line for _, line in talk.live()] == ["→ do it"]
    told = {"type": "user_message", "message_id": "m1", "text": "do it", "source": "cli", "prompt_id": "p-1"}
    assert "do it" in text_of(talk.event(told))
    assert talk.live() == []
    user = entry(1, "user", text="do it")
    assert text_of(talk.event({"type": "message_end", "message_id": "m1", "entry": user})) == ""


def test_a_question_is_shown_until_somebody_has_answered(talk: Conversation):
    approval = {
        "id": "ap-1",
        "state": "pending",
        "action": {
            "kind": "tool",
            "summary": "bash: rm -rf build",
            "detail": {"args": {"command": "rm -rf build"}},
        },
        "choices": [{"id": "yes", "label": "Approve", "kind": "allow"}],
    }
    assert "rm -rf build" in text_of(talk.event({"type": "approval", "approval": approval}))
    assert "Alt-A" in talk.live()[0][1]
    decided = {**approval, "state": "approved", "by": "ann"}
    assert "approved by ann" in text_of(talk.event({"type": "approval", "approval": decided}))
    assert talk.live() == []


def test_nothing_that_comes_from_elsewhere_steers_the_terminal(talk: Conversation):
    evil = "\x1b]0;owned\x07\x1b[2Jhi\u202e\x9b31m"
    parts = [
        *talk.event({"type": "message_end", "message_id": "m1", "entry": entry(1, text=evil)}),
        *talk.event({"type": "user_message", "message_id": "m2", "text": evil, "source": evil}),
        *talk.event({"type": "tool_end", "call_id": "c", "name": evil, "args": {"x": evil}, "result": evil}),
        *talk.event({"type": "notice", "level": "error", "text": evil}),
        *talk.event({"type": evil, "x": evil}),
    ]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", drawn(parts, 100))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    list(talk.event(delta(evil)))
    assert not any(re.search("[\x00-\x1f\x7f-\x9f\u202e]", line) for _, line in talk.live())


def test_another_conversation_is_drawn_from_its_beginning(talk: Conversation):
    list(talk.snapshot({"entries": [entry(1)], "state": "idle"}))
    assert "the conversation changed: new" in text_of([talk.forget("new")])
    assert "entry 1" in text_of(talk.snapshot({"entries": [entry(1)], "state": "idle"}))


def test_a_plan_is_drawn_again_when_it_has_come_further(talk: Conversation):
    def told(*states: str) -> str:
        steps = [{"text": text, "status": state} for text, state in zip("ab", states, strict=True)]
        plan = entry(1, "note", type="plan", steps=steps)
        return text_of(talk.event({"type": "message_end", "message_id": "m1", "entry": plan}))

    assert told("in_progress", "pending").splitlines() == ["· plan", "  ◐ a", "  ○ b"]
    assert told("completed", "in_progress").splitlines() == ["· plan", "  ✓ a", "  ◐ b"]


def test_what_waits_for_the_agent_is_shown_until_it_is_taken_up(talk: Conversation):
    talk.sent("p-1", "run the tests")
    queued = [
        {"id": "p-1", "text": "run the tests", "mode": "follow_up"},
        {"id": "p-2", "text": "x", "mode": "steer"},
    ]
    assert text_of(talk.event({"type": "queue", "prompts": queued})) == ""
    assert [line for _, line in talk.live()] == ["→ run the tests  (waits)", "→ x  (steers)"]
    assert text_of(talk.event({"type": "queue", "prompts": []})) == ""
    assert talk.live() == []


def test_what_the_agent_had_not_taken_when_it_ended_is_told_once(talk: Conversation):
    lost = [{"id": "p-1", "text": "run the tests", "mode": "follow_up", "where": "lost"}]
    assert "not taken" in text_of(talk.event({"type": "queue", "prompts": lost}))
    assert text_of(talk.event({"type": "queue", "prompts": lost})) == ""
    assert talk.live() == []


def test_what_an_agent_was_at_when_it_ended_is_settled_as_interrupted_once(talk: Conversation):
    list(talk.event(delta("Half a sen")))
    list(talk.event({"type": "tool_start", "call_id": "c1", "name": "bash", "args": {"command": "make"}}))
    end = {"type": "state", "state": "exited", "detail": "killed by SIGKILL", "interrupted": True}
    shown = text_of(talk.event(end))
    assert "▸ bash" in shown
    assert shown.index("Half a sen") < shown.index("(interrupted)") < shown.index("is exited")
    assert "`hyperpi resume frontend`" in shown
    assert talk.live() == []
    assert "(interrupted)" not in text_of(talk.event(end))  # its reason became known a moment later


def test_a_tools_result_stays_on_its_line_however_narrow_the_terminal_is(talk: Conversation):
    end = {"type": "tool_end", "call_id": "c1", "name": "bash", "result": "w" * 300}
    shown = re.sub(r"\x1b\[[0-9;]*m", "", drawn(list(talk.event(end)), 40)).splitlines()
    assert (len(shown), shown[1][:5], shown[1][-1], len(shown[1])) == (2, "    w", "…", 40)


def test_a_call_that_was_not_let_through_says_whose_word_it_was(talk: Conversation):
    action = {"kind": "tool", "summary": "bash: rm", "detail": {"call_id": "c1"}}
    denied = {"id": "ap-1", "action": action, "state": "denied", "by": "ann", "note": "not now"}
    list(talk.event({"type": "approval", "approval": denied}))
    shown = text_of(talk.event({"type": "tool_end", "call_id": "c1", "result": "no", "is_error": True}))
    assert "· denied by ann (not now)" in shown


def test_whoever_attaches_later_reads_who_denied_a_call():
    talk = Conversation("frontend")
    called = entry(1, type="tool_call", call_id="c1", name="bash", args={"command": "rm x"})
    result = entry(2, "tool", type="tool_result", call_id="c1", text="no", is_error=True)
    decisions = [{"call_id": "c1", "state": "denied", "by": "ann", "via": "pide"}]
    shown = text_of(talk.snapshot({"entries": [called, result], "state": "idle", "decisions": decisions}))
    assert "▸ bash rm x · denied by ann" in shown
