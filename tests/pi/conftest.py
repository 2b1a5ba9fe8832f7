"""Fixtures: a scripted model, a rig around it, and a stand-in for the node."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from model_server import ModelServer, model_server
from rig import PiRig, short_folder
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


@pytest.fixture
def rig(tmp_path: Path, home: Path, model: ModelServer) -> PiRig:
    return PiRig(tmp_path / "rig", home, model.url)


@pytest.fixture
async def node(home: Path) -> AsyncIterator[StandIn]:
    stand_in = await StandIn(home, home / "agent.sock").start()
    yield stand_in
    await stand_in.stop()
