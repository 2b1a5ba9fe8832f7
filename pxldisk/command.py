"""`python -m pxldisk VERB FILE`: a disk's files looked after without any other program.

FILE is a disk's folder or one of its pictures. Exit codes: 0 done, 1 something is wrong with the
files, 2 bad usage, 3 the disk cannot be used (it is open elsewhere, missing, full).
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from . import history, reader, rendering, repairs, verification
from .disk import Disk
from .errors import Corrupt, ForeignPicture, PxlDiskError
from .memory import Memory
from .rows import State
from .superblock import FIRST_BANK
from .values import Record, RowDescription

WRONG = 1
UNUSABLE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code."""
    options = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = options.verb
    try:
        return verb(options)
    except PxlDiskError as error:
        print(f"pxldisk: {error}", file=sys.stderr)
        return WRONG if isinstance(error, Corrupt | ForeignPicture) else UNUSABLE
    except BrokenPipeError:
        return 0  # whoever read the output has seen enough
    except OSError as error:
        print(f"pxldisk: {error.filename or options.file}: {error.strerror}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pxldisk", description="Look after a PXLDisk's files.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, verb: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=words, description=words)
        added.add_argument("file", type=Path, metavar="FILE", help="a disk's folder, or one of its pictures")
        added.set_defaults(verb=verb)
        return added

    for name, verb, words in (
        ("info", _info, "size, zones, and how full they are"),
        ("rows", _rows, "one line for each row that is not free"),
        ("verify", _verify, "check every byte; exit 1 if something is wrong"),
    ):
        add(name, verb, words).add_argument("--json", action="store_true")
    read = add("read", _read, "the payload of the record in a row")
    read.add_argument("row", type=int, metavar="ROW")
    read.add_argument("--bank", type=int, help="8 for 8.png; the first by default")
    read.add_argument("--json", action="store_true", help="with all its fields")
    add("repair", _repair, "make a damaged disk sound from its log and snapshots")
    add("snapshot", _snapshot, "store a consistent copy beside the disk")
    restore = add("restore", _restore, "give the rows back what a snapshot holds")
    restore.add_argument("picture", type=Path, metavar="SNAPSHOT")
    restore.add_argument("--force", action="store_true", help="even if live rows are lost")
    replay = add("replay", _replay, "list the commits of the log, or show the disk as it was")
    replay.add_argument("--at", type=_moment, metavar="TIME", help="unix seconds, or 2026-01-31T12:00:00Z")
    replay.add_argument("--commit", type=int, metavar="N", help="after commit N")
    replay.add_argument("--after", type=int, default=0, metavar="N", help="list only later commits")
    replay.add_argument("--out", type=Path, metavar="FOLDER", help="where to write the pictures")
    replay.add_argument("--json", action="store_true")
    render = add("render", _render, "draw the rows for people: large, coloured by state")
    render.add_argument("out", type=Path, metavar="OUT.png")
    render.add_argument("--scale", type=int, default=4, help="pixels for each pixel of the disk")
    return parser


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


# -- looking -----------------------------------------------------------------------------------


def _info(options: argparse.Namespace) -> int:
    memory = reader.look(options.file)
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
        return 0
    print(f"{block.width}x{block.height} pixels, banks {', '.join(map(str, memory.pictures))}")
    print(f"disk {block.disk_id}, made {_time(block.made_us / 1e6)}, checkpoint at commit {block.checkpoint}")
    for zone in zones:
        counts = ", ".join(f"{zone[name]} {name}" for name in ("free", "live", "consumed", "damaged"))
        owner = f"; given to {zone['owner']}" if zone["owner"] else ""
        print(f"  {zone['name']}: rows {zone['first']}-{zone['last']}; {counts}{owner}")
    return 0


def _zone(memory: Memory, name: str) -> dict[str, object]:
    zone = memory.zones[name]
    stats = memory.zone_stats(name, 0)
    counts = {"live": stats.live, "consumed": stats.consumed, "damaged": stats.damaged}
    total = len(zone.rows) * len(memory.pictures)
    place = {"name": name, "first": zone.first, "last": zone.last, "owner": zone.owner}
    return {**place, **counts, "free": total - sum(counts.values()), "usable": stats.free}


def _rows(options: argparse.Namespace) -> int:
    memory = reader.look(options.file)
    described = [memory.describe(bank, row) for bank in memory.pictures for row in range(memory.grid.height)]
    for row in described:
        if row.state is State.FREE:
            continue
        print(json.dumps(asdict(row)) if options.json else _line(row))
    return 0


def _line(row: RowDescription) -> str:
    part = f" part {row.part + 1}/{row.parts}" if row.parts > 1 else ""
    texts = "".join(f" {name} {text}" for name, text in (("owner", row.owner), ("key", row.key)) if text)
    seq = f" seq {row.seq} {_time(row.at)} {row.size} bytes" if row.seq else ""
    return f"{row.bank}.png {row.row:5} {row.zone or '-':<16} {row.state:<8} {row.kind}{seq}{part}{texts}"


def _read(options: argparse.Namespace) -> int:
    memory = reader.look(options.file)
    bank = options.bank if options.bank is not None else next(iter(memory.pictures))
    if bank not in memory.pictures or not 0 <= options.row < memory.grid.height:
        print(f"pxldisk: no row {options.row} in bank {bank}", file=sys.stderr)
        return UNUSABLE
    record = memory.record_at(bank, options.row)
    if options.json:
        print(json.dumps(_shown(record)))
        return 0
    sys.stdout.buffer.write(record.payload + b"\n")
    sys.stdout.buffer.flush()
    return 0


def _shown(record: Record) -> dict[str, object]:
    shown = asdict(record) | {"at": _time(record.at), "payload": record.payload.decode(errors="replace")}
    return {**shown.pop("ref"), **shown}


def _verify(options: argparse.Namespace) -> int:
    problems = verification.verify(options.file)
    for problem in problems:
        print(json.dumps({**asdict(problem), "file": str(problem.file)}) if options.json else problem)
    if not problems and not options.json:
        print(f"{options.file}: sound")
    return WRONG if problems else 0


def _render(options: argparse.Namespace) -> int:
    for path in rendering.render(reader.look(options.file), options.out, options.scale):
        print(path)
    return 0


# -- changing ----------------------------------------------------------------------------------


def _repair(options: argparse.Namespace) -> int:
    done = repairs.repair(_folder(options.file))
    for action in done.actions:
        print(action)
    if not done.actions:
        print(f"{options.file}: sound, nothing to repair")
    return WRONG if done.lost else 0


def _snapshot(options: argparse.Namespace) -> int:
    async def take() -> tuple[Path, ...]:
        async with Disk.open(_existing(options.file)) as disk:
            return await disk.snapshot()

    for path in asyncio.run(take()):
        print(path)
    return 0


def _restore(options: argparse.Namespace) -> int:
    async def give_back() -> int:
        async with Disk.open(_existing(options.file)) as disk:
            return await disk.restore(options.picture, force=options.force)

    print(f"{asyncio.run(give_back())} rows restored from {options.picture}")
    return 0


def _existing(path: Path) -> Path:
    """The disk's folder. Opening would make a disk where there is none; these verbs must not."""
    folder = _folder(path)
    if not folder.joinpath(f"{FIRST_BANK}.png").exists():
        raise FileNotFoundError(2, "no disk here", str(folder))
    return folder


# -- looking back ------------------------------------------------------------------------------


def _replay(options: argparse.Namespace) -> int:
    folder = _folder(options.file)
    if options.at is None and options.commit is None and options.out is None:
        return _steps(folder, options)
    moment = history.replay(folder, at=options.at, commit=options.commit)
    out = options.out or Path()
    out.mkdir(parents=True, exist_ok=True)
    print(f"commit {moment.commit} of {_time(moment.at)}")
    for bank, picture in moment.pictures.items():
        path = out / f"{bank}-commit-{moment.commit}.png"
        path.write_bytes(picture)
        print(path)
    return 0


def _steps(folder: Path, options: argparse.Namespace) -> int:
    for step in history.steps(folder, after=options.after):
        if options.json:
            print(json.dumps({**asdict(step), "at": _time(step.at)}))
            continue
        changes = ", ".join(f"{c.bank}.png {c.row} {c.state} {c.kind}".rstrip() for c in step.changes)
        print(f"commit {step.commit} {_time(step.at)}: {changes}")
    return 0
