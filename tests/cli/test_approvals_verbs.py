"""What agents wait for, from the command: listed, watched, approved, denied."""

import signal
from typing import Any

import pytest
from cli_mesh import ControlSocket, Refused, agent
from cli_process import Run, Running

Json = dict[str, Any]

YES_NO = [
    {"id": "approve", "label": "Approve", "kind": "allow_once"},
    {"id": "deny", "label": "Deny", "kind": "reject_once"},
]
SELECT = [
    {"id": "0", "label": "staging", "kind": "option"},
    {"id": "1", "label": "production", "kind": "option"},
    {"id": "cancel", "label": "Cancel", "kind": "reject_once"},
]
TEXT = [{"id": "submit", "label": "Answer", "kind": "text"}, SELECT[-1]]


def asked(approval: str, **more: Any) -> Json:
    """An Approval of the contract, with its agent's address."""
    detail = {"tool": "bash", "args": {"command": "rm -rf build"}, "cwd": "/srv", "reasons": ["rm deletes"]}
    return {
        "id": approval,
        "agent": "a-frontend-den",
        "address": "frontend@den",
        "action": {"kind": "tool", "summary": "bash: rm -rf build", "hash": "h", "detail": detail},
        "choices": YES_NO,
        "asked_at": "2026-01-05T10:00:00.000Z",
        "expires_at": "2999-01-05T10:10:00.000Z",
        "state": "pending",
        **more,
    }


@pytest.fixture
def waiting(mesh: ControlSocket) -> list[Json]:
    """What waits; answers go through the stand-in as a node would have them."""
    listed: list[Json] = []

    def found(params: Json) -> Json:
        return {"approvals": [a for a in listed if params["state"] in (None, a["state"])], "complete": True}

    def answer(params: Json) -> Json:
        one = next(one for one in listed if one["id"] == params["approval"])
        if one["state"] != "pending":
            raise Refused(-32009, f"too late: {one['state']} by {one['by']}")
        kind = next(c["kind"] for c in one["choices"] if c["id"] == params["choice"])
        state = "denied" if kind.startswith("reject") else "approved"
        one |= {"state": state, "by": "ann", "via": "cli", "choice": params["choice"]}
        one |= {"note": params.get("note")}
        return {"approval": one}

    mesh.mesh.answers |= {"approval.list": found, "agent.answer": answer}
    return listed


def test_what_waits_is_shown_whole_with_the_time_that_is_left(waiting: list[Json], run: Run):
    edit = {"tool": "edit", "args": {"path": "../x.py", "edits": [{"oldText": "a\nb", "newText": "c"}]}}
    waiting += [
        asked("ap-one"),
        asked("ap-two", action={"kind": "tool", "summary": "edit: ../x.py", "hash": "i", "detail": edit}),
    ]
    out = run("approvals").out
    assert "frontend@den · ap-one" in out
    assert "  command: rm -rf build\n" in out
    assert "  since: rm deletes\n" in out
    assert "  in /srv\n" in out
    assert "  - a\n  - b\n  + c\n" in out
    assert "d left" in out


def test_without_any_it_says_so(waiting: list[Json], run: Run):
    done = run("approvals")
    assert (done.code, done.out, done.err) == (0, "", "nobody waits for you\n")
    assert run("approvals", "--json").json == []


def test_an_approval_is_answered_by_how_its_id_begins(waiting: list[Json], mesh: ControlSocket, run: Run):
    waiting.append(asked("ap-one"))
    done = run("approve", "ap-o", "--note", "go on")
    assert (done.code, done.out) == (0, "approved by ann (go on): bash: rm -rf build\n")
    params = {"agent": "a-frontend-den", "approval": "ap-one", "choice": "approve", "note": "go on"}
    assert mesh.asked("agent.answer") == [params]


def test_a_denial_is_told_as_one_document(waiting: list[Json], run: Run):
    waiting.append(asked("ap-one"))
    done = run("deny", "ap-one", "--json")
    assert (done.code, done.json["state"], done.json["id"]) == (0, "denied", "ap-one")


def test_whoever_is_late_hears_who_was_faster(waiting: list[Json], run: Run):
    waiting.append(asked("ap-one", state="denied", by="bob"))
    done = run("approve", "ap-one")
    assert done.code == 1
    assert "too late: denied by bob" in done.err
    assert "bob" in run("approvals", "--all").out


def test_a_beginning_that_fits_several_or_none_is_refused(waiting: list[Json], run: Run):
    waiting += [asked("ap-one"), asked("ap-two")]
    done = run("approve", "ap-")
    assert (done.code, "ap-" in done.err) == (1, True)
    assert "no approval nix" in run("deny", "nix").err
    assert [one["state"] for one in waiting] == ["pending", "pending"]


@pytest.mark.parametrize(
    ("choices", "argv", "choice"),
    [
        (SELECT, ["--choice", "production"], "1"),
        (SELECT, ["--choice", "0"], "0"),
        (TEXT, ["--text", "db-9"], "submit"),
    ],
)
def test_questions_with_answers_of_their_own_are_answered(
    waiting: list[Json], mesh: ControlSocket, run: Run, choices: list[Json], argv: list[str], choice: str
):
    waiting.append(asked("ui-1", choices=choices))
    done = run("approve", "ui-1", *argv)
    assert (done.code, done.out.startswith("answered by ann")) == (0, True)
    (params,) = mesh.asked("agent.answer")
    assert params["choice"] == choice
    assert params.get("text") == (argv[1] if argv[0] == "--text" else None)


def test_a_question_without_a_plain_yes_says_how_it_is_answered(waiting: list[Json], run: Run):
    waiting += [asked("ui-1", choices=SELECT), asked("ui-2", choices=TEXT)]
    assert "choose with --choice: 0 (staging), 1 (production)" in run("approve", "ui-1").err
    assert "answer with --text" in run("approve", "ui-2").err
    assert run("deny", "ui-1").out.startswith("denied by ann")


def test_each_one_that_comes_is_shown_once_while_somebody_watches(waiting: list[Json], mesh: ControlSocket):
    with Running("approvals", "--watch") as watching:
        waiting.append(asked("ap-one"))
        mesh.do(mesh.mesh.change, agent("frontend", state="waiting", pending=1, detail="one"))
        watching.wait_for("ap-one")
        waiting.append(asked("ap-two"))
        mesh.do(mesh.mesh.change, agent("frontend", state="waiting", pending=2, detail="two"))
        watching.wait_for("frontend@den · ap-two")
        done = watching.end(signal.SIGINT)
    assert done.out.count("frontend@den · ap-one") == 1


def test_the_policy_of_an_agent_is_shown_and_set(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["agent.policy"] = lambda params: {"mode": params["mode"] or "auto", "from": "operator"}
    assert run("policy", "frontend", "ask-all").out == "frontend: ask-all (operator)\n"
    assert run("policy", "frontend", "node.toml", "--json").json["mode"] == "auto"
    assert mesh.asked("agent.policy")[-1] == {"agent": "frontend", "mode": None}
    assert run("policy", "frontend", "yolo").code == 2
