"""One live system per module of tests that leave it as they found it."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parents[1] / "pi"))

from live import Program, System, new_system


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """`hyperpi up` with its node, for a whole module."""
    with new_system() as found:
        found.start()
        yield found


@pytest.fixture
async def program(system: System) -> AsyncIterator[Program]:
    """A program on /ws with the operator's token."""
    async with system.program() as found:
        yield found
