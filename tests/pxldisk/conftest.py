"""Folders for disks under test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_rig import SHM
from hypothesis import settings

settings.register_profile("long", max_examples=200)  # pytest … --hypothesis-profile=long


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a disk is made; it does not exist yet."""
    return tmp_path / "disk"


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder where syncing costs nothing, for tests that open a disk a thousand times."""
    if not SHM.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="pxldisk-", dir=SHM))
    yield made
    shutil.rmtree(made)
