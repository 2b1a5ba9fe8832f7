"""`hyperpi doctor`: every check says what it found and how to mend it."""

import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_mesh import ControlSocket, Refused, node
from cli_process import Run

from hyperpi.cli import checks


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What is on the network and in the home of whoever runs these tests is no business of theirs."""
    monkeypatch.setenv("PI_CODING_AGENT_DIR", str(tmp_path / "agent"))
    monkeypatch.setitem(checks.CHECKS, "mdns", lambda facts: checks.Check("", checks.OK, "not asked"))
    with tempfile.TemporaryDirectory(prefix="hp-cli-") as sockets:
        monkeypatch.setenv("XDG_RUNTIME_DIR", sockets)
        yield


def by_name(run: Run) -> dict[str, dict[str, str | None]]:
    return {check["name"]: check for check in run("doctor", "--json").json}


def test_an_empty_home_is_in_order_but_for_what_does_not_run(home: Path, run: Run):
    done = run("doctor", "--json")
    found = {check["name"]: check for check in done.json}
    assert list(found) == list(checks.CHECKS)
    assert done.code == 0
    assert found["hypivisor"]["state"] == found["node"]["state"] == "warn"
    assert all(check["fix"] for check in done.json if check["state"] != "ok")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_running_parts_are_found(mesh: ControlSocket, home: Path, run: Run):
    with ControlSocket(home, "node"):
        found = by_name(run)
    assert (found["hypivisor"]["state"], found["node"]["state"]) == ("ok", "ok")
    assert "you are admin" in str(found["hypivisor"]["found"])


def test_a_home_that_cannot_be_written_fails_with_a_fix(tmp_path: Path, home: Path, run: Run):
    (tmp_path / "leads-nowhere").symlink_to(tmp_path / "nowhere" / "else")
    done = run("doctor", "--home", str(tmp_path / "leads-nowhere"))
    assert done.code == 1
    assert "fail  home" in done.out
    assert "choose another with HYPERPI_HOME" in done.out
    assert "home" in done.err


def test_a_full_disk_is_told_before_a_folder_that_others_can_read(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    assert "read by others" in str(by_name(run)["home"]["found"])
    monkeypatch.setattr(checks, "FULL_BYTES", 1 << 62)
    found = by_name(run)["home"]
    assert (found["state"], "is full" in str(found["found"])) == ("fail", True)


def test_a_part_that_hangs_or_refuses_is_a_finding_not_a_crash(mesh: ControlSocket, run: Run):
    mesh.mesh.answers["mesh.get"] = Refused(-32029, "too busy", hint="wait")
    done = run("doctor")
    assert done.code == 1
    assert "fail  hypivisor  too busy" in done.out
    assert "-> wait" in done.out


def test_a_node_of_another_version_is_told(mesh: ControlSocket, home: Path, run: Run):
    mesh.mesh.nodes["n-den"] = node("den", version="0.0.9")
    with ControlSocket(home, "node"):
        found = by_name(run)["node"]
    assert found["state"] == "warn"
    assert "0.0.9" in str(found["found"])


def test_a_clock_that_is_off_is_told(mesh: ControlSocket, run: Run):
    mesh.mesh.nodes["n-den"] = node("den", last_heard="2999-01-01T00:00:00.000Z")
    found = by_name(run)["clock"]
    assert found["state"] == "warn"
    assert "ahead of this machine" in str(found["found"])


def test_a_policy_that_cannot_be_read_is_told(home: Path, run: Run):
    (home / "node").mkdir(parents=True)
    (home / "node" / "node.toml").write_text("roots = 7")
    found = by_name(run)["policy"]
    assert found["state"] == "fail"
    assert "node.toml" in str(found["found"])


def test_a_port_that_is_taken_is_told(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(checks, "PIDE_PORT", taken.getsockname()[1])
        found = by_name(run)["ports"]
    assert found["state"] == "warn"
    assert "(Pi-DE)" in str(found["found"])


def test_pi_is_asked_for_its_version(home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pi = tmp_path / "bin" / "pi"
    pi.parent.mkdir()
    pi.write_text("#!/bin/sh\necho 0.73.1\n")
    pi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{pi.parent}:{os.environ['PATH']}")
    assert by_name(run)["pi"]["found"] == f"0.73.1 ({pi})"
    pi.write_text("#!/bin/sh\necho 'SyntaxError: no compile cache' >&2; exit 1\n")
    assert by_name(run)["pi"]["state"] == "fail"
    monkeypatch.setenv("PATH", "/nowhere")
    assert by_name(run)["pi"]["state"] == "warn"


def test_a_damaged_disk_is_told(home: Path, run: Run):
    disk = home / "node" / "disk"
    disk.mkdir(parents=True)
    (disk / "8.png").write_bytes(b"no picture")
    found = by_name(run)["disk"]
    assert found["state"] == "fail"
    assert "hyperpi disk repair" in str(found["fix"])
    assert json.dumps(found)


def test_pi_socket_is_told_when_it_is_missing_old_or_for_another_home(home: Path, run: Run, tmp_path: Path):
    assert by_name(run)["pi-socket"]["state"] == "warn"
    assert run("pi", "install").code == 0
    assert by_name(run)["pi-socket"]["state"] == "ok"
    assert run("pi", "install", "--home", str(tmp_path / "other")).code == 0
    assert "other" in str(by_name(run)["pi-socket"]["found"])
    assert run("pi", "install").code == 0
    (tmp_path / "agent" / "extensions" / "pi-socket" / "index.ts").write_text("// changed")
    assert "other files" in str(by_name(run)["pi-socket"]["found"])
