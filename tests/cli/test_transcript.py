"""A conversation as text: nothing twice, nothing left out, nothing that steers a terminal."""

from typing import Any

from cli_mesh import entry

from hyperpi.cli.transcript import RESULT_LINES, Transcript


class Screen:
    """What a transcript wrote."""

    def __init__(self) -> None:
        self.text = ""
        self.transcript = Transcript(self._write, "frontend")

    def _write(self, text: str) -> None:
        self.text += text

    def events(self, *events: dict[str, Any]) -> str:
        before = len(self.text)
        for event in events:
            self.transcript.event(event)
        return self.text[before:]


def shown(*entries: dict[str, Any], **snapshot: Any) -> str:
    screen = Screen()
    screen.transcript.snapshot({"entries": list(entries), **snapshot})
    return screen.text


def delta(text: str, kind: str = "text", block: int = 0, message: str = "m1") -> dict[str, Any]:
    return {"type": f"{kind}_delta", "message_id": message, "block": block, "delta": text}


def ended(
    *blocks: dict[str, Any], message: str = "m1", role: str = "assistant", **fields: Any
) -> dict[str, Any]:
    done = {"id": f"e-{message}", "message_id": message, "role": role, "blocks": list(blocks), **fields}
    return {"type": "message_end", "message_id": message, "entry": done}


CALL = {"type": "tool_call", "call_id": "c1", "name": "bash", "args": {"command": "ls"}}
START = {"type": "tool_start", "call_id": "c1", "message_id": "m1", "name": "bash", "args": {"command": "ls"}}
END = {"type": "tool_end", "call_id": "c1", "result": "a\nb", "is_error": False, "duration_ms": 4}


def test_an_entry_has_a_heading_and_indented_text():
    assert shown(entry(1, "user", "one\n\ntwo\n", at=None)) == "\nyou\n  one\n\n  two\n"
    assert shown(entry(1, "assistant", "x", at=None)) == "\nfrontend\n  x\n"
    assert shown(entry(1, "user", "x", at=None, source="pide")) == "\nyou (pide)\n  x\n"


def test_every_kind_of_block_is_shown():
    blocks = [
        {"type": "thinking", "text": "hm"},
        CALL,
        {"type": "image", "mime": "image/png", "data": "…"},
        {"type": "hologram", "depth": 3},
    ]
    assert shown({"id": "e1", "role": "assistant", "blocks": blocks}).splitlines()[2:] == [
        "  hm",
        '  ▸ bash {"command": "ls"}',
        "  [image image/png]",
        '· hologram {"depth": 3}',
    ]


def test_a_streamed_message_is_not_printed_again_at_its_end():
    screen = Screen()
    text = screen.events(delta("Hel"), delta("lo"), ended({"type": "text", "text": "Hello"}))
    assert text == "\nfrontend\n  Hello\n"


def test_a_message_that_was_not_streamed_is_printed_at_its_end():
    assert Screen().events(ended({"type": "text", "text": "Hello"})) == "\nfrontend\n  Hello\n"


def test_thinking_and_text_of_one_message_stand_under_one_heading():
    text = Screen().events(delta("hm", "thinking", 0), delta("yes", "text", 1), delta("!", "text", 1))
    assert text == "\nfrontend\n  hm\n  yes!"


def test_a_tool_call_is_shown_once_whether_its_message_or_its_start_comes_first():
    once = '  ▸ bash {"command": "ls"}\n'
    assert Screen().events(ended(CALL), START).count(once) == 1
    assert Screen().events(START, ended(CALL)).count(once) == 1
    assert Screen().events(delta("I look"), ended(CALL), START).count(once) == 1


def test_a_result_is_shown_once():
    result = {"type": "tool_result", "call_id": "c1", "text": "a\nb", "is_error": False}
    assert Screen().events(START, END, ended(result, message="m2", role="tool")).count("    a\n") == 1
    assert Screen().events(START, ended(result, message="m2", role="tool"), END).count("    a\n") == 1


def test_a_long_result_is_cut_and_says_so():
    text = Screen().events({**END, "result": "\n".join(map(str, range(100)))})
    assert text.endswith(f"    {RESULT_LINES - 1}\n    … {100 - RESULT_LINES} more lines\n")


def test_what_was_running_at_the_snapshot_goes_on_where_it_was():
    screen = Screen()
    running = {
        "message_id": "m1",
        "role": "assistant",
        "blocks": [{"type": "text", "text": "Hel"}],
        "tools": [START],
    }
    screen.transcript.snapshot({"entries": [], "running": {**running, "tools": []}})
    screen.events(delta("lo"), ended({"type": "text", "text": "Hello"}))
    assert screen.text == "\nfrontend\n  Hello\n"


def test_an_entry_that_was_shown_is_not_shown_by_a_later_snapshot():
    screen = Screen()
    screen.events(ended({"type": "text", "text": "Hello"}))
    screen.transcript.snapshot({"entries": [{"id": "e-m1", "role": "assistant", "blocks": []}, entry(2)]})
    assert screen.text.count("Hello") == 1
    assert "entry 2" in screen.text


def test_an_interrupted_message_says_so():
    assert "(interrupted)" in Screen().events(ended({"type": "text", "text": "Hel"}, interrupted=True))
    assert "(interrupted)" in Screen().events(delta("Hel"), ended(interrupted=True))


def test_what_an_agent_was_saying_when_it_ended_is_marked_as_interrupted():
    end = {"type": "state", "state": "exited", "detail": "killed by SIGKILL", "interrupted": True}
    text = Screen().events(delta("Hel"), end)
    assert text.splitlines()[-3:] == ["  Hel", "  (interrupted)", "· exited: killed by SIGKILL"]
    assert "(interrupted)" not in Screen().events({"type": "state", "state": "exited", "detail": "quit"})


def test_states_notices_and_approvals_are_said_and_usage_is_not():
    text = Screen().events(
        {"type": "state", "state": "waiting", "detail": "asks"},
        {"type": "state", "state": "working"},
        {"type": "usage", "input_tokens": 3},
        {"type": "notice", "level": "warning", "text": "nearly full"},
        {"type": "approval", "approval": {"id": "q1", "state": "pending", "action": {"summary": "rm -r"}}},
    )
    assert text.splitlines() == ["· waiting: asks", "· nearly full", "· approval q1 (pending): rm -r"]


def test_an_unknown_event_is_never_dropped():
    assert Screen().events({"seq": 4, "type": "weather", "sky": "blue"}) == '· weather {"sky": "blue"}\n'
    assert "· _on_state" in Screen().events({"type": "_on_state"})


def test_output_of_an_agent_cannot_steer_the_terminal():
    evil = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \u202e"
    text = Screen().events(delta(evil), {**END, "result": evil}, {"type": evil, "x": evil})
    assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert "red" in text


def test_a_plan_shows_how_far_it_has_come_and_is_shown_again_when_it_changes():
    def plan(*states: str) -> dict[str, Any]:
        names = ("read", "write", "ship")
        steps = [{"text": name, "status": state} for name, state in zip(names, states, strict=True)]
        return ended({"type": "plan", "steps": steps}, role="note")

    screen = Screen()
    assert (
        screen.events(plan("in_progress", "pending", "pending")) == "\nplan\n  ◐ read\n  ○ write\n  ○ ship\n"
    )
    assert (
        screen.events(plan("completed", "in_progress", "unheard of"))
        == "\nplan\n  ✓ read\n  ◐ write\n  ○ ship\n"
    )


def test_a_compaction_is_told_with_the_beginning_of_what_was_kept() -> None:
    written: list[str] = []
    block = {
        "type": "summary",
        "of": "compaction",
        "text": "\n".join(map(str, range(40))),
        "tokens_before": 12_345,
    }
    entry = {"id": "e1", "role": "system", "blocks": [block]}
    Transcript(written.append, "lead").snapshot({"entries": [entry]})
    shown = "".join(written)
    assert "compacted: 12,345 tokens became this" in shown
    assert "28 more lines" in shown
