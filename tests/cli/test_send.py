"""Scrolls: sent once, waited for as long as there is something to wait for."""

from typing import Any

import pytest
from cli_mesh import ControlSocket, Refused
from cli_process import Run

from hyperpi.cli import send as send_verb


def receipt(state: str, to: str = "frontend@den", **fields: Any) -> dict[str, Any]:
    return {"to": to, "state": state, "at": "2026-01-05T10:00:00.000Z", **fields}


def opcode(content: Any, kind: str = "text_display") -> dict[str, Any]:
    return {"opcode_id": "OPCODE-1", "opcode_type": kind, "content": content}


@pytest.fixture
def answering(mesh: ControlSocket) -> ControlSocket:
    """A mesh whose agents answer every scroll."""
    mesh.mesh.reply_to_scrolls = lambda scroll: [
        receipt("relayed"),
        receipt("delivered"),
        receipt("answered", opcode=opcode(f"read: {scroll['message']}")),
    ]
    return mesh


def test_a_scroll_is_sent_with_what_was_said_of_it(mesh: ControlSocket, run: Run):
    argv = ["--ttl", "1h", "--intent", "handoff", "--from", "lead", "--reply-to", "SCROLL-0", "--json"]
    done = run("send", "client@attic", "-", *argv, stdin="schema\nchanged")
    (asked,) = mesh.asked("scroll.send")
    assert done.json == {
        "scroll_id": asked["scroll_id"],
        "state": "accepted",
        "at": "2026-01-05T10:00:00.000Z",
        "receipts": [],
    }
    assert asked.pop("scroll_id").startswith("SCROLL-")
    assert asked == {
        "to": "client@attic",
        "message": "schema\nchanged",
        "ttl_s": 3600.0,
        "intent": "handoff",
        "from": "lead",
        "reply_to": "SCROLL-0",
    }


def test_waiting_prints_the_opcode(answering: ControlSocket, run: Run):
    assert run("send", "frontend", "hello", "--wait").out == "read: hello\n"
    done = run("send", "frontend", "hello", "--wait", "--json")
    assert done.code == 0
    assert done.json["state"] == "answered"
    assert done.json["opcode"]["content"] == "read: hello"


def test_an_opcode_that_is_no_text_is_printed_as_json(mesh: ControlSocket, run: Run):
    mesh.mesh.reply_to_scrolls = lambda _: [receipt("answered", opcode=opcode({"row": 9}, "write"))]
    assert run("send", "frontend", "hello", "--wait").out == '{"row": 9}\n'


def test_an_error_for_an_answer_is_printed_and_is_exit_code_1(mesh: ControlSocket, run: Run):
    mesh.mesh.reply_to_scrolls = lambda _: [receipt("answered", opcode=opcode("no such table", "error"))]
    done = run("send", "frontend", "hello", "--wait")
    assert (done.code, done.out) == (1, "no such table\n")
    assert done.err == "hyperpi: frontend answered with an error\n"


@pytest.mark.parametrize("state", ["expired", "refused", "unknown"])
def test_a_scroll_that_is_not_answered_is_exit_code_1_with_the_reason(
    mesh: ControlSocket, run: Run, state: str
):
    mesh.mesh.reply_to_scrolls = lambda _: [receipt(state, reason="nobody is there")]
    done = run("send", "frontend", "hello", "--wait", "--json")
    assert done.code == 1
    assert (done.json["state"], done.json["opcode"]) == (state, None)
    assert f"it is {state}: nobody is there" in done.err


def test_a_notice_that_was_lost_is_made_up_for_by_asking(
    mesh: ControlSocket, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(send_verb, "LOOK_S", 0.1)
    answered = receipt("answered", opcode=opcode("late"))

    def get(params: dict[str, Any]) -> dict[str, Any]:
        receipts = [answered] if len(mesh.asked("scroll.get")) > 2 else [receipt("relayed")]
        return {**mesh.mesh.scrolls[params["scroll_id"]], "receipts": receipts}

    mesh.mesh.answers["scroll.get"] = get
    assert run("send", "frontend", "hello", "--wait").out == "late\n"


def test_waiting_outlives_a_hypivisor_that_restarts(
    mesh: ControlSocket, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(send_verb, "LOOK_S", 0.1)

    def get(params: dict[str, Any]) -> Any:
        if len(mesh.asked("scroll.get")) == 1:
            return mesh._drop()
        if len(mesh.asked("scroll.get")) == 2:
            raise Refused(-32004, "no scroll: its node is not linked yet")
        return {
            **mesh.mesh.scrolls[params["scroll_id"]],
            "receipts": [receipt("answered", opcode=opcode("ok"))],
        }

    mesh.mesh.answers["scroll.get"] = get
    assert run("send", "frontend", "hello", "--wait").out == "ok\n"
    assert mesh.connections == 2


def test_waiting_ends_with_the_time_to_live(mesh: ControlSocket, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(send_verb, "LATE_S", 0.1)
    mesh.mesh.reply_to_scrolls = lambda _: [receipt("stored")]
    done = run("send", "frontend", "hello", "--ttl", "0.1s", "--wait", "--json")
    assert done.code == 1
    assert done.json["state"] == "stored"
    assert "no answer from frontend in time" in done.err


def test_of_several_recipients_every_answer_is_waited_for(mesh: ControlSocket, run: Run):
    mesh.mesh.reply_to_scrolls = lambda _: [
        receipt("relayed", "a@den"),
        receipt("relayed", "b@den"),
        receipt("answered", "a@den", opcode=opcode("yes")),
        receipt("refused", "b@den", reason="has ended"),
    ]
    done = run("send", "*@den", "hello", "--wait")
    assert done.code == 0
    assert done.out == "a@den: yes\n"
    assert done.err == "b@den: refused has ended\n"


def test_scrolls_are_listed_with_what_became_of_them(answering: ControlSocket, run: Run):
    run("send", "frontend", "hello")
    listed = run("scrolls").out
    assert "answered" in listed
    assert "read: hello" in listed
    assert run("scrolls", "--state", "expired", "--json").json == []


def test_machines_that_could_not_be_asked_are_said(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["scroll.list"] = {"scrolls": [], "complete": False}
    done = run("scrolls", "--json")
    assert done.json == []
    assert "some machines could not be asked" in done.err
