"""`hyperpi recording AGENT`: what its terminal has shown, to replay with asciinema or in Pi-DE."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hyperpi.cli.options import Verb, agent_argument, connected, json_option
from hyperpi.cli.output import note, print_json, print_line
from hyperpi.errors import HyperPiError

if TYPE_CHECKING:
    from hyperpi.cli.client import Client


@click.command(
    cls=Verb,
    example="""hyperpi recording shell -o shell.cast && asciinema play shell.cast
               hyperpi recording shell@den | jq -r 'arrays | select(.[1] == "o") | .[2]'""",
)
@agent_argument
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write it there.")
@json_option
def recording(agent: str, output: str | None, as_json: bool) -> None:
    """Print the recording of an agent's terminal in the asciinema format, version 2.

    Also of one that has ended. The oldest part of a long one is no longer kept. With -o and --json
    {file, events, seconds, bytes}.
    """
    if as_json and output is None:
        raise click.UsageError("--json goes with -o; without it the recording itself is printed")
    with connected() as client:
        lines = lines_of(client, agent)
        if output is None:
            for line in lines:
                print_line(json.loads(line))
            return
        told = save(Path(output), lines)
    if as_json:
        print_json(told)
    else:
        note(f"{told['events']} events of {told['seconds']:.0f} s in {output}")


def lines_of(client: "Client", agent: str) -> Iterator[str]:
    """All lines of a recording, asked for piece by piece. Raises HyperPiError, also when there are none."""
    offset: int | None = 0
    told = False
    while offset is not None:
        piece = client.call("agent.recording", {"agent": agent, "offset": offset})
        told = told or bool(piece["lines"])
        yield from piece["lines"]
        following = piece["next"]
        if following is not None and following <= offset:
            raise HyperPiError("the recording does not go on where it says", hint="is its node up to date?")
        offset = following
    if not told:
        raise HyperPiError("nothing of its terminal was recorded")


def save(path: Path, lines: Iterator[str]) -> dict[str, object]:
    """Write a recording, the whole or nothing. Returns what --json tells. Raises HyperPiError."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    events, seconds = 0, 0.0
    try:
        with temp.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(f"{line}\n")
                said = json.loads(line)
                if isinstance(said, list):
                    events, seconds = events + 1, float(said[0])
        os.replace(temp, path)
        return {"file": str(path), "events": events, "seconds": seconds, "bytes": path.stat().st_size}
    except OSError as exc:
        raise HyperPiError(f"cannot write {path}: {exc.strerror}") from None
    finally:
        temp.unlink(missing_ok=True)
