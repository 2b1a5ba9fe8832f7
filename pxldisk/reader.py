"""Looking at a disk without writing it. Blocks; takes no lock, so the disk may be open elsewhere."""

import time
from pathlib import Path

from . import bank, journal, recovery
from .errors import Corrupt
from .lock import holder
from .memory import Memory

_ATTEMPTS = 20
_PAUSE_S = 0.01  # longer than a write in place takes, so that the next look sees it done


def look(path: Path) -> Memory:
    """A disk's records: of a folder with all its banks and its journal, or of one picture alone.

    Raises ForeignPicture, Corrupt, OSError. Damaged rows are in the result's `damage`.
    """
    for _ in range(_ATTEMPTS):
        try:
            memory = _look(path)
        except Corrupt:
            if holder(_folder(path)) is None:
                raise
        else:
            if not any(memory.damage.values()) or holder(_folder(path)) is None:
                return memory
        time.sleep(_PAUSE_S)  # a writer may be half-way through a row
    return _look(path)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _look(path: Path) -> Memory:
    folder = _folder(path)
    if path.is_dir():
        loaded = recovery.load_banks(folder)
        numbers = journal.segment_numbers(folder / "log")
        segment = journal.read_segment(journal.segment_path(folder / "log", numbers[-1])) if numbers else None
    else:
        one = bank.load(path)
        loaded, segment = {one.superblock.bank: one}, None
    first = next(iter(loaded.values())).superblock
    memory = Memory(folder, first, max_payload=0, keep_keys=0)
    if segment is not None:
        recovery.check_belongs(folder, loaded, segment)
        recovery.redo(folder, loaded, segment)
    for one in loaded.values():
        memory.add_bank(one.superblock, one.picture)
    return memory
