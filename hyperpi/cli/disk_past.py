"""`hyperpi disk replay` and `render`: the disk's memory as people look at it, from its files."""

from datetime import UTC, datetime
from pathlib import Path

import click

from hyperpi.cli import disk_files
from hyperpi.cli.disk_reach import folder
from hyperpi.cli.options import Verb, json_option
from hyperpi.cli.output import print_json
from hyperpi.cli.words import Json, one_line


def _moment(context: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Unix seconds, or an RFC 3339 time; UTC where it does not say."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a time: write unix seconds or 2026-01-31T12:00:00Z", param=param
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _Ending(click.Path):
    """A file to write, whose name says what it is."""

    def __init__(self, *endings: str) -> None:
        super().__init__(dir_okay=False)
        self._endings = endings

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(value))
        if path.suffix.lower() not in self._endings:
            self.fail(f"{str(value)!r} does not end in {' or '.join(self._endings)}", param, ctx)
        return path


@click.command(
    cls=Verb,
    example="""hyperpi disk replay --after 120
               hyperpi disk replay --at 2026-01-31T12:00:00Z --out /tmp/then
               hyperpi disk replay --export memory.gif --from 2026-01-31 --fps 20""",
)
@click.option("--at", metavar="TIME", callback=_moment, help="The disk as it was then.")
@click.option("--commit", type=click.IntRange(min=0), help="The disk as it was after this commit.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="List only later commits.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the pictures.")
@click.option("--export", type=_Ending(".gif", ".png"), metavar="FILE", help="A film of it: .gif or .png.")
@click.option("--from", "since", metavar="TIME", callback=_moment, help="The film begins then.")
@click.option("--to", "until", metavar="TIME", callback=_moment, help="The film ends then.")
@click.option("--fps", type=click.FloatRange(0.1, 50), default=12.0, help="Frames a second. Default: 12.")
@click.option(
    "--scale",
    type=click.FloatRange(0.02, 16),
    help="Size of a pixel in it. Default: what fits.",
)
@json_option
def replay(
    at: float | None,
    commit: int | None,
    after: int,
    out: Path | None,
    export: Path | None,
    since: float | None,
    until: float | None,
    fps: float,
    scale: float | None,
    as_json: bool,
) -> None:
    """List the commits of the log; with --at, --commit or --out write the pictures of a past state.

    With --export write an animated picture of the rows as they were written: a GIF, or a PNG in full colour.
    With --json a list of commits, {commit, at, files}, or {file, frames, commits, from, to}.
    """
    with disk_files.disk_errors(folder()):
        if export is not None:
            film = disk_files.film(folder(), export, since=since, until=until, fps=fps, scale=scale)
            _show_film(film, as_json)
        elif at is not None or commit is not None or out is not None:
            _show_past(disk_files.past(folder(), at, commit, out or Path()), as_json)
        else:
            _show_commits(disk_files.commits(folder(), after), as_json)


@click.command(
    cls=Verb,
    example="""hyperpi disk render rows.png
               hyperpi disk render rows.png --scale 8""",
)
@click.argument("out", metavar="OUT.png", type=_Ending(".png"))
@click.option("--scale", type=click.IntRange(1, 64), default=4, help="Size of a pixel. Default: 4.")
@json_option
def render(out: Path, scale: int, as_json: bool) -> None:
    """Draw the rows large, coloured by state, with zones and a legend. With --json {files}."""
    with disk_files.disk_errors(folder()):
        files = disk_files.draw(folder(), out, scale)
    if as_json:
        print_json({"files": files})
    else:
        for path in files:
            click.echo(one_line(path))


def _show_film(film: Json, as_json: bool) -> None:
    if as_json:
        print_json(film)
    else:
        said = f"{film['commits']} commits in {film['frames']} frames, {film['from']} to {film['to']}"
        click.echo(f"{one_line(film['file'])}: {said}")


def _show_past(written: Json, as_json: bool) -> None:
    if as_json:
        print_json(written)
    else:
        click.echo(f"commit {written['commit']} of {written['at']}")
        for path in written["files"]:
            click.echo(one_line(path))


def _show_commits(commits: list[Json], as_json: bool) -> None:
    if as_json:
        print_json(commits)
    for step in commits if not as_json else ():
        changes = ", ".join(
            f"{c['bank']}.png {c['row']} {c['state']} {c['kind']}".rstrip() for c in step["changes"]
        )
        click.echo(f"commit {step['commit']} {step['at']}: {one_line(changes)}")
