"""What each verb of `python -m pxldisk` does and prints; command.py reads the arguments."""

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from . import bank, film, history, reader, rendering, repairs, verification
from .disk import Disk
from .errors import StaleRef
from .memory import Memory
from .rows import State
from .values import Record, RowDescription

DONE: Final = 0
WRONG: Final = 1
USAGE: Final = 2
UNUSABLE: Final = 3
_QUIET_S: Final = 1.0  # work that takes no longer says nothing about its progress


class NothingThere(Exception):
    """There is nothing to work on; one line that says so."""


def _folder(path: Path) -> Path:
    """The folder of an existing disk: opening, repairing and locking would leave files in any other."""
    folder = path if path.is_dir() else path.parent
    if folder.name == "log" and bank.is_disk(folder.parent):
        folder = folder.parent  # somebody names a file of the log that is damaged
    if not path.exists():
        raise NothingThere(f"{path}: there is no such file or folder")
    if not bank.is_disk(folder):
        raise NothingThere(f"{folder}: there is no disk here: neither 8.png nor log/ nor a snapshot")
    return folder


def _look(path: Path) -> Memory:
    _folder(path)
    return reader.look(path)


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_paths(paths: Iterable[Path], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"files": [str(path) for path in paths]}))
    else:
        print(*paths, sep="\n")


# -- looking -----------------------------------------------------------------------------------


def info(options: Namespace) -> int:
    """Size, zones, and how full they are."""
    memory = _look(options.file)
    block = next(iter(memory.superblocks.values()))
    zones = [_zone(memory, name) for name in memory.zones]
    if options.json:
        shown = {
            "disk": str(block.disk_id),
            "width": block.width,
            "height": block.height,
            "banks": list(memory.pictures),
            "made": _time(block.made_us / 1e6),
            "checkpoint": block.checkpoint,
            "zones": zones,
        }
        print(json.dumps(shown))
        return DONE
    names = ", ".join(f"{number}.png" for number in memory.pictures)
    print(f"{names}: {block.width}x{block.height} pixels, {memory.grid.row_bytes} bytes in a row")
    print(f"disk {block.disk_id}, made {_time(block.made_us / 1e6)}, checkpoint at commit {block.checkpoint}")
    for zone in zones:
        counts = ", ".join(f"{zone[name]} {name}" for name in ("live", "consumed", "empty", "damaged"))
        owner = f"; given to {zone['owner']}" if zone["owner"] else ""
        print(f"  {zone['name']}: rows {zone['first']}-{zone['last']}; {zone['free']} free ({counts}){owner}")
    return DONE


def _zone(memory: Memory, name: str) -> dict[str, object]:
    zone = memory.zones[name]
    stats = memory.zone_stats(name, 0)
    counts = {"live": stats.live, "consumed": stats.consumed, "damaged": stats.damaged}
    empty = len(zone.rows) * len(memory.pictures) - sum(counts.values())
    place = {"name": name, "first": zone.first, "last": zone.last, "owner": zone.owner}
    return {**place, "free": stats.free, **counts, "empty": empty}  # consumed and empty ones are free


def rows(options: Namespace) -> int:
    """One line for each row that is not free."""
    memory = _look(options.file)
    described = [
        memory.describe(number, row) for number in memory.pictures for row in range(memory.grid.height)
    ]
    for row in described:
        if row.state is State.FREE:
            continue
        print(json.dumps(asdict(row)) if options.json else _line(row))
    return DONE


def _line(row: RowDescription) -> str:
    part = f" part {row.part + 1}/{row.parts}" if row.parts > 1 else ""
    texts = "".join(f" {name} {text}" for name, text in (("owner", row.owner), ("key", row.key)) if text)
    seq = f" seq {row.seq} {_time(row.at)} {row.size} bytes" if row.seq else ""
    return f"{row.bank}.png {row.row:5} {row.zone or '-':<16} {row.state:<8} {row.kind}{seq}{part}{texts}"


def read(options: Namespace) -> int:
    """The payload of the record in a row."""
    memory = _look(options.file)
    number = options.bank if options.bank is not None else next(iter(memory.pictures))
    if number not in memory.pictures:
        names = ", ".join(f"{one}.png" for one in memory.pictures)
        raise NothingThere(f"{options.file}: there is no bank {number} here, only {names}")
    if not 0 <= options.row < memory.grid.height:
        raise NothingThere(f"{number}.png has rows 0 to {memory.grid.height - 1}, no row {options.row}")
    try:
        record = memory.record_at(number, options.row)
    except StaleRef:
        state = memory.describe(number, options.row).state
        why = "is free" if state is State.FREE else "holds no whole record"
        raise NothingThere(f"row {options.row} of {number}.png {why}; `rows` lists those in use") from None
    if options.json:
        print(json.dumps(_shown(record)))
        return DONE
    sys.stdout.buffer.write(record.payload + b"\n")
    sys.stdout.buffer.flush()
    return DONE


def _shown(record: Record) -> dict[str, object]:
    shown = asdict(record) | {"at": _time(record.at), "payload": record.payload.decode(errors="replace")}
    return {**shown.pop("ref"), **shown}


def verify(options: Namespace) -> int:
    """Check every byte."""
    _folder(options.file)
    problems = verification.verify(options.file)
    for problem in problems:
        print(json.dumps({**asdict(problem), "file": str(problem.file)}) if options.json else problem)
    if not problems and not options.json:
        print(f"{options.file}: sound")
    return WRONG if problems else DONE


def render(options: Namespace) -> int:
    """Draw the rows for people."""
    _print_paths(rendering.render(_look(options.file), options.out, options.scale), as_json=options.json)
    return DONE


# -- changing ----------------------------------------------------------------------------------


def repair(options: Namespace) -> int:
    """Make a damaged disk sound."""
    done = repairs.repair(_folder(options.file))
    if options.json:
        lost = [{"bank": number, "row": row} for number, row in done.lost]
        print(json.dumps({"actions": done.actions, "lost": lost}))
    elif done.actions:
        print(*done.actions, sep="\n")
    else:
        print(f"{options.file}: sound, nothing to repair")
    return WRONG if done.lost else DONE


def snapshot(options: Namespace) -> int:
    """Store a consistent copy beside the disk."""

    async def take() -> Sequence[Path]:
        async with Disk.open(_folder(options.file)) as disk:
            return await disk.snapshot()

    _print_paths(asyncio.run(take()), as_json=options.json)
    return DONE


def restore(options: Namespace) -> int:
    """Give the rows back what a snapshot holds."""

    async def give_back() -> int:
        async with Disk.open(_folder(options.file)) as disk:
            return await disk.restore(options.picture, force=options.force)

    count = asyncio.run(give_back())
    print(json.dumps({"rows": count}) if options.json else f"{count} rows restored from {options.picture}")
    return DONE


# -- looking back ------------------------------------------------------------------------------


def replay(options: Namespace) -> int:
    """List the commits of the log, show the disk as it was, or make a film of it."""
    folder = _folder(options.file)
    if options.export is not None:
        return _export(folder, options)
    if options.at is None and options.commit is None and options.out is None:
        return _steps(folder, options)
    moment = history.replay(folder, at=options.at, commit=options.commit)
    out = options.out or Path()
    out.mkdir(parents=True, exist_ok=True)
    paths = {out / f"{number}-commit-{moment.commit}.png": png for number, png in moment.pictures.items()}
    for path, png in paths.items():
        path.write_bytes(png)
    if options.json:
        files = [str(path) for path in paths]
        print(json.dumps({"commit": moment.commit, "at": _time(moment.at), "files": files}))
    else:
        print(f"commit {moment.commit} of {_time(moment.at)}", *paths, sep="\n")
    return DONE


def _steps(folder: Path, options: Namespace) -> int:
    for step in history.steps(folder, after=options.after):
        if options.json:
            print(json.dumps({**asdict(step), "at": _time(step.at)}))
            continue
        changes = ", ".join(f"{c.bank}.png {c.row} {c.state} {c.kind}".rstrip() for c in step.changes)
        print(f"commit {step.commit} {_time(step.at)}: {changes}")
    return DONE


def _export(folder: Path, options: Namespace) -> int:
    try:
        made = film.write(
            folder,
            options.export,
            since=options.since,
            until=options.until,
            fps=options.fps,
            scale=options.scale,
            tell=progress(sys.stderr),
        )
    except ValueError as why:
        print(f"pxldisk: {why}", file=sys.stderr)
        return USAGE
    part = made.part
    if options.json:
        shown = {"file": str(made.file), "frames": made.frames, "commits": part.commits}
        times = {"from": _time(part.first_us / 1e6), "to": _time(part.last_us / 1e6)}
        print(json.dumps(shown | times))
    else:
        between = f"{_time(part.first_us / 1e6)} to {_time(part.last_us / 1e6)}"
        print(f"{made.file}: {part.commits} commits in {made.frames} frames, {between}")
    return DONE


def progress(stream: TextIO) -> film.Tell | None:
    """Shows on a terminal how far long work has come, on one line that is gone at its end."""
    if not stream.isatty():
        return None
    began = time.monotonic()

    def tell(done: int, count: int) -> None:
        if time.monotonic() - began > _QUIET_S:
            print(
                f"\rframe {done} of {count}", end="" if done < count else "\r\033[K", file=stream, flush=True
            )

    return tell
