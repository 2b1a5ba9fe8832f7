"""`hyperpi queue`, against a scripted control socket."""

from cli_mesh import ControlSocket
from cli_process import Run

WAITS = {
    "id": "p-1f3a",
    "text": "then the tests",
    "mode": "follow_up",
    "source": "cli",
    "images": 0,
    "at": "2026-01-01T10:00:00.000Z",
    "where": "agent",
}


def test_what_waits_is_listed(mesh: ControlSocket, run: Run):
    mesh.mesh.agents["a-frontend-den"]["queue"] = [WAITS]
    done = run("queue", "frontend")
    assert (done.code, done.err) == (0, "")
    assert "p-1f3a" in done.out and "then the tests" in done.out
    assert run("queue", "frontend", "--json").json == [WAITS]


def test_what_an_ended_agent_had_not_taken_is_listed_as_that(mesh: ControlSocket, run: Run):
    mesh.mesh.agents["a-frontend-den"]["queue"] = [{**WAITS, "where": "lost"}]
    out = run("queue", "frontend").out
    assert "then the tests" in out and "not taken" in out


def test_a_text_that_is_only_a_beginning_is_marked_as_that(mesh: ControlSocket, run: Run):
    mesh.mesh.agents["a-frontend-den"]["queue"] = [{**WAITS, "cut": 4_000}]
    assert "then the tests…" in run("queue", "frontend").out


def test_a_queue_that_nobody_could_be_asked_for_is_not_told_as_empty(mesh: ControlSocket, run: Run):
    mesh.mesh.agents["a-frontend-den"]["detail"] = "den is disconnected; it was working when last heard of"
    done = run("queue", "frontend")
    assert (done.code, done.out) == (1, "")
    assert "not known: den is disconnected" in done.err
