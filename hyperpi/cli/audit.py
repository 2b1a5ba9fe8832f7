"""`hyperpi audit`: who did what, from where, with what result."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import click
import msgspec

from hyperpi.audit import Audit, Wanted
from hyperpi.cli.client import Client
from hyperpi.cli.options import Verb, connected, home, json_option
from hyperpi.cli.output import Cell, note, print_json, print_table, to_json
from hyperpi.cli.words import Json, one_line, parse_duration, rows_of
from hyperpi.clock import from_rfc3339, rfc3339
from hyperpi.errors import HyperPiError, NotFound

PAGE = 500  # rows of one answer
RESULT_STYLES = {"done": "good", "refused": "away", "failed": "bad"}


def moment(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of an option that is a time: RFC 3339, a day, or how long ago, as in 2h."""
    if value is None:
        return None
    try:
        return rfc3339(time.time() - parse_duration(value))
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no time: write 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z", param=param
        ) from None
    return rfc3339((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


@click.command(
    cls=Verb,
    example="""hyperpi audit --limit 20
               hyperpi audit --what node. --since 7d
               hyperpi audit --who ann --result refused
               hyperpi audit --about frontend@den
               hyperpi audit --verify
               hyperpi audit --here
               hyperpi audit --json | jq '.[] | select(.what == "node.spawn")'""",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Newest rows.")
@click.option("--who", metavar="TEXT", help="Only of whoever has this in the name.")
@click.option("--what", metavar="TEXT", help="Only acts with this in the name: node., revoke, token.create.")
@click.option("--result", type=click.Choice(["asked", "done", "refused", "failed"]), help="Only these.")
@click.option("--about", metavar="TEXT", help="Only rows that speak of this node, agent or other word.")
@click.option("--since", metavar="TIME", callback=moment, help="2h, 7d, or a time such as 2026-01-31T12:00Z.")
@click.option("--until", metavar="TIME", callback=moment, help="The same.")
@click.option(
    "--here",
    is_flag=True,
    help="What was asked of this machine's node by its own owner, of which no hypivisor hears.",
)
@click.option("--verify", is_flag=True, help="Check that no row was changed or removed; exit 1 if one was.")
@json_option
def audit(limit: int, here: bool, verify: bool, as_json: bool, **filters: str | None) -> None:
    """Print the audit trail, newest last.

    Every filter that is given must fit. With --json a list of {seq, at, who, origin, what, result, details}.
    """
    wanted: Json = {name: value for name, value in filters.items() if value}
    if here:
        with _own_trail() as trail:
            if verify:
                _print_verdict(msgspec.to_builtins(trail.verify()), as_json)
                return
            rows = _found(trail, limit, wanted)
    else:
        with connected() as client:
            if verify:
                _print_verdict(client.call("audit.verify"), as_json)
                return
            rows = _newest(client, limit, wanted)
    rows.sort(key=lambda row: int(row.get("seq") or 0))
    if as_json:
        print_json(rows)
    elif not rows:
        note("nothing is recorded that fits" if any(filters.values()) else "nothing is recorded yet")
    else:
        print_table(("TIME", "WHO", "FROM", "WHAT", "RESULT", "DETAILS"), [_row(row) for row in rows])


@contextmanager
def _own_trail() -> Iterator[Audit]:
    """The file of this machine's node, which may be writing to it. Raises NotFound."""
    path = home().node / "audit.db"
    if not path.exists():
        raise NotFound("this machine has no trail of its own yet", hint="`hyperpi node run` starts its node")
    with closing(Audit.open(path, time.time)) as trail:
        yield trail


def _found(trail: Audit, limit: int, wanted: Json) -> list[Json]:
    """The newest rows that fit, as the hypivisor would tell them."""
    about = (str(wanted["about"]),) if "about" in wanted else ()
    since, until = (from_rfc3339(wanted[key]) if key in wanted else None for key in ("since", "until"))
    texts = {key: str(wanted[key]) for key in ("who", "what", "result") if key in wanted}
    rows: list[Json] = []
    before: int | None = None
    while len(rows) < limit:
        looked_for = Wanted(about=about, since=since, until=until, **texts)
        page = trail.search(looked_for, limit - len(rows), before=before)
        rows += [{**msgspec.to_builtins(row), "at": rfc3339(row.at)} for row in page.rows]
        before = page.next
        if before is None:
            break
    return rows


def _newest(client: Client, limit: int, wanted: Json) -> list[Json]:
    """The newest rows that fit, page by page: the server looks at so many rows for one answer."""
    rows: list[Json] = []
    while len(rows) < limit:
        page = client.call("audit.list", {**wanted, "limit": min(PAGE, limit - len(rows))})
        rows += rows_of(page, "rows")
        before = page.get("next") if isinstance(page, dict) else None
        if before is None:
            break
        wanted = {**wanted, "before": before}
    return rows[:limit]


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
