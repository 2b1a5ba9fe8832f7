"""`hyperpi sessions ls|revoke`: browsers that are logged in."""

import time

import click

from hyperpi.cli.group import Lazy, LazyGroup
from hyperpi.cli.options import Verb, connected, examples, json_option
from hyperpi.cli.output import note, print_json, print_table
from hyperpi.cli.words import ago, one_line, rows_of

sessions = LazyGroup(
    name="sessions",
    help="Browsers that are logged in.",
    table={
        "ls": Lazy("hyperpi.cli.sessions:ls", "List browser sessions"),
        "revoke": Lazy("hyperpi.cli.sessions:revoke", "Log a browser out, now"),
    },
    epilog=examples(
        """hyperpi sessions ls
           hyperpi sessions revoke k7d2mpqx"""
    ),
)


@click.command(
    cls=Verb,
    example="""hyperpi sessions ls
               hyperpi sessions ls --json | jq -r '.[] | select(.address != "127.0.0.1") | .id'""",
)
@json_option
def ls(as_json: bool) -> None:
    """List browsers that are logged in: who, as what, from where, until when.

    With --json a list of {id, name, role, origin, address, created, last_used, expires, token}.
    """
    with connected() as client:
        rows = rows_of(client.call("session.ls"), "sessions")
    if as_json:
        print_json(rows)
    elif not rows:
        note("no browser is logged in; `hyperpi login` makes a link")
    else:
        now = time.time()
        print_table(
            ("ID", "NAME", "ROLE", "FROM", "PAGE", "SINCE", "LAST USED", "ENDS"),
            [
                [
                    str(row.get("id")),
                    one_line(row.get("name")),
                    str(row.get("role")),
                    one_line(row.get("address") or "-"),
                    one_line(row.get("origin")),
                    ago(row.get("created"), now),
                    ago(row.get("last_used"), now),
                    ago(row.get("expires"), now),
                ]
                for row in rows
            ],
        )


@click.command(cls=Verb, example="hyperpi sessions revoke k7d2mpqx")
@click.argument("id", metavar="ID")
@json_option
def revoke(id: str, as_json: bool) -> None:
    """Log a browser out, now."""
    with connected() as client:
        client.call("session.revoke", {"id": id})
    if as_json:
        print_json({"id": id, "revoked": True})
    else:
        click.echo(f"{one_line(id)} is logged out")
