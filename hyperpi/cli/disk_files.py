"""A PXLDisk through its files, for when no node has it open, and for what only its files tell.

The same shapes as `disk.*` where there is such a method. Looking takes no lock and works while a node writes;
what changes the disk needs it for itself.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from hyperpi.cli.words import Json
from hyperpi.clock import rfc3339
from hyperpi.errors import Conflict, HyperPiError, NotFound
from pxldisk import (
    FIRST_BANK,
    Disk,
    Locked,
    PxlDiskError,
    StaleRef,
    history,
    reader,
    rendering,
    repair,
    verify,
)
from pxldisk.film import write as write_film
from pxldisk.memory import Memory
from pxldisk.verbs import progress


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Say in our words what the disk says in its own. Raises HyperPiError, NotFound, Conflict."""
    if not (folder / f"{FIRST_BANK}.png").exists() and not (folder / "log").exists():
        raise NotFound(f"there is no disk in {folder}", hint="a node makes it at its first start")
    try:
        yield
    except Locked as exc:
        raise Conflict(
            f"the disk is in use by process {exc.holder or '(unknown)'}", hint="`hyperpi node stop` first"
        ) from None
    except PxlDiskError as exc:
        hint = "`hyperpi disk repair` may mend it" if exc.repair else "try again" if exc.retry else None
        raise HyperPiError(str(exc), hint=hint) from None
    except OSError as exc:
        raise HyperPiError(f"{exc.filename or folder}: {exc.strerror}") from None


def banks(folder: Path) -> Json:
    """What disk.list answers."""
    memory = reader.look(folder)
    zones = [_zone(memory, name) for name in memory.zones]
    shown = [
        {
            "bank": bank,
            "name": f"{bank}.png",
            "width": memory.grid.width,
            "height": memory.grid.height,
            "zones": zones,
        }
        for bank in memory.pictures
    ]
    return {"banks": shown}


def rows(folder: Path, bank: int | None, first: int, last: int | None) -> list[Json]:
    """What disk.rows answers, of one bank or of all."""
    memory = reader.look(folder)
    if bank is not None and bank not in memory.pictures:
        raise NotFound(f"there is no {bank}.png here", hint="`hyperpi disk info` lists the banks")
    end = memory.grid.height - 1 if last is None else min(last, memory.grid.height - 1)
    described = [
        memory.describe(number, row)
        for number in ([bank] if bank is not None else memory.pictures)
        for row in range(first, end + 1)
    ]
    return [{**asdict(row), "at": rfc3339(row.at) if row.at else None} for row in described]


def record(folder: Path, bank: int | None, row: int) -> tuple[Json, bytes]:
    """The record whose row this is, and its payload. Raises NotFound."""
    memory = reader.look(folder)
    number = bank if bank is not None else next(iter(memory.pictures))
    if number not in memory.pictures or not 0 <= row < memory.grid.height:
        raise NotFound(f"there is no row {row} in {number}.png", hint="`hyperpi disk info` tells the size")
    try:
        found = memory.record_at(number, row)
    except StaleRef:
        raise NotFound(
            f"row {row} of {number}.png holds no record", hint="`hyperpi disk rows` lists those in use"
        ) from None
    shown = asdict(found) | {
        "at": rfc3339(found.at),
        "payload": found.payload.decode("utf-8", "replace"),
    }
    return {**shown.pop("ref"), **shown}, found.payload


def problems(folder: Path) -> list[Json]:
    """All that is wrong with the files."""
    return [{**asdict(problem), "file": str(problem.file)} for problem in verify(folder)]


def mend(folder: Path) -> Json:
    """Make the disk sound: {actions, lost: [{bank, row}]}."""
    done = repair(folder)
    return {
        "actions": [str(action) for action in done.actions],
        "lost": [{"bank": bank, "row": row} for bank, row in done.lost],
    }


def take_snapshot(folder: Path) -> list[str]:
    """Store a copy of each bank beside it; the files."""

    async def take() -> tuple[Path, ...]:
        async with Disk.open(folder) as disk:
            return await disk.snapshot()

    return [str(path) for path in asyncio.run(take())]


def give_back(folder: Path, snapshot: Path, *, force: bool) -> int:
    """Give the rows back what a snapshot holds; how many."""

    async def restore() -> int:
        async with Disk.open(folder) as disk:
            return await disk.restore(snapshot, force=force)

    return asyncio.run(restore())


def commits(folder: Path, after: int) -> list[Json]:
    """What each commit of the log changed, oldest first."""
    return [{**asdict(step), "at": rfc3339(step.at)} for step in history.steps(folder, after=after)]


def past(folder: Path, at: float | None, commit: int | None, out: Path) -> Json:
    """Write the pictures of a past state: {commit, at, files}."""
    moment = history.replay(folder, at=at, commit=commit)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for bank, picture in moment.pictures.items():
        path = out / f"{bank}-commit-{moment.commit}.png"
        path.write_bytes(picture)
        written.append(str(path))
    return {"commit": moment.commit, "at": rfc3339(moment.at), "files": written}


def film(
    folder: Path, out: Path, *, since: float | None, until: float | None, fps: float, scale: float | None
) -> Json:
    """Write an animated picture of the log: {file, frames, commits, from, to}."""
    tell = progress(sys.stderr)
    done = write_film(folder, out, since=since, until=until, fps=fps, scale=scale, tell=tell)
    part = done.part
    shown: Json = {"file": str(done.file), "frames": done.frames, "commits": part.commits}
    return shown | {"from": rfc3339(part.first_us / 1e6), "to": rfc3339(part.last_us / 1e6)}


def draw(folder: Path, out: Path, scale: int) -> list[str]:
    """Draw each bank for people; the files."""
    return [str(path) for path in rendering.render(reader.look(folder), out, scale)]


def _zone(memory: Memory, name: str) -> Json:
    zone = memory.zones[name]
    return {"name": name, "first": zone.first, "last": zone.last, **asdict(memory.zone_stats(name, 0))}
