"""`ls --watch`: the list as it changes."""

import json
import signal

from cli_mesh import ControlSocket, agent
from cli_process import Running


def names(line: str) -> list[str]:
    return [one["name"] for one in json.loads(line)]


def test_changes_are_shown_as_they_come(mesh: ControlSocket):
    with Running("ls", "--watch", "--json") as watching:
        watching.wait_for("\n")
        mesh.do(mesh.mesh.change, agent("api"))
        watching.wait_for("\n", times=2)
        mesh.do(mesh.mesh.change, agent("api", state="stuck"), gone=("a-backend-den",))
        watching.wait_for("\n", times=3)
        done = watching.end(signal.SIGINT)
    first, second, third = done.out.splitlines()
    assert names(first) == ["backend", "frontend"]
    assert names(second) == ["api", "backend", "frontend"]
    assert names(third) == ["api", "frontend"]
    assert json.loads(third)[0]["state"] == "stuck"
    assert len(mesh.asked("mesh.get")) == 1


def test_after_a_hole_the_mesh_is_asked_again(mesh: ControlSocket):
    with Running("ls", "--watch", "--json") as watching:
        watching.wait_for("\n")
        mesh.do(mesh.mesh.add, agent("missed"))
        mesh.do(mesh.mesh.change, agent("api"), skip=1)
        watching.wait_for("\n", times=2)
        done = watching.end(signal.SIGINT)
    assert names(done.out.splitlines()[1]) == ["api", "backend", "frontend", "missed"]
    assert len(mesh.asked("mesh.get")) == 2


def test_a_lost_connection_is_made_again(mesh: ControlSocket):
    with Running("ls", "--watch", "--json") as watching:
        watching.wait_for("\n")
        mesh.vanish()
        watching.wait_for_error("coming back by itself")
        mesh.do(mesh.mesh.add, agent("api"))
        mesh.listen()
        watching.wait_for("api")
        done = watching.end(signal.SIGINT)
    assert done.code == 130
