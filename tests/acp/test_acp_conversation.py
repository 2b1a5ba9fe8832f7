"""What a conversation makes of updates that recordings do not have."""

from typing import Any

import pytest
from recording import BEGAN, Json, text_of

from node.acp.conversation import MESSAGE_CHARS, UPDATE_S, Conversation


def chunk(text: str, kind: str = "agent_message_chunk", **more: Any) -> Json:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}, **more}


def call(call_id: str = "c1", **more: Any) -> Json:
    return {"sessionUpdate": "tool_call", "toolCallId": call_id, "title": "look", "kind": "read", **more}


def entries_of(events: list[Json]) -> list[Json]:
    return [event["entry"] for event in events if event["type"] == "message_end"]


@pytest.fixture
def conversation() -> Conversation:
    found = Conversation()
    found.asked("go", [], BEGAN, source="cli", prompt_id="p1")
    return found


def test_a_prompt_is_told_with_its_id_and_kept_without():
    events = Conversation().asked("go", [], BEGAN, source="pide", prompt_id="p1")
    assert [event["type"] for event in events] == ["user_message", "message_end"]
    assert events[0]["prompt_id"] == "p1"
    assert events[1]["entry"]["blocks"] == [{"type": "text", "text": "go"}]
    assert events[1]["entry"]["id"] != events[1]["message_id"]


def test_a_picture_of_a_prompt_is_in_its_entry():
    image = {"mime": "image/png", "data": "AAAA"}
    events = Conversation().asked("see", [image], BEGAN, source="pide")
    assert events[-1]["entry"]["blocks"][1] == {"type": "image", "mime": "image/png", "data": "AAAA"}


def test_an_agent_that_repeats_the_prompt_doubles_nothing(conversation: Conversation):
    assert conversation.updated(chunk("go", "user_message_chunk"), BEGAN) == []


def test_what_a_person_says_elsewhere_between_turns_is_told(conversation: Conversation):
    conversation.updated(chunk("fine"), BEGAN)
    conversation.ended("end_turn", BEGAN)
    conversation.updated(chunk("from the other window", "user_message_chunk"), BEGAN)
    entry = entries_of(conversation.updated(chunk("yes"), BEGAN))[0]
    assert (entry["role"], text_of(entry)) == ("user", "from the other window")


def test_two_messages_without_a_pause_are_told_apart_by_their_ids(conversation: Conversation):
    conversation.updated(chunk("one", messageId="a"), BEGAN)
    ended = entries_of(conversation.updated(chunk("two", messageId="b"), BEGAN))
    assert [text_of(entry) for entry in ended] == ["one"]


def test_a_message_without_end_goes_on_as_another_one(conversation: Conversation):
    conversation.updated(chunk("x" * (MESSAGE_CHARS + 1)), BEGAN)
    events = conversation.updated(chunk("y"), BEGAN)
    assert [event["type"] for event in events] == ["message_end", "message_start", "text_delta"]


def test_output_of_a_running_tool_is_told_at_most_so_often(conversation: Conversation):
    conversation.updated(call(status="in_progress", rawInput={"path": "x"}), BEGAN)

    def grows(text: str, now: float) -> list[Json]:
        content = [{"type": "content", "content": {"type": "text", "text": text}}]
        update = {"sessionUpdate": "tool_call_update", "toolCallId": "c1", "content": content}
        return conversation.updated(update, now)

    assert [event["result"] for event in grows("a", BEGAN + 1)] == ["a"]
    assert grows("ab", BEGAN + 1) == []
    assert conversation.holds_back
    assert [event["result"] for event in conversation.due(BEGAN + 1 + 2 * UPDATE_S)] == ["ab"]
    assert not conversation.holds_back


def test_a_turn_that_is_cut_off_before_a_word_says_so(conversation: Conversation):
    entry = entries_of(conversation.ended("cancelled", BEGAN))[-1]
    assert entry["interrupted"]
    assert entry["role"] == "assistant"


def test_an_agent_that_dies_in_mid_word_leaves_an_interrupted_message(conversation: Conversation):
    conversation.updated(chunk("half a wo"), BEGAN)
    conversation.updated(call(status="in_progress", rawInput={"path": "x"}), BEGAN)
    conversation.updated(chunk("and the"), BEGAN)
    events = conversation.ended("died", BEGAN)
    assert [event["is_error"] for event in events if event["type"] == "tool_end"] == [True]
    last = entries_of(events)[-1]
    assert (text_of(last), last["interrupted"]) == ("and the", True)
    assert not conversation.in_turn
    assert conversation.running() is None


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "max_turn_requests"])
def test_why_a_turn_ended_early_is_in_the_conversation(conversation: Conversation, reason: str):
    conversation.updated(chunk("so far"), BEGAN)
    note = entries_of(conversation.ended(reason, BEGAN))[-1]
    assert note["role"] == "note"
    assert note["blocks"][0]["level"] == "warning"


def test_a_turn_without_a_word_is_not_passed_over_in_silence(conversation: Conversation):
    note = entries_of(conversation.ended("end_turn", BEGAN))[-1]
    assert "without a word" in text_of(note)


def test_a_permission_shows_a_call_that_was_only_pending(conversation: Conversation):
    conversation.updated(call(status="pending", rawInput={"path": "x"}), BEGAN)
    asked = conversation.permission_asked({"toolCallId": "c1", "title": "/", "kind": "other"}, BEGAN)
    started = [event for event in asked if event["type"] == "tool_start"]
    assert [(event["name"], event["args"]) for event in started] == [("read", {"path": "x"})]
    assert conversation.permission_asked({"toolCallId": "c1"}, BEGAN) == []


def test_a_plan_that_changes_stays_one_entry_of_its_turn(conversation: Conversation):
    def plan(status: str) -> Json:
        step = {"content": "read", "status": status, "priority": "high"}
        return {"sessionUpdate": "plan", "entries": [step]}

    first = entries_of(conversation.updated(plan("pending"), BEGAN))[0]
    again = entries_of(conversation.updated(plan("completed"), BEGAN))[0]
    assert first["id"] == again["id"]
    assert [entry["blocks"][0]["steps"][0]["status"] for entry in (first, again)] == ["pending", "completed"]
    assert conversation.updated(plan("completed"), BEGAN) == []
    conversation.ended("end_turn", BEGAN)
    conversation.asked("more", [], BEGAN, source="cli")
    assert entries_of(conversation.updated(plan("pending"), BEGAN))[0]["id"] != first["id"]


def test_an_update_that_nobody_knows_is_passed_on_as_it_is(conversation: Conversation):
    update = {"sessionUpdate": "weather_update", "sky": "grey"}
    assert conversation.updated(update, BEGAN) == [{"type": "acp_weather_update", "update": update}]


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"sessionUpdate": None},
        chunk("") | {"content": None},
        {"sessionUpdate": "tool_call"},
        {"sessionUpdate": "tool_call_update", "toolCallId": "x", "content": [1, None], "locations": [3]},
        {"sessionUpdate": "tool_call", "toolCallId": "x", "rawInput": "text", "status": "completed"},
        {"sessionUpdate": "plan", "entries": "none"},
        {"sessionUpdate": "plan", "entries": [{"content": 3}]},
    ],
)
def test_what_no_agent_should_send_harms_nothing(conversation: Conversation, update: Json):
    conversation.updated(update, BEGAN)
    conversation.updated(chunk("still here"), BEGAN)
    assert text_of(entries_of(conversation.ended("end_turn", BEGAN))[0]) == "still here"


def test_arguments_too_large_to_carry_are_cut():
    conversation = Conversation()
    events = conversation.updated(call(status="in_progress", rawInput={"text": "x" * 200_000}), BEGAN)
    shown = next(event for event in events if event["type"] == "tool_start")["args"]
    assert len(shown["input"]) < 70_000
