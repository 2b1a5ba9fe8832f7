"""`hyperpi disk …`: the PXLDisk of this machine.

While its node runs it is asked, since it knows what is not in the picture yet; else the files are read. What
needs the disk for itself is refused while the node runs.
"""

import sys
import time

import click

from hyperpi.cli.client import Client
from hyperpi.cli.disk_reach import folder, need_for_ourselves, whom
from hyperpi.cli.group import Lazy, LazyGroup
from hyperpi.cli.options import Verb, connected, examples, json_option
from hyperpi.cli.output import Cell, note, print_fields, print_json, print_table
from hyperpi.cli.words import Json, ago, one_line, printable, rows_of
from hyperpi.contract import MAX_ROWS
from hyperpi.errors import HyperPiError

STATES = {"live": "good", "consumed": "dim", "damaged": "alarm", "free": "dim"}

disk = LazyGroup(
    name="disk",
    help="The PXLDisk of this machine: rows of memory in a PNG.",
    table={
        "info": Lazy("hyperpi.cli.disk:about", "Banks, zones, how full they are"),
        "rows": Lazy("hyperpi.cli.disk:rows", "One line for each row that is not free"),
        "read": Lazy("hyperpi.cli.disk:read", "What stands in a row"),
        "verify": Lazy("hyperpi.cli.disk:check", "Check every byte"),
        "repair": Lazy("hyperpi.cli.disk:mend", "Make a damaged disk sound"),
        "snapshot": Lazy("hyperpi.cli.disk:snapshot", "Store a copy beside the disk"),
        "restore": Lazy(
            "hyperpi.cli.disk_restore:restore", "Rebuild it from a snapshot, or from another machine"
        ),
        "mirror": Lazy("hyperpi.cli.disk_mirror:mirror", "Keep a copy of it on another machine"),
        "replay": Lazy("hyperpi.cli.disk_past:replay", "Past states of the disk, as pictures or a film"),
        "render": Lazy("hyperpi.cli.disk_past:render", "Draw the rows for people"),
    },
    epilog=examples(
        """hyperpi disk info
           hyperpi disk rows
           hyperpi disk verify"""
    ),
)

_bank = click.option("--bank", type=click.IntRange(min=0), help="8 for 8.png. Default: all, or the first.")
_node = click.option("--node", metavar="NODE", help="Of another machine, through the mesh.")


@click.command("info", cls=Verb, example="hyperpi disk info")
@_node
@json_option
def about(node: str | None, as_json: bool) -> None:
    """Show banks and zones and how full they are. With --json {banks: […]}."""
    with whom(node) as asked:
        if asked is not None:
            client, target = asked
            listed: Json = client.call("disk.list", {"node": target})
        else:
            from hyperpi.cli import disk_files

            with disk_files.disk_errors(folder()):
                listed = disk_files.banks(folder())
    if as_json:
        print_json(listed)
        return
    if listed.get("failed"):
        note(f"hyperpi: the disk takes no more writes: {one_line(listed['failed'])}")
    for bank in rows_of(listed, "banks"):
        print_fields([(one_line(bank.get("name")), f"{bank.get('width')}x{bank.get('height')} pixels")])
    first = rows_of(listed, "banks")[:1]
    zones = rows_of(first[0], "zones") if first else []
    print_table(("ZONE", "ROWS", "FREE", "LIVE", "CONSUMED", "DAMAGED"), [_zone(zone) for zone in zones])


@click.command(
    cls=Verb,
    example="""hyperpi disk rows
               hyperpi disk rows --from 9 --to 20 --all""",
)
@_bank
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First row.")
@click.option("--to", "last", type=click.IntRange(min=0), help="Last row.")
@click.option("--all", "-a", "everything", is_flag=True, help="Free rows too.")
@_node
@json_option
def rows(
    bank: int | None, first: int, last: int | None, everything: bool, node: str | None, as_json: bool
) -> None:
    """List rows: their zone, state, kind and owner; not what they hold. With --json a list."""
    with whom(node) as asked:
        if asked is not None:
            found = _rows_of_node(*asked, bank, first, last)
        else:
            from hyperpi.cli import disk_files

            with disk_files.disk_errors(folder()):
                found = disk_files.rows(folder(), bank, first, last)
    shown = [row for row in found if everything or row.get("state") != "free"]
    if as_json:
        print_json(shown)
    elif not shown:
        note("no row is in use")
    else:
        now = time.time()
        columns = ("BANK", "ROW", "ZONE", "STATE", "KIND", "SEQ", "PART", "BYTES", "STORED", "OWNER")
        print_table(columns, [_row(row, now) for row in shown])


@click.command(
    cls=Verb,
    example="""hyperpi disk read 9
               hyperpi disk read 200 --json""",
)
@click.argument("row", type=click.IntRange(min=0))
@_bank
@json_option
def read(row: int, bank: int | None, as_json: bool) -> None:
    """Print what the record in a row holds. With --json all its fields."""
    from hyperpi.cli import disk_files

    with disk_files.disk_errors(folder()):
        record, payload = disk_files.record(folder(), bank, row)
    if as_json:
        print_json(record)
    elif sys.stdout.isatty():
        click.echo(printable(record["payload"]))
    else:
        click.echo(payload)


@click.command(
    "verify",
    cls=Verb,
    example="""hyperpi disk verify
               hyperpi disk verify --node attic""",
)
@_node
@json_option
def check(node: str | None, as_json: bool) -> None:
    """Check every byte of the disk, its log and its snapshots; exit 1 if something is wrong.

    May be done while the node runs. With --json a list of what is wrong.
    """
    if node is not None:
        with connected() as client:
            found = rows_of(client.call("disk.verify", {"node": node}), "problems")
    else:
        from hyperpi.cli import disk_files

        with disk_files.disk_errors(folder()):
            found = disk_files.problems(folder())
    if as_json:
        print_json(found)
    for problem in found if not as_json else ():
        row = f" row {problem['row']}" if problem.get("row") is not None else ""
        said = f"{one_line(problem['what'])} ({one_line(problem['remedy'])})"
        click.echo(f"{one_line(problem['file'])}:{row} {said}")
    if found:
        where = ", ".join(str(problem["row"]) for problem in found if problem.get("row") is not None)
        rows_said = f" in row {where}" if where else ""
        raise HyperPiError(
            f"{len(found)} things are wrong with the disk{rows_said}", hint="`hyperpi disk repair` mends it"
        )
    if not as_json:
        click.echo(f"{folder() if node is None else f'the disk of {node}'}: sound")


@click.command("repair", cls=Verb, example="hyperpi node stop && hyperpi disk repair")
@json_option
def mend(as_json: bool) -> None:
    """Make a damaged disk sound, from its log and snapshots. The node must not run.

    What is replaced is set aside, never deleted. With --json {actions, lost}; exit 1 if rows are lost.
    """
    from hyperpi.cli import disk_files

    need_for_ourselves()
    with disk_files.disk_errors(folder()):
        done = disk_files.mend(folder())
    if as_json:
        print_json(done)
    for action in done["actions"] if not as_json else ():
        click.echo(one_line(action))
    if done["lost"]:
        lost = ", ".join(f"{row['row']} of {row['bank']}.png" for row in done["lost"])
        raise HyperPiError(f"nobody knows any more what stood in row {lost}")
    if not done["actions"] and not as_json:
        click.echo(f"{folder()}: sound, nothing to repair")


@click.command(cls=Verb, example="hyperpi disk snapshot")
@json_option
def snapshot(as_json: bool) -> None:
    """Store a consistent copy of each bank beside it, as 8-<unix seconds>.png. With --json {snapshots}."""
    with whom(None) as asked:
        if asked is not None:
            client, target = asked
            taken: Json = client.call("disk.snapshot", {"node": target})
        else:
            from hyperpi.cli import disk_files

            with disk_files.disk_errors(folder()):
                taken = {"snapshots": disk_files.take_snapshot(folder())}
    if as_json:
        print_json(taken)
    else:
        for path in taken.get("snapshots") or ():
            click.echo(one_line(path))


# --- asking a node --------------------------------------------------------------------------------------


def _rows_of_node(client: Client, node: str, bank: int | None, first: int, last: int | None) -> list[Json]:
    numbers = [bank]
    if bank is None:
        numbers = [row["bank"] for row in rows_of(client.call("disk.list", {"node": node}), "banks")]
    found: list[Json] = []
    for number in numbers:
        start = first
        while True:  # a node tells a bounded number of rows at once
            asked: Json = {"node": node, "bank": number, "from": start}
            if last is not None:
                asked["to"] = last
            told = rows_of(client.call("disk.rows", asked), "rows")
            found += told
            if len(told) < MAX_ROWS:
                break
            start = int(told[-1]["row"]) + 1
    return found


# --- showing ------------------------------------------------------------------------------------------


def _zone(zone: Json) -> list[Cell | str]:
    damaged = zone.get("damaged") or 0
    return [
        one_line(zone.get("name")),
        f"{zone.get('first')}-{zone.get('last')}",
        str(zone.get("free")),
        str(zone.get("live")),
        str(zone.get("consumed")),
        Cell(str(damaged), "alarm" if damaged else ""),
    ]


def _row(row: Json, now: float) -> list[Cell | str]:
    parts = int(row.get("parts") or 0)
    state = str(row.get("state"))
    return [
        f"{row.get('bank')}.png",
        str(row.get("row")),
        one_line(row.get("zone") or "-"),
        Cell(state, STATES.get(state, "")),
        one_line(row.get("kind") or "-"),
        str(row.get("seq") or "-"),
        f"{int(row.get('part') or 0) + 1}/{parts}" if parts > 1 else "-",
        str(row.get("size") or "-"),
        ago(row.get("at"), now),
        one_line(row.get("owner") or "-"),
    ]
