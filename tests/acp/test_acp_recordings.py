"""Recorded sessions of real ACP agents, played through the conversation."""

from typing import Any

import msgspec
import pytest
from recording import LOADS, TURNS, Json, Played, lines_of, play, text_of

from node.transcript import transcript


@pytest.fixture(params=TURNS + LOADS)
def recorded(request: pytest.FixtureRequest) -> Played:
    return play(request.param)


def test_every_message_that_begins_ends_with_what_was_streamed_of_it(recorded: Played):
    begun = [event["message_id"] for event in recorded.of_type("message_start")]
    entries = {event["message_id"]: event["entry"] for event in recorded.of_type("message_end")}
    assert len(set(begun)) == len(begun)
    assert set(begun) <= set(entries)
    for message_id in begun:
        streamed: dict[int, str] = {}
        for event in recorded.of_type("text_delta", "thinking_delta"):
            if event["message_id"] == message_id:
                streamed[event["block"]] = streamed.get(event["block"], "") + event["delta"]
        assert {at: block["text"] for at, block in enumerate(entries[message_id]["blocks"])} == streamed


def test_every_tool_is_told_before_its_result_and_has_one(recorded: Played):
    open_calls: set[str] = set()
    for event in recorded.of_type("tool_start", "tool_update", "tool_end"):
        if event["type"] == "tool_start":
            open_calls.add(event["call_id"])
        assert event["call_id"] in open_calls
    called = [b["call_id"] for e in recorded.entries for b in e["blocks"] if b["type"] == "tool_call"]
    results = [b["call_id"] for e in recorded.entries for b in e["blocks"] if b["type"] == "tool_result"]
    assert set(called) == open_calls
    assert called == results


def test_a_viewer_that_saw_only_the_events_has_the_entries(recorded: Played):
    """The node makes a conversation of the events alone for whoever comes after a crash."""
    events = [{**event, "seq": number} for number, event in enumerate(recorded.events, 1)]
    seen = transcript(map(msgspec.json.encode, events), ended=True)["entries"]
    shown = [(entry["role"], entry["blocks"]) for entry in recorded.entries]
    assert [(entry["role"], entry["blocks"]) for entry in seen] == shown


def test_nothing_is_running_when_a_recording_has_ended(recorded: Played):
    assert recorded.runnings[-1] is None
    assert any(running is not None for running in recorded.runnings)


@pytest.mark.parametrize("name", ["opencode", "pi-acp"])
def test_a_loaded_session_reads_as_it_did_when_it_was_lived(name: str):
    lived, loaded = play(f"{name}-turns"), play(f"{name}-load")
    # pi-acp begins its first message with a banner, which its session does not know.
    said = [
        text.removeprefix("pi v1.5.2\n---\n").lstrip() for text in lived.texts("user", "assistant") if text
    ]
    again = [text for text in loaded.texts("user", "assistant") if text]
    assert again[: len(said)] == said
    assert again[len(said) :] == ["again", "ECHO: again"]
    assert results_of(loaded) == results_of(lived)


def results_of(played: Played) -> list[tuple[str, bool]]:
    """Of commands alone: pi-acp tells a change of a file as the change, and loads it as words about it."""
    blocks = [block for entry in played.entries for block in entry["blocks"]]
    commands = {b["call_id"] for b in blocks if b["type"] == "tool_call" and b["name"] == "execute"}
    results = [b for b in blocks if b["type"] == "tool_result" and b["call_id"] in commands]
    return [(result["text"], result["is_error"]) for result in results]


def block_of(played: Played, kind: str, at: int) -> Json:
    found: list[Any] = [b for entry in played.entries for b in entry["blocks"] if b["type"] == kind]
    return found[at]


def test_a_tool_of_opencode_shows_its_command_and_what_it_printed():
    played = play("opencode-turns")
    call = block_of(played, "tool_call", 0)
    assert (call["name"], call["args"]["command"]) == ("execute", "echo tool-$((40+2))")
    assert block_of(played, "tool_result", 0)["text"] == "tool-42\n"
    assert played.permissions[0]["toolCall"]["rawInput"] == {"command": "echo tool-$((40+2))"}


def test_a_tool_is_not_told_before_its_arguments_are_known():
    for name in TURNS:
        for event in play(name).of_type("tool_start"):
            assert event["args"], f"{name}: {event}"


def test_a_tool_of_pi_acp_shows_what_it_printed_beside_the_protocol():
    played = play("pi-acp-turns")
    assert block_of(played, "tool_result", 0)["text"] == "tool-42\n"
    failed = block_of(played, "tool_result", -1)
    assert failed["is_error"]
    assert "exited with code 3" in failed["text"]


@pytest.mark.parametrize("name", ["opencode", "pi-acp"])
def test_a_change_of_a_file_is_told_as_the_change(name: str):
    calls = [b for e in play(f"{name}-turns").entries for b in e["blocks"] if b["type"] == "tool_call"]
    edits = [call["args"]["edits"] for call in calls if "edits" in call["args"]]
    assert [{"oldText": "uno", "newText": "due"}] in edits


def test_a_list_of_things_to_do_is_a_plan():
    plans = [entry for entry in play("opencode-turns").entries if entry["blocks"][0]["type"] == "plan"]
    assert [plan["blocks"][0]["steps"] for plan in plans] == [
        [
            {"text": "read", "status": "completed", "priority": "high"},
            {"text": "test", "status": "in_progress", "priority": "medium"},
            {"text": "ship", "status": "pending", "priority": "low"},
        ]
    ]


def test_thinking_and_the_answer_after_it_are_one_message():
    for name in ("opencode-turns", "pi-acp-turns"):
        entry = next(e for e in play(name).entries if e["blocks"] and e["blocks"][0]["type"] == "thinking")
        assert [block["type"] for block in entry["blocks"]] == ["thinking", "text"]
        assert [block["text"] for block in entry["blocks"]] == ["let me see", "an answer"]


def test_a_cancelled_turn_is_marked_and_the_next_one_is_not():
    entries = play("pi-acp-turns").entries
    marked = [at for at, entry in enumerate(entries) if entry.get("interrupted")]
    assert len(marked) == 1
    assert text_of(entries[marked[0]]).startswith("w0 w1 w2")
    assert text_of(entries[marked[0] + 1]) == "after cancel"


def test_a_refused_tool_has_failed():
    result = block_of(play("opencode-reject"), "tool_result", 0)
    assert result["is_error"]
    assert "reject" in result["text"]


def test_a_message_is_told_as_running_until_it_ends():
    running = [found for found in play("opencode-turns").runnings if found is not None]
    assert {"type": "text", "text": "ECHO: hello"} in [
        found["blocks"][0] for found in running if found["blocks"]
    ]
    tools = [tool for found in running for tool in found["tools"]]
    assert any(tool["name"] == "execute" and tool["result"] == "tool-42\n" for tool in tools)


def test_recordings_hold_the_traffic_of_both_sides():
    for name in TURNS + LOADS:
        assert {line["from"] for line in lines_of(name)} == {"client", "agent"}
