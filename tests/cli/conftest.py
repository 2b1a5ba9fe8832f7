"""Homes, stand-in meshes, and a way to run the command in this process."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_mesh import PATIENCE_S, ControlSocket, agent
from cli_process import Done, Run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an environment that says nothing else."""
    for name in ("HYPI_TOKEN", "HYPIVISOR", "HYPERPI_LOG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("HYPERPI_HOME", str(path))
    return path


@pytest.fixture
def mesh(home: Path) -> Iterator[ControlSocket]:
    """A hypivisor of this home with two agents."""
    with ControlSocket(home) as served:
        served.mesh.add(agent("frontend"), agent("backend", state="working", detail="turn 3"))
        yield served


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process."""
    from hyperpi.cli import boundary

    def run_here(*argv: str, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = boundary.run(argv)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run_here


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so."""

    def wait(so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not so():
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.01)

    return wait
