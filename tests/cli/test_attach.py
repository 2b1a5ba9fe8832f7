"""Attaching: the whole history, then live, over lost connections; typed lines are prompts."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from cli_mesh import ControlSocket, Refused, entry
from cli_process import COMMAND, PATIENCE_S, Run, Running

FRONTEND = "a-frontend-den"

Eventually = Callable[[Callable[[], bool]], None]


def delta(text: str, message: str = "m1") -> dict[str, Any]:
    return {"type": "text_delta", "message_id": message, "block": 0, "delta": text}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def talk(mesh: ControlSocket) -> ControlSocket:
    """The agent frontend has said 120 things, more than one answer holds."""
    conversation = mesh.mesh.conversations[FRONTEND]
    conversation.entries += [entry(n, "user" if n % 2 else "assistant") for n in range(120)]
    mesh.do(mesh.mesh.say, FRONTEND, {"type": "state", "state": "idle"})
    return mesh


def test_the_whole_history_is_printed_once_and_in_order(talk: ControlSocket):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        done = attached.end(signal.SIGINT)
    said = [line.strip() for line in done.out.splitlines() if line.strip().startswith("entry")]
    assert said == [f"entry {n}" for n in range(120)]
    assert (done.code, done.err) == (130, "")


def test_events_are_shown_as_they_come(talk: ControlSocket):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        talk.do(talk.mesh.say, FRONTEND, delta("Hel"), delta("lo\nwor"))
        attached.wait_for("  Hello\n  wor")
        talk.do(talk.mesh.say, FRONTEND, delta("ld"))
        attached.wait_for("  Hello\n  world")
        assert attached.out.count("Hello") == 1
        talk.do(talk.mesh.say, FRONTEND, {"type": "never_heard_of", "what": {"deep": [1]}})
        attached.wait_for('· never_heard_of {"what": {"deep": [1]}}')


def test_json_is_a_snapshot_with_all_of_the_history_then_one_event_a_line(talk: ControlSocket):
    with Running("attach", "frontend", "--json") as attached:
        attached.wait_for("\n")
        talk.do(talk.mesh.say, FRONTEND, delta("a"), delta("b"))
        attached.wait_for('"delta": "b"')
        done = attached.end(signal.SIGINT)
    first, *events = lines(done.out)
    assert first["type"] == "snapshot"
    assert (first["agent"], first["resume"], first["epoch"], first["seq"]) == (FRONTEND, "fresh", "ep-1", 1)
    assert [one["id"] for one in first["snapshot"]["entries"]] == [f"e{n}" for n in range(120)]
    assert first["snapshot"]["more"] is False
    assert [event["seq"] for event in events] == [2, 3]
    assert done.err == ""


def test_from_a_cursor_there_is_no_history_but_what_was_missed(talk: ControlSocket):
    talk.do(talk.mesh.say, FRONTEND, delta("a"), delta("b"))
    with Running("attach", "frontend", "--json", "--from", "ep-1:2") as attached:
        attached.wait_for('"delta": "b"')
        done = attached.end(signal.SIGINT)
    first, *events = lines(done.out)
    assert first == {"type": "snapshot", "agent": FRONTEND, "resume": "ok", "epoch": "ep-1", "seq": 2}
    assert [event["seq"] for event in events] == [3]


def test_without_following_the_whole_conversation_is_printed_and_that_is_all(talk: ControlSocket, run: Run):
    done = run("attach", "frontend", "--no-follow")
    said = [line.strip() for line in done.out.splitlines() if line.strip().startswith("entry")]
    assert said == [f"entry {n}" for n in range(120)]
    assert (done.code, done.err) == (0, "")
    done = run("attach", "frontend", "--no-follow", "--json")
    assert done.code == 0 and len(done.json["snapshot"]["entries"]) == 120
    assert not talk.asked("agent.prompt")


def test_without_following_what_happened_since_a_cursor_is_printed(talk: ControlSocket, run: Run):
    talk.do(talk.mesh.say, FRONTEND, delta("a"), delta("b"))
    done = run("attach", "frontend", "--no-follow", "--json", "--from", "ep-1:1")
    assert done.code == 0
    assert [one.get("delta") for one in lines(done.out)] == [None, "a", "b"]
    done = run("attach", "frontend", "--no-follow", "--json", "--from", "ep-1:3")
    assert done.code == 0 and [one["type"] for one in lines(done.out)] == ["snapshot"]
    done = run("attach", "frontend", "--no-follow", "--json", "--from", "ep-0:3")
    assert done.code == 0 and len(lines(done.out)[0]["snapshot"]["entries"]) == 120
    assert run("attach", "frontend", "--no-follow", "--tty").code == 2


@pytest.mark.parametrize(
    "cursor", ["ep-1", ":2", "ep-1:x", "ep-1:-2", "ep-1:9223372036854775808", f"ep-1:{10**30}"]
)
def test_what_is_no_cursor_is_refused_before_anybody_is_asked(talk: ControlSocket, run: Run, cursor: str):
    done = run("attach", "frontend", "--from", cursor)
    assert done.code == 2
    assert "is not EPOCH:SEQ" in done.err


def test_from_a_cursor_that_is_no_longer_known_the_whole_history_comes(talk: ControlSocket):
    with Running("attach", "frontend", "--json", "--from", "ep-0:7") as attached:
        attached.wait_for("\n")
        done = attached.end(signal.SIGINT)
    assert lines(done.out)[0]["resume"] == "gap"
    assert len(lines(done.out)[0]["snapshot"]["entries"]) == 120


def test_a_lost_connection_is_made_again_and_nothing_is_missed_or_doubled(talk: ControlSocket):
    with Running("attach", "frontend", "--json") as attached:
        attached.wait_for("\n")
        talk.do(talk.mesh.say, FRONTEND, delta("before"))
        attached.wait_for("before")
        talk.vanish()
        attached.wait_for_error("coming back by itself")
        talk.do(talk.mesh.say, FRONTEND, delta("meanwhile"))
        talk.listen()
        attached.wait_for("meanwhile")
        talk.do(talk.mesh.say, FRONTEND, delta("after"))
        attached.wait_for("after")
        done = attached.end(signal.SIGINT)
    _, *events = lines(done.out)
    assert [event["seq"] for event in events] == [2, 3, 4]
    assert talk.asked("agent.attach")[-1] == {"agent": FRONTEND, "epoch": "ep-1", "seq": 2}
    assert [line for line in done.err.splitlines() if "coming back" in line or "back" in line] == [
        "hyperpi: the other side has ended the connection; coming back by itself",
        "hyperpi: back",
    ]


def test_what_was_not_kept_meanwhile_is_said_and_no_entry_is_printed_twice(talk: ControlSocket):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        talk.vanish()
        attached.wait_for_error("coming back by itself")
        conversation = talk.mesh.conversations[FRONTEND]
        conversation.epoch, conversation.entries = "ep-9", [*conversation.entries, entry(120)]
        talk.listen()
        attached.wait_for("entry 120")
        done = attached.end(signal.SIGINT)
    assert done.out.count("entry 119\n") == 1
    assert "some of what happened meanwhile was not kept" in done.out


def test_a_hole_in_the_events_is_never_passed_over(talk: ControlSocket):
    with Running("attach", "frontend", "--json") as attached:
        attached.wait_for("\n")
        conversation = talk.mesh.conversations[FRONTEND]
        conversation.events.append({"seq": 2, **delta("lost on the way")})
        conversation.seq = 2
        talk.do(talk.mesh.say, FRONTEND, delta("next"))
        attached.wait_for("next")
        done = attached.end(signal.SIGINT)
    seqs = [line["seq"] for line in lines(done.out) if line["type"] == "text_delta"]
    assert seqs == [2, 3]


def test_another_conversation_begins_anew(talk: ControlSocket):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        talk.do(talk.mesh.reset, FRONTEND, "new")
        attached.wait_for("the conversation changed (new)")
        attached.wait_for("frontend is idle", times=2)
        talk.do(talk.mesh.say, FRONTEND, delta("fresh start"))
        attached.wait_for("fresh start")
    assert "epoch" not in talk.asked("agent.attach")[-1]


def test_an_agent_that_is_away_while_it_begins_anew_is_waited_for(talk: ControlSocket):
    def away_twice(params: dict[str, Any]) -> Any:
        if len(talk.asked("agent.attach")) < 4:
            raise Refused(-32011, "frontend is unreachable: reloading")
        return talk.mesh._agent_attach(params)

    with Running("attach", "frontend", "--json") as attached:
        attached.wait_for("\n")
        talk.mesh.answers["agent.attach"] = away_twice
        talk.do(talk.mesh.reset, FRONTEND, "resume")
        attached.wait_for_error("frontend is unreachable: reloading; coming back by itself")
        attached.wait_for('"type": "snapshot"', times=2)
        done = attached.end(signal.SIGINT)
    assert [line["type"] for line in lines(done.out)] == ["snapshot", "reset", "snapshot"]


def test_a_closed_stdin_is_no_failure(talk: ControlSocket):
    talk.mesh.conversations[FRONTEND].state = "exited"
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *COMMAND, "attach", "frontend"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_typed_lines_are_prompts(talk: ControlSocket, eventually: Eventually):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        attached.type("fix the header")
        attached.type("   ")
        attached.type("and the footer")
        attached.wait_for("and the footer")
        eventually(lambda: len(talk.asked("agent.prompt")) == 2)
    first, second = talk.asked("agent.prompt")
    assert (first["text"], second["text"]) == ("fix the header", "and the footer")
    assert first["agent"] == FRONTEND
    assert first["id"] != second["id"]


def test_a_prompt_typed_while_the_line_is_down_arrives_once(talk: ControlSocket):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        talk.vanish()
        attached.wait_for_error("coming back by itself")
        attached.type("are you there?")
        talk.listen()
        attached.wait_for("are you there?")
    assert list(talk.mesh.prompts.values()) == ["are you there?"]


def test_a_prompt_that_is_refused_is_said(talk: ControlSocket):
    talk.mesh.answers["agent.prompt"] = Refused(-32001, "agent.prompt is not for the role viewer")
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        attached.type("hello")
        attached.wait_for_error("the prompt was not taken: agent.prompt is not for the role viewer")
    assert talk.mesh.prompts == {}


def test_the_end_of_stdin_does_not_end_the_attachment(talk: ControlSocket):
    with Running("attach", "frontend", "--json") as attached:
        assert attached.process.stdin is not None
        attached.process.stdin.close()
        attached.wait_for("\n")
        talk.do(talk.mesh.say, FRONTEND, delta("still here"))
        attached.wait_for("still here")


def test_prompts_from_a_pipe_end_the_attachment_once_they_are_worked_off(talk: ControlSocket):
    def state(now: str) -> dict[str, Any]:
        return {"type": "state", "state": now}

    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        attached.type("first")
        attached.type("second")
        assert attached.process.stdin is not None
        attached.process.stdin.close()
        attached.wait_for("second")
        talk.do(talk.mesh.say, FRONTEND, state("working"), delta("this is "), delta("my answer"))
        attached.wait_for("my answer")
        assert attached.process.poll() is None
        talk.do(talk.mesh.say, FRONTEND, state("idle"))
        assert attached.end().code == 0


def test_prompts_that_were_worked_off_before_the_pipe_ended_end_it_too(talk: ControlSocket):
    with Running("attach", "frontend", "--json") as attached:
        attached.wait_for("\n")
        attached.type("first")
        attached.wait_for("user_message")
        talk.do(talk.mesh.say, FRONTEND, {"type": "state", "state": "working"})
        talk.do(talk.mesh.say, FRONTEND, {"type": "state", "state": "idle"})
        attached.wait_for('"idle"', times=2)
        assert attached.process.poll() is None
        assert attached.process.stdin is not None
        attached.process.stdin.close()
        assert attached.end().code == 0


def test_a_refused_prompt_from_a_pipe_ends_the_attachment(talk: ControlSocket):
    talk.mesh.answers["agent.prompt"] = Refused(-32001, "agent.prompt is not for the role viewer")
    with Running("attach", "frontend") as attached:
        attached.type("hello")
        assert attached.process.stdin is not None
        attached.process.stdin.close()
        done = attached.end()
    assert "the prompt was not taken" in done.err


def test_it_ends_with_the_agent(talk: ControlSocket):
    with Running("attach", "frontend") as attached:
        attached.wait_for("frontend is idle")
        talk.do(talk.mesh.say, FRONTEND, {"type": "state", "state": "exited", "detail": "quit"})
        done = attached.end()
    assert done.code == 0
    assert done.out.endswith("· exited: quit\n")


def test_of_an_ended_agent_the_history_is_printed(talk: ControlSocket, run: Run):
    talk.mesh.conversations[FRONTEND].state = "exited"
    done = run("attach", "frontend")
    assert done.code == 0
    assert "entry 0\n" in done.out
    assert done.out.endswith("frontend is exited\n")


def test_of_an_ended_agent_it_is_said_why(talk: ControlSocket, run: Run):
    talk.mesh.conversations[FRONTEND].state = "exited"
    talk.mesh.agents[FRONTEND] |= {"state": "exited", "detail": "exit code 3: oops"}
    assert run("attach", "frontend").out.endswith("frontend is exited: exit code 3: oops\n")


def test_an_agent_that_is_not_there_is_exit_code_1(talk: ControlSocket, run: Run):
    done = run("attach", "nobody")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[0] == "hyperpi: no agent nobody"


def test_a_pipe_cannot_be_an_agents_terminal(talk: ControlSocket, run: Run):
    done = run("attach", "frontend", "--tty")
    assert done.code == 2
    assert "--tty needs a terminal on both sides" in done.err
    assert talk.asked("agent.attach") == []


def test_a_token_that_is_revoked_ends_it(talk: ControlSocket):
    with Running("attach", "frontend", "--json") as attached:
        attached.wait_for("\n")
        # Looked up where it serves: while a request is answered there, what is told is held for that answer.
        talk.do(lambda: talk.mesh.notify("connection.closing", {"code": 4001, "reason": "revoked"}))
        done = attached.end()
    assert done.code == 1
    assert "revoked" in done.err
    assert len(talk.asked("agent.attach")) == 1


def test_on_a_terminal_there_are_colours_unless_they_are_not_wanted(talk: ControlSocket):
    colour = re.compile(r"\x1b\[(\d+;)*(3|4|9)[0-7][;m]")
    assert colour.search(_on_a_terminal("attach", "frontend", until=b"entry 119"))
    assert not colour.search(_on_a_terminal("attach", "frontend", until=b"entry 119", NO_COLOR="1"))


def test_a_terminal_that_can_do_nothing_gets_lines(talk: ControlSocket):
    assert "\x1b" not in _on_a_terminal("attach", "frontend", until=b"frontend is idle", TERM="dumb")


def test_what_was_typed_before_a_denial_is_its_reason(talk: ControlSocket):
    kinds = {"y": "allow_once", "n": "reject_once"}
    choices = [{"id": id, "label": id, "kind": kind} for id, kind in kinds.items()]
    asked = {"id": "ap-1", "state": "pending", "action": {"summary": "bash: rm"}, "choices": choices}
    talk.mesh.answers["agent.answer"] = {"approval": asked}
    with _Terminal("attach", "frontend") as terminal:
        terminal.until(lambda: b"entry 119" in terminal.said)
        talk.do(talk.mesh.say, FRONTEND, {"type": "approval", "approval": asked})
        terminal.until(lambda: b"Alt-D deny" in terminal.said)
        terminal.types(b"use make clean")
        terminal.until(lambda: b"clean" in terminal.said)
        terminal.types(b"\x1bd")
        terminal.until(lambda: bool(talk.asked("agent.answer")))
    answer = {"approval": "ap-1", "choice": "n", "note": "use make clean"}
    assert talk.asked("agent.answer") == [{"agent": FRONTEND, **answer}]


def _on_a_terminal(*argv: str, until: bytes, **environment: str) -> str:
    """What the command writes to a terminal of its own, up to some text."""
    with _Terminal(*argv, **environment) as terminal:
        terminal.until(lambda: until in terminal.said)
        return terminal.said.decode()


class _Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *argv: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", **environment},
        )
        os.close(theirs)
        self.said = b""

    def __enter__(self) -> "_Terminal":
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)
        os.close(self._ours)

    def types(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def until(self, look: Callable[[], bool]) -> None:
        """Read on until that is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not look():
            assert time.monotonic() < deadline, self.said[-2_000:]
            if select.select([self._ours], [], [], 0.05)[0]:
                self.said += os.read(self._ours, 65_536)
