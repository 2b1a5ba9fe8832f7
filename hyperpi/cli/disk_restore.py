"""`hyperpi disk restore`: from a snapshot beside the disk, or from a copy that another machine holds."""

import sys
import time
from pathlib import Path

import click

from hyperpi.cli.disk_reach import a_node, folder, need_for_ourselves
from hyperpi.cli.local import local_node
from hyperpi.cli.options import Verb, connected, home, json_option
from hyperpi.cli.output import note, print_json
from hyperpi.cli.wires import ConnectionLost
from hyperpi.cli.words import Json, ago, duration, one_line, size
from hyperpi.errors import HyperPiError, NodeUnreachable, NotFound, NothingThere

LOOK_S = 0.2  # between two looks at how far it is
RESTART_S = 30.0  # for the node to be there again with the restored disk


@click.command(
    cls=Verb,
    example="""hyperpi disk restore ~/.local/share/hyperpi/node/disk/8-1767225600.png
               hyperpi disk restore --from attic""",
)
@click.argument(
    "picture",
    metavar="[SNAPSHOT]",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--from", "source", metavar="NODE", help="From the copy that this machine holds.")
@click.option("--copy", type=click.IntRange(min=1), help="Which of its copies: see `disk mirror` there.")
@click.option("--of", metavar="NODE", help="The copy of another machine's disk; for an admin.")
@click.option("--node", metavar="NODE", help="Restore the disk of another machine, through the mesh.")
@click.option("--force", is_flag=True, help="Even if live rows are lost by it.")
@json_option
def restore(
    picture: Path | None,
    source: str | None,
    copy: int | None,
    of: str | None,
    node: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Give the rows back what a SNAPSHOT holds, or rebuild the disk from the copy on another machine.

    From a snapshot: the node must not run; with --json {rows}. With --from: the node must run. It fetches the
    copy, checks it, and starts again with it; agents go on meanwhile. What was there is kept beside the disk.
    Without --copy it is the newest one of another disk than there is now, else the newest. With --json how it
    went: {state, commit, records, missing_commits, missing_s, heard_at, kept, …}.
    """
    if (picture is None) == (source is None):
        raise click.UsageError("give a SNAPSHOT, or --from NODE")
    if source is None and (copy is not None or of is not None or node is not None):
        raise click.UsageError("--copy, --of and --node go with --from NODE")
    if picture is not None:
        _from_snapshot(picture, force, as_json)
        return
    asked: Json = {"from": source, "force": force}
    asked |= {key: value for key, value in (("copy", copy), ("of", of)) if value is not None}
    if of is None:
        with a_node(node) as (client, name):
            begun: Json = client.call("disk.restore", {"node": name, **asked})
    else:
        with connected() as client:  # the hypivisor: it must let the machine have it
            begun = client.call("disk.restore", {"node": node or _this_node(), **asked})
    report = _until_settled(node, str(begun.get("restore")))
    if report.get("state") != "done":
        raise HyperPiError(
            f"the disk was not restored: {one_line(report.get('reason'))}",
            hint="the disk is as it was",
        )
    if as_json:
        print_json(report)
    else:
        _tell(report)


def _this_node() -> str:
    known = local_node(home()).id
    if known is None:
        raise NotFound("no node of this machine is known", hint="say which with --node")
    return known


def _from_snapshot(picture: Path, force: bool, as_json: bool) -> None:
    from hyperpi.cli import disk_files

    need_for_ourselves()
    with disk_files.disk_errors(folder()):
        count = disk_files.give_back(folder(), picture, force=force)
    if as_json:
        print_json({"rows": count})
    else:
        click.echo(f"{count} rows restored")


def _until_settled(node: str | None, restore_id: str) -> Json:
    """How it went, once that is known. The node goes away for a moment meanwhile."""
    away_since: float | None = None
    said = ""
    while True:
        try:
            with a_node(node) as (client, name):
                report: Json = client.call("disk.mirrors", {"node": name}).get("restore") or {}
            away_since = None
        except (NothingThere, NodeUnreachable, ConnectionLost, OSError):
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > RESTART_S:
                raise NodeUnreachable(
                    "the node has not come back",
                    hint="`hyperpi node run` here; the copy was fetched, its next start puts it in place",
                ) from None
            report = {}
        if report and report.get("id") != restore_id:
            raise HyperPiError("the node has ended before the copy was there", hint="try again")
        if report.get("state") in ("done", "refused", "failed"):
            return report
        said = _say(report, said)
        time.sleep(LOOK_S)


def _say(report: Json, said: str) -> str:
    """Show how far it is, on a terminal; the line that was shown."""
    if not sys.stderr.isatty():
        return said
    line = str(report.get("state") or "the node starts again")
    if line == "fetching" and report.get("total_bytes"):
        line = f"fetching: {size(float(report['bytes']))} of {size(float(report['total_bytes']))}"
    if line != said:
        note(line)
    return line


def _tell(report: Json) -> None:
    click.echo(
        f"restored from {one_line(report.get('from'))}: {report.get('records')} live records, "
        f"up to commit {report.get('commit')}"
    )
    heard = ago(report.get("heard_at"), time.time())
    if report.get("missing_commits"):
        known = f"{report['missing_commits']} commits are missing that the copy never got"
        behind_s = float(report.get("missing_s") or 0)
        click.echo(f"{known}; it was {duration(behind_s)} behind when it heard of the disk last, {heard}")
    else:
        click.echo(f"the copy had everything when it heard of the disk last, {heard}")
    if report.get("kept"):
        click.echo(f"what was there is kept in {one_line(report['kept'])}, beside the disk")
