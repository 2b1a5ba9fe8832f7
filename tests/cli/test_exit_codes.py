"""Exit codes, one-line reasons, and silence where silence is due."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_mesh import ControlSocket, Refused, agent
from cli_process import COMMAND, Run, Running, run_alone

from hyperpi.cli import client as cli_client


def test_nothing_to_talk_to_is_exit_code_3_and_says_how_to_start(home: Path):
    done = run_alone("ls")
    assert done.code == 3
    assert done.out == ""
    assert done.err.splitlines() == [
        "hyperpi: nothing to talk to",
        "  -> start with `hyperpi up`, or `hyperpi node run`",
    ]


def test_a_list_is_exit_code_0(mesh: ControlSocket):
    done = run_alone("ls")
    assert (done.code, done.err) == (0, "")
    assert "frontend@den" in done.out


@pytest.mark.parametrize(
    "argv",
    [
        ["lss"],
        ["ls", "--colour"],
        ["show"],
        ["prompt", "frontend"],
        ["prompt", "frontend", "x", "--steer", "--follow-up"],
        ["prompt", "frontend", "  "],
        ["token", "create", "--ttl", "soon"],
        ["token", "create", "--role", "owner"],
        ["attach", "frontend", "--from", "7"],
        ["disk", "replay", "--at", "noon"],
        ["spawn", "relative/path", "--node", "attic"],
        ["spawn", "/srv", "extra"],
        ["node", "lss"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_points_to_the_help(mesh: ControlSocket, run: Run, argv: list[str]):
    done = run(*argv)
    assert done.code == 2
    assert done.out == ""
    reason, hint = done.err.splitlines()
    assert reason.startswith("hyperpi: ")
    assert "--help" in hint


def test_a_verb_that_is_nearly_right_is_told(home: Path, run: Run):
    assert "did you mean ls" in run("lss").err
    assert "did you mean approve" in run("node", "aprove").err


def test_a_refusal_is_exit_code_1_with_the_servers_words(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["agent.stop"] = Refused(
        -32001, "agent.stop is not for the role viewer", hint="it needs the role operator"
    )
    done = run("stop", "frontend")
    assert done.code == 1
    assert done.err.splitlines() == [
        "hyperpi: agent.stop is not for the role viewer",
        "  -> it needs the role operator",
    ]


def test_an_ambiguous_name_lists_every_candidate(mesh: ControlSocket, run: Run):
    mesh.mesh.add(agent("frontend", "n-attic", "attic"))
    done = run("show", "frontend")
    assert done.code == 1
    assert done.err.splitlines()[1] == "  -> say which: frontend@attic, frontend@den"


def test_a_bug_is_one_line_and_its_traceback_is_for_who_asks(mesh: ControlSocket):
    mesh.mesh.answers["mesh.get"] = {"agents": [{"name": "without an id"}]}
    done = run_alone("ls")
    assert done.code == 1
    assert len(done.err.splitlines()) == 2
    assert "Traceback" not in done.err
    assert "Traceback" in run_alone("ls", HYPERPI_LOG="debug").err


@pytest.mark.parametrize("answer", [b"\x00\xff\n", b"[]\n", b'"text"\n', b"{}\n", b"[" * 50_000 + b"\n"])
def test_what_is_no_json_rpc_is_said_in_one_line(mesh: ControlSocket, run: Run, answer: bytes):
    mesh.mesh.answers["mesh.get"] = answer
    done = run("ls")
    assert done.code == 1
    assert done.err.splitlines()[0] == "hyperpi: what came is not JSON-RPC"


def test_what_the_other_side_cannot_read_is_refused_and_not_waited_for(mesh: ControlSocket, run: Run):
    """It answers to nobody then: no id could be read."""
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "an integer of 21 digits"}}
    mesh.mesh.answers["mesh.get"] = json.dumps(refusal).encode() + b"\n"
    done = run("ls")
    assert done.code == 1
    assert done.err.splitlines()[0] == "hyperpi: an integer of 21 digits"


@pytest.mark.parametrize("argv", [["prompt", "frontend", "a byte \udcff"], ["show", "\udcff"]])
def test_what_is_not_utf_8_is_refused_before_it_is_sent(mesh: ControlSocket, run: Run, argv: list[str]):
    done = run(*argv)
    assert done.code == 1
    assert done.err.splitlines()[0] == "hyperpi: what was given is not UTF-8"


def test_a_connection_that_ends_before_the_answer_is_said(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["mesh.get"] = lambda _params: mesh._drop()
    done = run("ls")
    assert done.code == 1
    assert "connection" in done.err.splitlines()[0]


def test_a_broken_configuration_is_said_in_one_line(home: Path, run: Run):
    home.mkdir()
    (home / "config.toml").write_text("hypivisor = [")
    done = run("ls")
    assert done.code == 1
    assert "config.toml" in done.err.splitlines()[0]


# --- whom it asks -----------------------------------------------------------------------------------------


def test_a_run_json_whose_process_has_ended_counts_for_nothing(home: Path, run: Run):
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    (home / "hypivisor").mkdir(parents=True)
    (home / "hypivisor" / "run.json").write_text(json.dumps({"pid": ended.pid, "control": "/nowhere.sock"}))
    assert run("ls").code == 3


def test_a_run_json_without_a_listener_counts_for_nothing(home: Path, run: Run):
    (home / "hypivisor").mkdir(parents=True)
    known = {"pid": os.getpid(), "control": str(home / "gone.sock")}
    (home / "hypivisor" / "run.json").write_text(json.dumps(known))
    assert run("ls").code == 3


def test_the_local_hypivisor_goes_before_the_node(mesh: ControlSocket, home: Path, run: Run):
    with ControlSocket(home, "node") as node:
        assert run("ls", "--json").code == 0
        assert node.asked("mesh.get") == []
        assert len(mesh.asked("mesh.get")) == 1


def test_without_a_hypivisor_the_node_answers(home: Path, run: Run):
    with ControlSocket(home, "node") as node:
        node.mesh.add(agent("alone"))
        assert [one["name"] for one in run("ls", "--json").json] == ["alone"]


def test_a_hypivisor_that_hangs_is_passed_over_and_said(
    mesh: ControlSocket, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli_client, "ALIVE_S", 0.2)
    mesh.silent = True
    with ControlSocket(home, "node"):
        done = run("ls", "--json")
    assert done.json == []
    assert "does not answer; asking the node" in done.err


def test_a_hypivisor_that_hangs_alone_is_a_failure(
    mesh: ControlSocket, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli_client, "ALIVE_S", 0.2)
    mesh.silent = True
    done = run("ls")
    assert done.code == 1
    assert "runs but does not answer" in done.err


def test_a_flag_wins_over_the_environment(home: Path, tmp_path: Path, run: Run):
    other = tmp_path / "other"
    with ControlSocket(other) as served:
        served.mesh.add(agent("elsewhere"))
        assert run("ls", "--json").code == 3
        assert [one["name"] for one in run("ls", "--json", "--home", str(other)).json] == ["elsewhere"]
        assert [one["name"] for one in run("--home", str(other), "ls", "--json").json] == ["elsewhere"]


# --- silence --------------------------------------------------------------------------------------------


def test_ctrl_c_is_quiet(mesh: ControlSocket):
    with Running("ls", "--watch", "--json") as watching:
        watching.wait_for("frontend")
        done = watching.end(signal.SIGINT)
    assert done.code == 130
    assert done.err == ""


def test_a_reader_that_has_had_enough_is_no_failure(mesh: ControlSocket):
    mesh.mesh.add(*(agent(f"agent-{number}") for number in range(2_000)))
    process = subprocess.Popen([*COMMAND, "ls", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(15) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_list_imports_nothing_that_it_does_not_use(mesh: ControlSocket):
    heavy = "asyncio grpc msgspec numpy rich websockets cryptography zeroconf pxldisk node hypivisor pide"
    code = (
        "import sys\n"
        "from hyperpi.cli import boundary\n"
        "assert boundary.run(['ls', '--json']) == 0\n"
        f"sys.exit(' '.join(name for name in {heavy.split()!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- the hypivisor is away -------------------------------------------------------------------------------


@pytest.fixture
def alone(home: Path) -> Iterator[ControlSocket]:
    """The node of a machine that is in a mesh, and has no link to it."""
    with ControlSocket(home, "node") as served:
        served.mesh.role = "operator"
        served.mesh.answers["login.create"] = Refused(
            -32001, "login.create is not for the role operator", hint="it needs the role admin"
        )
        (home / "node" / "identity").mkdir()
        (home / "node" / "identity" / "mesh.json").write_text('{"mesh_name": "attics", "node_id": "n-den"}')
        yield served


@pytest.mark.parametrize("verb", [["ls"], ["node", "ls"]], ids=" ".join)
def test_a_list_of_this_machine_alone_says_that_it_is_that(alone: ControlSocket, run: Run, verb: list[str]):
    done = run(*verb)
    assert done.code == 0
    assert "the hypivisor of attics cannot be reached now; this machine alone is known" in done.err
    assert "-> `hyperpi doctor`" in done.err
    assert run(*verb, "--json").err == ""
    linked = json.loads(alone.run_json.read_text()) | {"linked": True}
    alone.run_json.write_text(json.dumps(linked))
    assert "cannot be reached" not in run(*verb).err


def test_what_needs_the_hypivisor_of_this_home_says_that_it_does_not_run(
    alone: ControlSocket, home: Path, run: Run
):
    (home / "hypivisor").mkdir()
    (home / "hypivisor" / "ca.pem").touch()
    done = run("login")
    assert done.code == 3
    assert "the hypivisor of this home, which does not run" in done.err
    assert "`hyperpi up`" in done.err
    assert "role" not in done.err


def test_what_is_for_admins_says_on_another_machine_where_one_is(alone: ControlSocket, run: Run):
    done = run("login")
    assert done.code == 1
    assert "run it on the hypivisor's machine" in done.err


def test_an_agent_is_told_its_own_reason(alone: ControlSocket, home: Path, run: Run):
    alone.mesh.role = "agent"
    alone.mesh.answers["login.create"] = Refused(
        -32001, "login.create is not for an agent", hint="ask a person"
    )
    (home / "hypivisor").mkdir()
    (home / "hypivisor" / "ca.pem").touch()
    done = run("login")
    assert (done.code, "not for an agent" in done.err, "ask a person" in done.err) == (1, True, True)
