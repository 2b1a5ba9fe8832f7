"""`hyperpi token create|ls|revoke`."""

import time

import click

from hyperpi.cli.group import Lazy, LazyGroup
from hyperpi.cli.options import Verb, connected, examples, json_option, seconds
from hyperpi.cli.output import Cell, note, print_json, print_table
from hyperpi.cli.words import Json, ago, one_line, rows_of
from hyperpi.errors import HyperPiError

token = LazyGroup(
    name="token",
    help="Tokens that let machines join, and people and programs in.",
    table={
        "create": Lazy("hyperpi.cli.tokens:create", "Make a token"),
        "ls": Lazy("hyperpi.cli.tokens:ls", "List tokens"),
        "revoke": Lazy("hyperpi.cli.tokens:revoke", "Make a token useless, now"),
    },
    epilog=examples(
        """hyperpi token create --role node
           hyperpi token ls"""
    ),
)


@click.command(
    cls=Verb,
    example="""hyperpi token create --role node --ttl 1h
               hyperpi token create --role viewer --ttl 7d --uses 0 --name dashboard
               HYPI_TOKEN=$(hyperpi token create --ttl 1d)""",
)
@click.option(
    "--role",
    type=click.Choice(["node", "viewer", "operator", "admin"]),
    default="operator",
    show_default=True,
    help="node: lets one machine join. The others: for people and programs.",
)
@click.option(
    "--ttl", metavar="TIME", callback=seconds, default="15m", show_default=True, help="How long it is good."
)
@click.option(
    "--uses", type=click.IntRange(min=0), help="How often; 0: until it expires.  [node: 1, else: 0]"
)
@click.option("--name", metavar="NAME", help="Whose it is; of a node: the only name it may join as.")
@json_option
def create(role: str, ttl: float, uses: int | None, name: str | None, as_json: bool) -> None:
    """Make a token. It is shown this once and stored only as a hash.

    With --json {id, token, role, expires}, and of a node's `command`, which joins a machine with it.
    """
    asked: Json = {"role": role, "ttl_s": ttl}
    if uses is not None:
        asked["uses"] = uses
    if name is not None:
        asked["name"] = name
    with connected() as client:
        made: Json = client.call("token.create", asked)
        where = _join_address(client.call) if role == "node" and not as_json else None
    if as_json:
        print_json(made)
        return
    click.echo(one_line(made.get("token")))
    note(f"role {role}, expires {ago(made.get('expires'), time.time())}; it is not shown again")
    if role == "node":
        note(f"with it in a file, over there: hyperpi node join {where or 'HOST'} --token-file FILE")
    else:
        note("give it to a program as HYPI_TOKEN, or in a file with --token-file")


@click.command(
    cls=Verb,
    example="""hyperpi token ls
               hyperpi token ls --json | jq -r '.[] | select(.last_used == null) | .id'""",
)
@json_option
def ls(as_json: bool) -> None:
    """List tokens, ended ones too; never their secrets.

    With --json a list of {id, role, name, created, expires, uses_left, last_used, last_from, joined,
    revoked}.
    """
    with connected() as client:
        rows = rows_of(client.call("token.ls"), "tokens")
    if as_json:
        print_json(rows)
    elif not rows:
        note("no tokens; `hyperpi token create` makes one")
    else:
        now = time.time()
        columns = ("ID", "ROLE", "NAME", "CREATED", "STATE", "LAST USED", "FROM")
        print_table(columns, [_row(row, now) for row in rows])


@click.command(cls=Verb, example="hyperpi token revoke k7d2mpqx")
@click.argument("id", metavar="ID")
@json_option
def revoke(id: str, as_json: bool) -> None:
    """Make a token useless, and end the browser sessions that it opened."""
    with connected() as client:
        client.call("token.revoke", {"id": id})
    if as_json:
        print_json({"id": id, "revoked": True})
    else:
        click.echo(f"{one_line(id)} is revoked")


def _row(row: Json, now: float) -> list[Cell | str]:
    expires = ago(row.get("expires"), now)
    if row.get("revoked"):
        state = Cell("revoked", "dim")
    elif row.get("uses_left") == 0:
        joined = row.get("joined")
        state = Cell(f"used by {one_line(joined)}" if joined else "used", "dim")
    elif expires.endswith(("ago", "now")):
        state = Cell(f"expired {expires}", "dim")
    else:
        uses = row.get("uses_left")
        left = "" if uses is None else f", {uses} use{'' if uses == 1 else 's'} left"
        state = Cell(f"expires {expires}{left}", "good")
    return [
        str(row.get("id")),
        str(row.get("role")),
        one_line(row.get("name") or "-"),
        ago(row.get("created"), now),
        state,
        ago(row.get("last_used"), now),
        one_line(row.get("last_from") or "-"),
    ]


def _join_address(call: object) -> str | None:
    """Where a machine joins, as the hypivisor knows it; None when it does not say."""
    assert callable(call)
    try:
        said = call("node.join_address")
    except HyperPiError:
        return None
    addresses = said.get("addresses") if isinstance(said, dict) else None
    return one_line(addresses[0]) if addresses else None
