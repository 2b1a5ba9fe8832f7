"""`hyperpi node …`: the node of this machine, and the machines of the mesh."""

import time

import click

from hyperpi.cli.client import Client
from hyperpi.cli.group import Lazy, LazyGroup
from hyperpi.cli.local import node_run
from hyperpi.cli.options import Verb, connected, examples, home, json_option, note_if_alone
from hyperpi.cli.output import Cell, note, print_fields, print_json, print_table, state_cell
from hyperpi.cli.words import Json, ago, one_line, rows_of, size
from hyperpi.clock import apart
from hyperpi.errors import HyperPiError, NotFound, NothingThere
from hyperpi.roles import ADMIN

HINTS = 3  # machines that are named below the list
_HERE, _MESH = "This machine", "The mesh"

node = LazyGroup(
    name="node",
    help="The node of this machine, and the machines of the mesh.",
    table={
        "run": Lazy(
            "hyperpi.cli.node_lifecycle:run", "Run the node of this machine, in the foreground", _HERE
        ),
        "join": Lazy("hyperpi.cli.node_lifecycle:join", "Join this machine to a mesh", _HERE),
        "leave": Lazy("hyperpi.cli.node_lifecycle:leave", "Forget the mesh; agents stay", _HERE),
        "stop": Lazy("hyperpi.cli.node_lifecycle:stop", "End the node; agents stay", _HERE),
        "install-service": Lazy(
            "hyperpi.cli.node_service:install_service", "Have the node started with this machine", _HERE
        ),
        "url": Lazy("hyperpi.cli.node:url", "The WebSocket of this machine's node", _HERE),
        "ls": Lazy("hyperpi.cli.node:ls", "List machines", _MESH),
        "nearby": Lazy("hyperpi.cli.node:nearby", "Machines on this network that could join", _MESH),
        "show": Lazy("hyperpi.cli.node:show", "One machine and its agents", _MESH),
        "approve": Lazy("hyperpi.cli.node:approve", "Let a machine in that shows six digits", _MESH),
        "deny": Lazy("hyperpi.cli.node:deny", "Turn such a machine away", _MESH),
        "revoke": Lazy("hyperpi.cli.node:revoke", "Put a machine out, now", _MESH),
    },
    epilog=examples(
        """hyperpi node join                   find a mesh on this network and ask to join
           hyperpi node ls
           hyperpi node show attic"""
    ),
)


@click.command(
    cls=Verb,
    example="""hyperpi node ls
               hyperpi node ls --json | jq -r '.[] | select(.state == "lost") | .name'""",
)
@json_option
def ls(as_json: bool) -> None:
    """List the machines of the mesh, those that wait to be let in too.

    With --json a list of Node.
    """
    with connected() as client:
        mesh = client.call("mesh.get")
        nodes = rows_of(mesh, "nodes")
        if not as_json:
            note_if_alone(client)
        seen = [] if as_json or mesh["me"]["role"] != ADMIN else _seen(client)
    nodes.sort(key=lambda row: (row.get("state") != "pending", str(row.get("name"))))
    if as_json:
        print_json(nodes)
        return
    now = time.time()
    columns = ("NODE", "STATE", "HEARD", "AGENTS", "LOAD", "DISK", "CERTIFICATE", "VERSION", "PLATFORM")
    print_table(columns, [_row(row, now) for row in nodes])
    for row in nodes:
        if row.get("state") == "pending" and row.get("code"):
            note(f"{one_line(row.get('name'))} shows {row['code']}: `hyperpi node approve {row['code']}`")
        elif row.get("clock_s"):
            note(
                f"the clock of {one_line(row.get('name'))} is {apart(float(row['clock_s']))} the hypivisor's"
            )
    for row in seen[:HINTS]:
        note(f"seen on this network, not joined: {_where(row)}: run `hyperpi node join` there")
    if len(seen) > HINTS:
        note(f"and {len(seen) - HINTS} more: `hyperpi node nearby`")


@click.command(cls=Verb, example="hyperpi node nearby")
@json_option
def nearby(as_json: bool) -> None:
    """List machines on this network that say they run a node and are in no mesh.

    Anybody on the network may say so: nothing here is trusted, and none joins by itself. With --json
    {candidates, more, listening}.
    """
    with connected() as client:
        told: Json = client.call("node.nearby")
    if as_json:
        print_json(told)
        return
    rows = rows_of(told, "candidates")
    if rows:
        print_table(("MACHINE", "ADDRESS", "VERSION"), [_nearby_row(row) for row in rows])
        note("to let one in, run `hyperpi node join` there and compare the digits")
    elif told.get("listening"):
        note("no machine on this network says that it could join")
    else:
        note("this hypivisor does not listen: it was started with --no-mdns")
    if told.get("more"):
        note("there are more than are listed")


@click.command(cls=Verb, example="hyperpi node show attic")
@click.argument("name", metavar="NODE")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one machine and its agents. With --json a Node."""
    with connected() as client:
        mesh = client.call("mesh.get")
    found = next((row for row in rows_of(mesh, "nodes") if name in (row.get("id"), row.get("name"))), None)
    if found is None:
        raise NotFound(f"no node {name}", hint="`hyperpi node ls` lists them")
    if as_json:
        print_json(found)
        return
    agents = [a for a in rows_of(mesh, "agents") if a.get("node") == found.get("id")]
    alive = sorted(str(a.get("name")) for a in agents if a.get("state") != "exited")
    now = time.time()
    print_fields(
        [
            ("node", Cell(str(found.get("name")), "bold")),
            ("id", str(found.get("id"))),
            ("state", state_cell(found.get("state"))),
            ("since", ago(found.get("since"), now)),
            ("last heard", ago(found.get("last_heard"), now)),
            ("address", str(found.get("address") or "")),
            ("certificate", certificate_words(found.get("certificate"), now)),
            ("version", str(found.get("version") or "")),
            ("platform", str(found.get("platform") or "")),
            ("load", _load(found)),
            ("disk", _disk(found)),
            ("agents", f"{len(alive)} running: {', '.join(alive)}" if alive else "none running"),
            ("ended", str(len(agents) - len(alive)) if len(agents) > len(alive) else ""),
        ]
    )


@click.command(cls=Verb, example="hyperpi node approve 482913")
@click.argument("code", metavar="CODE")
@json_option
def approve(code: str, as_json: bool) -> None:
    """Let the machine in that shows these six digits. Its own user confirms them too.

    With --json {name, confirmed}.
    """
    with connected() as client:
        result: Json = client.call("node.approve", {"code": code}) or {}
    if as_json:
        print_json(result)
    elif result.get("confirmed"):
        click.echo(f"{one_line(result.get('name'))} is let in")
    else:
        click.echo(f"{one_line(result.get('name'))} is let in once its own user has confirmed the digits")


@click.command(cls=Verb, example="hyperpi node deny 482913")
@click.argument("code", metavar="CODE")
@json_option
def deny(code: str, as_json: bool) -> None:
    """Turn the machine away that shows these six digits. With --json {name}."""
    with connected() as client:
        result: Json = client.call("node.deny", {"code": code}) or {}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{one_line(result.get('name'))} is turned away")


@click.command(cls=Verb, example="hyperpi node revoke attic")
@click.argument("name", metavar="NODE")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """Put a machine out of the mesh, now. Its agents go on, but nobody here sees them."""
    with connected() as client:
        client.call("node.revoke", {"node": name})
    if as_json:
        print_json({"node": name, "revoked": True})
    else:
        click.echo(f"{one_line(name)} is out; it comes back only by joining again")


@click.command(cls=Verb, example="hyperpi node url")
@json_option
def url(as_json: bool) -> None:
    """Print the WebSocket address at which this machine's node serves programs of this machine.

    With --json {url, token_file}.
    """
    known = home()
    running = node_run(known)
    if running is None or not running.get("ws"):
        raise NothingThere("no node runs here", hint="start it with `hyperpi node run`, or `hyperpi up`")
    token_file = str(known.node / "token")
    if as_json:
        print_json({"url": running["ws"], "token_file": token_file})
    else:
        click.echo(one_line(running["ws"]))
        note(f"its token stands in {token_file}: send it as `Authorization: Bearer …`")


def _row(row: Json, now: float) -> list[Cell | str]:
    return [
        Cell(one_line(row.get("name")), "bold"),
        state_cell(row.get("state")),
        ago(row.get("last_heard"), now),
        str(row.get("agents") or "-"),
        _load(row) or "-",
        _disk(row) or "-",
        _renewal(row.get("certificate"), now) or "-",
        one_line(row.get("version") or "-"),
        one_line(row.get("platform") or "-", 40),
    ]


def _nearby_row(row: Json) -> list[Cell | str]:
    addresses = row.get("addresses") or []
    return [
        Cell(one_line(row.get("name")), "bold"),
        ", ".join(one_line(address) for address in addresses),
        one_line(row.get("version") or "-"),
    ]


def _where(row: Json) -> str:
    addresses = row.get("addresses") or ["?"]
    return f"{one_line(row.get('name'))} ({one_line(addresses[0])})"


def _seen(client: Client) -> list[Json]:
    """Machines that could join. The list of nodes is whole without them."""
    try:
        return rows_of(client.call("node.nearby"), "candidates")
    except HyperPiError:
        return []


def certificate_words(certificate: object, now: float) -> str:
    """How old a node's certificate is, when it is renewed and when it ends; empty when nothing is known."""
    if not isinstance(certificate, dict):
        return ""
    issued = f"issued {ago(certificate['issued'], now)}" if certificate.get("issued") else "issued earlier"
    parts = [issued, _renewal(certificate, now), f"ends {ago(certificate.get('expires'), now)}"]
    return ", ".join(part for part in parts if part)


def _renewal(certificate: object, now: float) -> str:
    """`renewed in 4d`; a time that has passed says that it should have been, or that it has ended."""
    if not isinstance(certificate, dict):
        return ""
    if not (ends := ago(certificate.get("expires"), now)).startswith("in "):
        return f"ended {ends}"
    renews = ago(certificate.get("renews"), now) if certificate.get("renews") else ""
    if renews and not renews.startswith("in "):
        return f"renewal due since {renews.removesuffix(' ago')}"
    return f"renewed {renews}" if renews else ""


def _load(row: Json) -> str:
    load = row.get("load")
    if not isinstance(load, dict):
        return ""
    return f"{load.get('cpu') or 0:.2f} cores, {size(load.get('mem_bytes') or 0)}"


def _disk(row: Json) -> str:
    room = row.get("disk")
    if not isinstance(room, dict):
        return ""
    return f"{room.get('live_rows')} live, {room.get('free_rows')} free rows"
