"""`hyperpi pi …`: says what it writes and where."""

import json
import sys
from pathlib import Path

import pytest
from cli_process import Run


@pytest.fixture
def agent_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "agent"
    monkeypatch.setenv("PI_CODING_AGENT_DIR", str(path))
    return path


def test_installing_names_the_folder_and_the_home(agent_dir: Path, home: Path, run: Run):
    done = run("pi", "install", "--json")
    folder = agent_dir / "extensions" / "pi-socket"
    assert done.json == {"folder": str(folder), "home": str(home)}
    written = json.loads((folder / "install.json").read_text())
    assert written == {"home": str(home), "start": [sys.executable, "-m", "node", "run", "--log-file"]}
    status = run("pi", "status", "--json").json
    assert (status["installed"], status["current"], status["home"]) == (True, True, str(home))
    assert "up to date" in run("pi", "status").out


def test_removing_says_whether_there_was_anything(agent_dir: Path, run: Run):
    assert run("pi", "uninstall").out == "it was not installed\n"
    run("pi", "install")
    assert str(agent_dir) in run("pi", "uninstall").out
    assert run("pi", "status", "--json").json["installed"] is False
    assert "not installed" in run("pi", "status").out


def test_what_is_not_ours_is_left_alone(agent_dir: Path, run: Run):
    foreign = agent_dir / "extensions" / "pi-socket"
    foreign.mkdir(parents=True)
    (foreign / "index.ts").write_text("// somebody's own")
    done = run("pi", "install")
    assert done.code == 1
    assert "is not Hyper-Pi's pi-socket" in done.err
    assert (foreign / "index.ts").read_text() == "// somebody's own"


def test_a_folder_that_cannot_be_made_is_said_in_one_line(agent_dir: Path, run: Run):
    agent_dir.write_text("a file")
    done = run("pi", "install")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert str(agent_dir) in done.err
