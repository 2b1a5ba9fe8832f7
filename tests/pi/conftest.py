"""Fixtures: a scripted model, a rig around it, and a stand-in for the node."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from model_server import ModelServer, model_server
from rig import PIS, PiRig, short_folder
from stand_in import StandIn

sys.path.append(str(Path(__file__).resolve().parent.parent / "live"))  # a whole system, for some of these


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def home() -> Iterator[Path]:
    """Hyper-Pi's home, short enough to hold a socket too."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(params=PIS)
def rig(request: pytest.FixtureRequest, tmp_path: Path, home: Path, model: ModelServer) -> PiRig:
    program = PIS[request.param]
    if program is None:
        pytest.skip(f"no pi {request.param}: see scripts/fetch_pi.sh")
    return PiRig(tmp_path / "rig", home, model.url, program)


@pytest.fixture
async def node(home: Path) -> AsyncIterator[StandIn]:
    stand_in = await StandIn(home, home / "agent.sock").start()
    yield stand_in
    await stand_in.stop()
