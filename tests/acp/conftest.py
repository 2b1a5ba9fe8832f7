"""Paths of the rigs that these tests share with others, and a program on /ws."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "live", HERE.parent / "pi"):
    sys.path.insert(0, str(folder))

from live import Program, System  # noqa: E402  found through the paths above


@pytest.fixture
async def program(system: System) -> AsyncIterator[Program]:
    """A program on /ws with the operator's token."""
    async with system.program() as found:
        yield found
