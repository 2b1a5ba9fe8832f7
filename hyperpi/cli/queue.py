"""`hyperpi queue AGENT`."""

import time

import click

from hyperpi.cli.options import Verb, agent_argument, connected, json_option
from hyperpi.cli.output import Cell, note, print_json, print_table
from hyperpi.cli.words import Json, ago, one_line, printable, rows_of
from hyperpi.errors import NodeUnreachable

PLACES = {
    "node": "kept until it is back",
    "agent": "waits in it",
    "handed": "in its hands, cannot be taken back",
    "lost": "not taken, as far as is known: it has ended",
}

SHOWN_CHARS = 1_000  # of each, in the table


@click.command(
    cls=Verb,
    example="""hyperpi queue frontend
               hyperpi queue frontend --cancel p-1f3a
               hyperpi prompt frontend "$(hyperpi queue frontend --cancel p-1f3a) and say why" --follow-up""",
)
@agent_argument
@click.option("--cancel", metavar="ID", help="Take a prompt back, and print it.")
@json_option
def queue(agent: str, cancel: str | None, as_json: bool) -> None:
    """List the prompts that wait for an agent, or take one back.

    ID may be its beginning. With --json a list of {id, text, cut, kept, mode, source, images, at, where}:
    `cut` characters are missing from `text`. With --cancel {id, text, mode, images}.
    """
    with connected() as client:
        waiting = _waiting(client.call("agent.show", {"agent": agent}))
        if cancel is not None:
            taken: Json = client.call("agent.unqueue", {"agent": agent, "id": _whole(waiting, cancel)})
            if as_json:
                print_json(taken)
            else:
                click.echo(printable(str(taken.get("text") or "")))
            return
    if as_json:
        print_json(waiting)
        return
    if not waiting:
        note(f"Nothing waits for {one_line(agent)}.")
        return
    now = time.time()
    print_table(
        ["ID", "CAME", "FROM", "MODE", "WHERE", "TEXT"],
        [
            [
                one_line(one.get("id"), 20),
                ago(one.get("at"), now),
                one_line(one.get("source")),
                one_line(one.get("mode")),
                Cell(PLACES.get(str(one.get("where")), str(one.get("where"))), "dim"),
                one_line(one.get("text"), SHOWN_CHARS) + ("…" if one.get("cut") else ""),
            ]
            for one in waiting
        ],
    )


def _waiting(shown: Json) -> list[Json]:
    """What waits; only its node knows. Raises NodeUnreachable when that was not asked."""
    if "queue" not in shown:
        why = shown.get("detail") or "its machine cannot be asked"
        raise NodeUnreachable(
            f"what waits for {one_line(shown.get('name'))} is not known: {one_line(why)}",
            hint="try again when its machine is back",
        )
    return rows_of(shown, "queue")


def _whole(waiting: list[Json], wish: str) -> str:
    """The one id that begins like this; what fits none or several is left to the node to judge."""
    fitting = [str(one.get("id")) for one in waiting if str(one.get("id")).startswith(wish)]
    return fitting[0] if len(fitting) == 1 else wish
