"""`hyperpi disk mirror`: copies of this machine's disk elsewhere, and of others' here."""

import time

import click

from hyperpi.cli.disk_reach import a_node
from hyperpi.cli.options import Verb, json_option
from hyperpi.cli.output import Cell, note, print_json, print_table
from hyperpi.cli.words import Json, ago, duration, one_line, rows_of, size

STYLES = {"following": "good", "copying": "soon", "waiting": "away", "paused": "wants"}


@click.command(
    cls=Verb,
    example="""hyperpi disk mirror                    what is mirrored, and how far each copy is behind
               hyperpi disk mirror attic              from now on, attic holds a copy of this machine's disk
               hyperpi disk mirror attic --off
               hyperpi disk mirror den --drop         delete what is held here of den's disk""",
)
@click.argument("to", metavar="[NODE]", required=False)
@click.option("--off", is_flag=True, help="Mirror to NODE no more; the copy that it has stays there.")
@click.option("--drop", is_flag=True, help="Delete the copies of NODE's disk that are held here.")
@click.option("--node", metavar="NODE", help="The disk of another machine, through the mesh.")
@json_option
def mirror(to: str | None, off: bool, drop: bool, node: str | None, as_json: bool) -> None:
    """Keep a copy of this machine's disk on NODE; without NODE list mirrors and copies.

    A copy follows behind: nothing waits for it. `hyperpi disk restore --from NODE` rebuilds a lost disk from
    it. With --json {mirrors, copies, restore, …}.
    """
    if off and drop:
        raise click.UsageError("--off is about the disk here, --drop about copies of others: one of them")
    if (off or drop) and to is None:
        raise click.UsageError("say which NODE")
    with a_node(node) as (client, asked):
        if to is None:
            found: Json = client.call("disk.mirrors", {"node": asked})
        elif drop:
            found = client.call("disk.drop", {"node": asked, "of": to})
        else:
            found = client.call("disk.mirror", {"node": asked, "to": to, "off": off})
    if as_json:
        print_json(found)
        return
    mirrors, copies = rows_of(found, "mirrors"), rows_of(found, "copies")
    if mirrors:
        print_table(("MIRRORED TO", "STATE", "BEHIND", "SENT"), [_mirror(row) for row in mirrors])
    if mirrors and copies:
        click.echo()
    if copies:
        now = time.time()
        columns = ("COPY OF", "NO", "STATE", "BEHIND", "HEARD", "BEGUN", "SIZE", "FOLDER")
        print_table(columns, [_copy(row, now) for row in copies])
    if not mirrors and not copies:
        note("no mirrors, and no copies of other disks: `hyperpi disk mirror NODE` begins one")


def _mirror(row: Json) -> list[Cell | str]:
    state = str(row.get("state"))
    text = f"{state}: {one_line(row['reason'], 100)}" if row.get("reason") else state
    return [
        one_line(row.get("name")),
        Cell(text, STYLES.get(state, "")),
        behind(row.get("lag")),
        size(float(row.get("sent_bytes") or 0)),
    ]


def _copy(row: Json, now: float) -> list[Cell | str]:
    state = "following" if row.get("following") else "kept"
    if not row.get("whole"):
        state = "copying" if row.get("following") else "unfinished"
    return [
        one_line(row.get("name")),
        str(row.get("copy")),
        Cell(state, STYLES.get(state, "dim")),
        behind(row.get("lag")),
        ago(row.get("heard_at"), now),
        ago(row.get("made_at"), now),
        size(float(row.get("bytes") or 0)),
        one_line(row.get("path")),
    ]


def behind(lag: object) -> str:
    """What a copy lacks, for a column: nothing, or commits, bytes and how long; `-`: not known."""
    if not isinstance(lag, dict):
        return "-"
    if not lag.get("commits"):
        return "nothing"
    said = [f"{lag['commits']} commits"]
    if lag.get("bytes") is not None:
        said.append(size(float(lag["bytes"])))
    if lag.get("seconds"):
        said.append(duration(float(lag["seconds"])))
    return ", ".join(said)
