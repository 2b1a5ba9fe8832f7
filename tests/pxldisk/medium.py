"""A medium that loses power: records what a disk does to its files, and shows what may be left of it.

Every write, cut, sync, rename and deletion is recorded in order. After a power cut, what was synced is
there; of what was not, each sector of each write may be there or not. Names appear and disappear in the
order in which that was asked for, up to some point behind the last sync of their folder.
"""

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pxldisk import files

SECTOR = 512


class Event(NamedTuple):
    """One thing that was done. `file`: a number for each file ever made; `name`: relative to the folder."""

    what: str  # write | cut | sync | link | unlink | sync folder | told
    file: int = 0
    offset: int = 0
    content: bytes = b""
    name: str = ""
    told: Any = None


@dataclass
class Medium:
    """Records what happens below a folder, from when it is made."""

    folder: Path
    events: list[Event] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)  # of inodes that are in use
    _count: int = 0

    def record(self, patch: pytest.MonkeyPatch) -> None:
        """Listen to the functions that change files."""
        write, sync, sync_folder = files.write_all, files.sync, files.sync_folder
        replace, unlink, cut = os.replace, os.unlink, os.ftruncate

        def writing(fd: int, content: bytes | bytearray | memoryview, offset: int) -> None:
            write(fd, content, offset)
            self.events.append(Event("write", self._number(fd), offset, bytes(content)))

        def cutting(fd: int, length: int) -> None:
            cut(fd, length)
            self.events.append(Event("cut", self._number(fd), length))

        def syncing(fd: int) -> None:
            sync(fd)
            self.events.append(Event("sync", self._number(fd)))

        def syncing_folder(folder: Path) -> None:
            sync_folder(folder)
            self.events.append(Event("sync folder", name=self._name(folder)))

        def replacing(source: Path, target: Path) -> None:
            inode = os.stat(source).st_ino
            self._forget(target)
            replace(source, target)
            self.events.append(Event("link", self._numbers[inode], name=self._name(target)))

        def unlinking(path: Path, **options: Any) -> None:
            self._forget(path)
            unlink(path, **options)
            if self.folder in Path(path).parents:
                self.events.append(Event("unlink", name=self._name(path)))

        patch.setattr(files, "write_all", writing)
        patch.setattr(files, "sync", syncing)
        patch.setattr(files, "sync_folder", syncing_folder)
        patch.setattr(os, "ftruncate", cutting)
        patch.setattr(os, "replace", replacing)
        patch.setattr(os, "unlink", unlinking)

    def tell(self, told: Any) -> None:
        """Somebody was told that this is stored."""
        self.events.append(Event("told", told=told))

    def after_a_cut(self, end: int, chance: random.Random, target: Path) -> None:
        """Make `target` what may be left when the power fails behind the first `end` events."""
        contents: dict[int, bytearray] = {}
        waiting: dict[int, list[Event]] = {}
        names: list[Event] = []
        synced: dict[str, int] = {}
        for event in self.events[:end]:
            if event.what in ("write", "cut"):
                waiting.setdefault(event.file, []).append(event)
            elif event.what == "sync":
                apply(contents.setdefault(event.file, bytearray()), waiting.pop(event.file, []), always)
            elif event.what in ("link", "unlink"):
                names.append(event)
            elif event.what == "sync folder":
                synced[event.name] = len(names)
        for number, events in waiting.items():
            apply(contents.setdefault(number, bytearray()), events, lambda: chance.random() < 0.5)
        shown: dict[str, int] = {}
        reached = {folder: chance.randint(least, len(names)) for folder, least in synced.items()}
        for at, event in enumerate(names):
            if at >= reached.get(str(Path(event.name).parent), 0):
                continue
            if event.what == "link":
                shown[event.name] = event.file
            else:
                shown.pop(event.name, None)
        (target / "log").mkdir(parents=True)
        for name, number in shown.items():
            (target / name).write_bytes(contents.get(number, b""))

    def _number(self, fd: int) -> int:
        inode = os.fstat(fd).st_ino
        if inode not in self._numbers:
            self._count += 1
            self._numbers[inode] = self._count
        return self._numbers[inode]

    def _forget(self, path: Path) -> None:
        """The inode of a file that goes may soon be that of another."""
        with contextlib.suppress(FileNotFoundError):
            self._numbers.pop(os.stat(path).st_ino, None)

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)


def always() -> bool:
    return True


def apply(content: bytearray, events: list[Event], reaches: Callable[[], bool]) -> None:
    """Do what was done to one file, as far as each part of it reached the medium."""
    for event in events:
        if event.what == "cut":
            if reaches():
                content[event.offset :] = bytes(max(0, event.offset - len(content)))
            continue
        end = event.offset + len(event.content)
        content.extend(bytes(max(0, end - len(content))))
        first = event.offset - event.offset % SECTOR
        for sector in range(first, end, SECTOR):
            start, stop = max(sector, event.offset), min(sector + SECTOR, end)
            if reaches():
                content[start:stop] = event.content[start - event.offset : stop - event.offset]
