"""`hyperpi audit`: who did what, from where, with what result."""

import click

from hyperpi.cli.options import Verb, connected, json_option
from hyperpi.cli.output import Cell, note, print_json, print_table, to_json
from hyperpi.cli.words import Json, one_line, rows_of
from hyperpi.errors import HyperPiError

RESULT_STYLES = {"done": "good", "refused": "away", "failed": "bad"}


@click.command(
    cls=Verb,
    example="""hyperpi audit --limit 20
               hyperpi audit --verify
               hyperpi audit --json | jq '.[] | select(.what == "node.spawn")'""",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Newest rows.")
@click.option("--verify", is_flag=True, help="Check that no row was changed or removed; exit 1 if one was.")
@json_option
def audit(limit: int, verify: bool, as_json: bool) -> None:
    """Print the audit trail, newest last."""
    with connected() as client:
        if verify:
            _print_verdict(client.call("audit.verify"), as_json)
            return
        rows = rows_of(client.call("audit.list", {"limit": limit}), "rows")
    rows.sort(key=lambda row: int(row.get("seq") or 0))
    if as_json:
        print_json(rows)
    elif not rows:
        note("nothing is recorded yet")
    else:
        print_table(("TIME", "WHO", "FROM", "WHAT", "RESULT", "DETAILS"), [_row(row) for row in rows])


def _row(row: Json) -> list[Cell | str]:
    details = row.get("details") or {}
    said = " ".join(f"{key}={one_line(to_json(value).strip(chr(34)))}" for key, value in details.items())
    result = str(row.get("result"))
    return [
        str(row.get("at") or "")[:19].replace("T", " "),
        one_line(row.get("who")),
        one_line(row.get("origin")),
        one_line(row.get("what")),
        Cell(result, RESULT_STYLES.get(result, "")),
        said,
    ]


def _print_verdict(verdict: Json, as_json: bool) -> None:
    broken = verdict.get("broken_at")
    if as_json:
        print_json(verdict)
    elif broken is None:
        click.echo(f"{verdict.get('rows')} rows, none changed, none missing")
    if broken is not None:
        raise HyperPiError(
            f"the audit trail is broken at row {broken}: {verdict.get('reason')}",
            hint="keep the file as it is, and compare it with a backup",
        )
