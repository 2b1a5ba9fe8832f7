"""An agent's whole conversation in the pager, as `hyperpi attach` would print it to a pipe."""

import contextlib
from collections.abc import Iterator

import click

from hyperpi.cli.follow import Attached, Follower
from hyperpi.cli.options import connect_again
from hyperpi.cli.output import styled
from hyperpi.cli.transcript import Transcript
from hyperpi.cli.words import one_line
from hyperpi.errors import HyperPiError

_STYLES = {"you": "busy", "agent": "good", "dim": "dim", "error": "bad", "tool": "away"}


def show_whole(agent: str, name: str) -> None:
    """Blocks until the person closes the pager."""
    click.echo_via_pager(_pages(agent, name))


def _pages(agent: str, name: str) -> Iterator[str]:
    try:
        with connect_again() as client:
            follower = Follower(client, connect_again, agent, None)
            first = next(follower.items())
            assert isinstance(first, Attached)
            written: list[str] = []
            with contextlib.suppress(KeyError):
                shown = Transcript(written.append, name, _coloured, result_lines=None)
                shown.snapshot(first.result["snapshot"])
            yield from written
    except HyperPiError as exc:
        yield f"hyperpi: {one_line(exc)}\n"


def _coloured(text: str, kind: str) -> str:
    return styled(text, _STYLES.get(kind, ""))
