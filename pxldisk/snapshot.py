"""Consistent copies of the pictures beside them: `8-<unix seconds>.png`. Blocks."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from . import files
from .errors import DiskFailed, NoSpace
from .png import Picture

_AGED_AT_ONCE: Final = 2  # one more than each new one adds, so that they do become fewer


def snapshot_path(folder: Path, bank: int, unix_s: int) -> Path:
    """The file of a bank's snapshot."""
    return folder / f"{bank}-{unix_s}.png"


def snapshots(folder: Path) -> list[tuple[int, int, Path]]:
    """All snapshots as (unix seconds, bank, file), oldest first."""
    found = []
    for path in folder.glob("*-*.png"):
        bank, _, moment = path.stem.partition("-")
        if bank.isascii() and bank.isdigit() and moment.isascii() and moment.isdigit() and len(moment) < 13:
            found.append((int(moment), int(bank), path))
    return sorted(found)


def write(
    folder: Path, pictures: Mapping[int, Picture], unix_s: int, *, keep: int, keep_s: float
) -> tuple[Path, ...]:
    """Store the pictures under one moment; delete any beyond the newest `keep`, and two older than `keep_s`.

    Raises NoSpace, DiskFailed. The newest moment is always kept.
    """
    # Two in one second, or a clock that was set back: names stay in order.
    moment = max([unix_s, *(taken + 1 for taken, _, _ in snapshots(folder) if taken >= unix_s)])
    paths = tuple(snapshot_path(folder, bank, moment) for bank in pictures)
    try:
        for path, picture in zip(paths, pictures.values(), strict=True):
            files.put(path, picture.image, point="pxldisk.snapshot")
    except OSError as error:
        for path in paths:
            path.unlink(missing_ok=True)  # a moment is kept whole or not at all
        if error.errno in files.NO_SPACE:
            raise NoSpace(folder) from error
        raise DiskFailed(folder, f"cannot write a snapshot: {error.strerror}") from error
    _prune(folder, unix_s, keep, keep_s)
    return paths


def _prune(folder: Path, now_s: int, keep: int, keep_s: float) -> None:
    taken = snapshots(folder)
    *moments, _newest = sorted({moment for moment, _, _ in taken})
    beyond = set(moments[: max(0, len(moments) + 1 - keep)])
    # Few at a time go for their age: a clock that was set far ahead must not take them all at once.
    beyond.update(moment for moment in moments[:_AGED_AT_ONCE] if moment < now_s - keep_s)
    for moment, _, path in taken:
        if moment in beyond:
            with contextlib.suppress(OSError):  # one that stays costs room, nothing else
                os.unlink(path)
