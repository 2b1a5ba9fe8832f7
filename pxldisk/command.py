"""`python -m pxldisk VERB FILE`: a disk's files looked after without any other program.

FILE is a disk's folder or one of its pictures. Exit codes: 0 done, 1 something is wrong with the
files, 2 bad usage, 3 the disk cannot be used (it is open elsewhere, missing, full).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import verbs
from .errors import Corrupt, ForeignPicture, PxlDiskError

_EPILOG = """exit codes:
  0 done, 1 something is wrong with the files, 2 bad usage, 3 the disk cannot be used
"""
_JSON = "one JSON object a line"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code."""
    options = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = options.verb
    try:
        return verb(options)
    except verbs.NothingThere as error:
        print(f"pxldisk: {error}", file=sys.stderr)
        return verbs.UNUSABLE
    except PxlDiskError as error:
        print(f"pxldisk: {error}", file=sys.stderr)
        return verbs.WRONG if isinstance(error, Corrupt | ForeignPicture) else verbs.UNUSABLE
    except BrokenPipeError:
        return verbs.DONE  # whoever read the output has seen enough
    except OSError as error:
        print(f"pxldisk: {error.filename or options.file}: {error.strerror}", file=sys.stderr)
        return verbs.UNUSABLE


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m pxldisk",
        description="Look after a PXLDisk's files.",
        epilog=_EPILOG,
        formatter_class=shape,
    )
    adding = parser.add_subparsers(required=True, metavar="VERB")

    def add(
        name: str, verb: Callable[[argparse.Namespace], int], words: str, *examples: str
    ) -> argparse.ArgumentParser:
        shown = "\n".join(f"  python -m pxldisk {example}" for example in examples)
        description = f"{words[0].upper()}{words[1:]}."
        added = adding.add_parser(
            name, help=words, description=description, epilog=f"examples:\n{shown}", formatter_class=shape
        )
        added.add_argument("file", type=Path, metavar="FILE", help="a disk's folder, or one of its pictures")
        added.add_argument("--json", action="store_true", help=_JSON)
        added.set_defaults(verb=verb)
        return added

    add("info", verbs.info, "size, zones, and how full they are", "info disk/", "info disk/8-1767225600.png")
    add("rows", verbs.rows, "one line for each row that is not free", "rows disk/", "rows disk/9.png --json")
    add("verify", verbs.verify, "check every byte; exit 1 if something is wrong", "verify disk/")
    read = add(
        "read", verbs.read, "the payload of the record in a row", "read disk/ 9", "read disk/ 9 --json"
    )
    read.add_argument("row", type=int, metavar="ROW")
    read.add_argument("--bank", type=int, metavar="N", help="8 for 8.png; the first by default")
    add("repair", verbs.repair, "make a damaged disk sound from its log and snapshots", "repair disk/")
    add("snapshot", verbs.snapshot, "store a consistent copy beside the disk", "snapshot disk/")
    restore = add(
        "restore",
        verbs.restore,
        "give the rows back what a snapshot holds",
        "restore disk/ disk/8-1767225600.png",
    )
    restore.add_argument("picture", type=Path, metavar="SNAPSHOT")
    restore.add_argument("--force", action="store_true", help="even if live rows are lost")
    _add_replay(
        add(
            "replay",
            verbs.replay,
            "list the commits of the log, show the disk as it was, or make a film of it",
            "replay disk/ --after 120",
            "replay disk/ --at 2026-01-31T12:00:00Z --out then/",
            "replay disk/ --export memory.gif --from 2026-01-31 --fps 20",
        )
    )
    render = add(
        "render", verbs.render, "draw the rows for people: large, coloured by state", "render disk/ rows.png"
    )
    render.add_argument("out", type=_named(".png"), metavar="OUT.png")
    render.add_argument(
        "--scale", type=_number(1, 64, int), default=4, metavar="N", help="pixels for each of the disk (4)"
    )
    return parser


def _add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("--at", type=moment, metavar="TIME", help="unix seconds, or 2026-01-31T12:00:00Z")
    replay.add_argument("--commit", type=int, metavar="N", help="after commit N")
    replay.add_argument("--after", type=int, default=0, metavar="N", help="list only later commits")
    replay.add_argument("--out", type=Path, metavar="FOLDER", help="where to write the pictures (here)")
    made = replay.add_argument_group("film")
    made.add_argument(
        "--export",
        type=_named(".gif", ".png"),
        metavar="OUT",
        help="animated: a .gif, or a .png in full colour",
    )
    made.add_argument(
        "--from", dest="since", type=moment, metavar="TIME", help="begin then, not with the log"
    )
    made.add_argument("--to", dest="until", type=moment, metavar="TIME", help="end then, not with the log")
    made.add_argument(
        "--fps", type=_number(0.1, 50, float), default=12.0, metavar="N", help="frames a second (12)"
    )
    made.add_argument(
        "--scale",
        type=_number(0.02, 16, float),
        metavar="N",
        help="pixels for each pixel of the disk (what fits a screen)",
    )


def moment(text: str) -> float:
    """Unix seconds of a time as people write it; UTC where it does not say. Raises ArgumentTypeError."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: write unix seconds or 2026-01-31T12:00:00Z"
        ) from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _named(*endings: str) -> Callable[[str], Path]:
    def read(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() not in endings:
            raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(endings)}")
        return path

    return read


def _number(least: float, most: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(least) - 1
        if not least <= value <= most:
            whole = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {whole} from {least} to {most}")
        return value

    return read
