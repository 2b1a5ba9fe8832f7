"""`hyperpi scrolls`: what was sent to whom, and what became of it."""

import time

import click

from hyperpi.cli.options import Verb, complete_agent, connected, json_option
from hyperpi.cli.output import Cell, note, print_json, print_table
from hyperpi.cli.send import content
from hyperpi.cli.words import Json, ago, one_line, rows_of

STATES = ("accepted", "relayed", "stored", "delivered", "answered", "expired", "refused", "unknown")
STYLES = {"answered": "good", "delivered": "soon", "expired": "bad", "refused": "bad", "unknown": "bad"}


@click.command(
    cls=Verb,
    example="""hyperpi scrolls
               hyperpi scrolls --state accepted
               hyperpi scrolls --agent client@attic --json""",
)
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--agent", shell_complete=complete_agent, metavar="AGENT", help="Only from or to this agent.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="The newest.")
@json_option
def scrolls(state: str | None, agent: str | None, limit: int, as_json: bool) -> None:
    """List scrolls with their receipts, newest last."""
    asked: Json = {"limit": limit}
    asked |= {key: value for key, value in (("state", state), ("agent", agent)) if value is not None}
    with connected() as client:
        answer = client.call("scroll.list", asked)
    rows = rows_of(answer, "scrolls")
    if isinstance(answer, dict) and answer.get("complete") is False:
        note("hyperpi: some machines could not be asked; their scrolls are missing here")
    if as_json:
        print_json(rows)
    elif not rows:
        note("no scrolls" + (" that fit" if state or agent else ""))
    else:
        now = time.time()
        table = [_row(row, now) for row in rows]
        print_table(("SCROLL", "SENT", "FROM", "TO", "STATE", "MESSAGE", "ANSWER"), table)


def _row(row: Json, now: float) -> list[Cell | str]:
    receipts = rows_of(row, "receipts")
    opcodes = [receipt["opcode"] for receipt in receipts if receipt.get("opcode")]
    reasons = [str(receipt["reason"]) for receipt in receipts if receipt.get("reason")]
    state = str(row.get("state"))
    answer = content(opcodes[0]) if opcodes else reasons[0] if reasons else ""
    return [
        one_line(row.get("scroll_id")),
        ago(row.get("at"), now),
        one_line(row.get("from")),
        one_line(row.get("to")),
        Cell(state, STYLES.get(state, "")),
        one_line(row.get("message"), 60),
        one_line(answer, 60),
    ]
