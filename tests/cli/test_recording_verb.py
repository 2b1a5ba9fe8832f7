"""`hyperpi recording`: all pieces of it, in a file or on stdout."""

import json
from pathlib import Path

from cli_mesh import ControlSocket
from cli_process import Run


def test_a_recording_is_written_whole(mesh: ControlSocket, run: Run, tmp_path: Path):
    folder = tmp_path / "casts"
    folder.mkdir()
    file = folder / "shell.cast"
    done = run("recording", "frontend", "-o", str(file))
    assert (done.code, done.out) == (0, "")
    assert f"2 events of 2 s in {file}" in done.err
    header, *events = [json.loads(line) for line in file.read_text().splitlines()]
    assert header["version"] == 2
    assert [event[2] for event in events] == ["one\r\n", "\u202etwo"]
    assert [path.name for path in folder.iterdir()] == ["shell.cast"]
    told = run("recording", "frontend", "-o", str(file), "--json").json
    assert told == {"file": str(file), "events": 2, "seconds": 2.5, "bytes": file.stat().st_size}


def test_on_stdout_it_steers_no_terminal(mesh: ControlSocket, run: Run):
    done = run("recording", "frontend")
    assert done.code == 0
    assert len([json.loads(line) for line in done.out.splitlines()]) == 3
    assert "\u202e" not in done.out


def test_what_cannot_be_written_leaves_nothing_behind(mesh: ControlSocket, run: Run, tmp_path: Path):
    folder = tmp_path / "casts"
    folder.mkdir()
    kept = folder / "kept.cast"
    kept.write_text("before")
    mesh.mesh.answers["agent.recording"] = {"lines": [], "next": None}
    done = run("recording", "frontend", "-o", str(kept))
    assert done.code == 1
    assert "nothing of its terminal was recorded" in done.err
    assert kept.read_text() == "before"
    assert [path.name for path in folder.iterdir()] == ["kept.cast"]
    assert run("recording", "frontend", "-o", str(tmp_path / "no" / "x.cast")).code == 1
    assert run("recording", "frontend", "--json").code == 2
