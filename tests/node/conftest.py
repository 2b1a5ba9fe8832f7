"""What tests of mirrors share: a small mesh in memory with two machines on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mirror_rig import Machine, Mesh

from node import mirroring


@pytest.fixture
def mesh() -> Mesh:
    """A mesh with nobody on it."""
    return Mesh()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paused is tried again soon: a test has no minute."""
    monkeypatch.setattr(mirroring, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(mirroring, "LAST_RETRY_S", 0.05)


@pytest.fixture
async def den(mesh: Mesh, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine with a disk."""
    async with mesh.machine("den", tmp_path / "den") as machine:
        yield machine


@pytest.fixture
async def attic(mesh: Mesh, tmp_path: Path) -> AsyncIterator[Machine]:
    """Another one."""
    async with mesh.machine("attic", tmp_path / "attic") as machine:
        yield machine
