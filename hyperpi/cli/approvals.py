"""`hyperpi approvals`, `approve`, `deny` and `policy`: what agents ask of people, and when they have to."""

import sys
import time
from collections.abc import Iterator

import click

from hyperpi.cli.asking import chosen, headline, left, lines, outcome
from hyperpi.cli.client import Client
from hyperpi.cli.ls import rosters
from hyperpi.cli.options import Verb, agent_argument, connected, json_option
from hyperpi.cli.output import Cell, colours, note, print_json, print_line, print_table, styled
from hyperpi.cli.words import Json, ago, one_line, rows_of
from hyperpi.errors import AmbiguousName, NotFound

LOOK_S = 5.0  # with --watch: how often the roster is looked at when nothing changes
STYLES = {"pending": "wants", "approved": "good", "denied": "bad", "expired": "away", "withdrawn": "dim"}
LIMIT = 500


@click.command(
    cls=Verb,
    example="""hyperpi approvals
               hyperpi approvals --watch
               hyperpi approvals --all --agent frontend --json""",
)
@click.option("--agent", metavar="AGENT", help="Only of this agent.")
@click.option(
    "--all", "-a", "everything", is_flag=True, help="The decided ones too, as long as they are kept."
)
@click.option("--watch", "-w", is_flag=True, help="Go on and show each one that comes, until Ctrl-C.")
@json_option
def approvals(agent: str | None, everything: bool, watch: bool, as_json: bool) -> None:
    """List what agents wait for, on all machines: what they want to do, and how long you may think about it.

    With --json a list of Approval; with --watch as well, one such list a line for each change.
    """
    with connected() as client:
        if watch:
            _watch(client, agent, as_json)
            return
        found = _listed(client, agent, None if everything else "pending")
    if as_json:
        print_json(found)
    elif not found:
        note("nobody waits for you" if not everything else "nothing was asked lately")
    elif everything:
        now = time.time()
        print_table(("APPROVAL", "ASKED", "AGENT", "WHAT", "BECAME"), [_row(one, now) for one in found])
    else:
        for one in found:
            _show(one)
        note("answer with `hyperpi approve ID` or `hyperpi deny ID`, if you like with --note")


@click.command(
    cls=Verb,
    example="""hyperpi approve ap-x7k2m9qf
               hyperpi approve ap-x7k2m9qf --note "only this once"
               hyperpi approve ap-x7k2m9qf --choice staging""",
)
@click.argument("approval", metavar="ID")
@click.option("--note", "words", metavar="TEXT", help="Words for everybody who looks.")
@click.option(
    "--choice", metavar="CHOICE", help="One of the choices, by id or label, where there are several."
)
@click.option("--text", metavar="TEXT", help="The answer to a question that asks for a text.")
@json_option
def approve(approval: str, words: str | None, choice: str | None, text: str | None, as_json: bool) -> None:
    """Let an agent do what it asks for. ID: as `hyperpi approvals` shows it, or how it begins."""
    _answer(approval, words, choice, text, as_json, approving=True)


@click.command(
    cls=Verb,
    example="""hyperpi deny ap-x7k2m9qf
               hyperpi deny ap-x7k2m9qf --note "use the staging database" """,
)
@click.argument("approval", metavar="ID")
@click.option("--note", "words", metavar="TEXT", help="Why not, or what instead: the agent reads it.")
@json_option
def deny(approval: str, words: str | None, as_json: bool) -> None:
    """Do not let an agent do what it asks for. ID: as `hyperpi approvals` shows it, or how it begins."""
    _answer(approval, words, None, None, as_json, approving=False)


@click.command(
    cls=Verb,
    example="""hyperpi policy frontend
               hyperpi policy frontend ask-all
               hyperpi policy frontend node.toml""",
)
@agent_argument
@click.argument(
    "mode", required=False, type=click.Choice(["auto", "ask-risky", "ask-all", "node.toml"]), metavar="[MODE]"
)
@json_option
def policy(agent: str, mode: str | None, as_json: bool) -> None:
    """Say when an agent has to ask before it calls a tool: auto, ask-risky, ask-all, or as node.toml says.

    Less than node.toml wants only where it allows that. Without a MODE: what holds now.
    """
    with connected() as client:
        if mode is None:
            now: Json = client.call("agent.show", {"agent": agent}).get("approvals") or {}
        else:
            asked = None if mode == "node.toml" else mode
            now = client.call("agent.policy", {"agent": agent, "mode": asked})
    if as_json:
        print_json(now)
    else:
        click.echo(f"{one_line(agent)}: {one_line(now.get('mode'))} ({one_line(now.get('from'))})")


# --- inside -----------------------------------------------------------------------------------------------


def _answer(
    wish: str, words: str | None, choice: str | None, text: str | None, as_json: bool, *, approving: bool
) -> None:
    with connected() as client:
        approval = _find(client, wish)
        params: Json = {
            "agent": approval["agent"],
            "approval": approval["id"],
            "choice": chosen(approval, choice, text, approve=approving),
        }
        params |= {key: value for key, value in (("note", words), ("text", text)) if value is not None}
        decided: Json = client.call("agent.answer", params)["approval"]
    if as_json:
        print_json(decided)
    else:
        click.echo(f"{outcome(decided, time.time())}: {headline(decided)}")


def _find(client: Client, wish: str) -> Json:
    """The approval of that id, or the open one whose id begins so. Raises NotFound, AmbiguousName."""
    waiting = _listed(client, None, "pending")
    fitting = [one for one in waiting if str(one.get("id")).startswith(wish)]
    if len(fitting) > 1:
        exact = [one for one in fitting if one.get("id") == wish]
        if not exact:
            raise AmbiguousName(
                f"{wish} fits several approvals", data={"candidates": [str(one.get("id")) for one in fitting]}
            )
        fitting = exact
    fitting = fitting or [one for one in _listed(client, None, None) if one.get("id") == wish]
    if not fitting:
        raise NotFound(f"no approval {one_line(wish)}", hint="`hyperpi approvals` lists what waits for you")
    return fitting[0]


def _listed(client: Client, agent: str | None, state: str | None) -> list[Json]:
    asked: Json = {"state": state, "limit": LIMIT}
    if agent is not None:
        asked["agent"] = agent
    answer = client.call("approval.list", asked)
    if isinstance(answer, dict) and answer.get("complete") is False:
        note("hyperpi: some machines could not be asked; what waits there is missing here")
    return rows_of(answer, "approvals")


def _watch(client: Client, agent: str | None, as_json: bool) -> None:
    shown: dict[str, Json] = {}
    for found in _changes(client, agent):
        if as_json:
            print_line(found)
            continue
        for one in found:
            if str(one["id"]) not in shown:
                _show(one)
        sys.stdout.flush()
        shown = {str(one["id"]): one for one in found}


def _changes(client: Client, agent: str | None) -> Iterator[list[Json]]:
    """What waits now, then again whenever the roster says that it may be something else."""
    before: object = None
    for roster in rosters(client, LOOK_S):
        if roster is None:
            continue
        counts = {id: one.get("pending") for id, one in roster.agents.items() if one.get("pending")}
        since = {id: roster.agents[id].get("detail") for id in counts}
        if (counts, since) != before:
            before = (counts, since)
            with connected() as asking:  # the roster's own connection is busy with telling
                yield _listed(asking, agent, "pending")


def _show(approval: Json) -> None:
    coloured = colours(sys.stdout)
    click.echo(f"{one_line(approval.get('address'))} · {one_line(approval.get('id'))}")
    for text, style in lines(approval, time.time()):
        click.echo(styled(text, style) if coloured and style else text)


def _row(approval: Json, now: float) -> list[Cell | str]:
    state = str(approval.get("state"))
    became = left(approval, now) if state == "pending" else outcome(approval, now)
    return [
        one_line(approval.get("id")),
        ago(approval.get("asked_at"), now),
        one_line(approval.get("address")),
        one_line(headline(approval), 60),
        Cell(became, STYLES.get(state, "")),
    ]
