"""`hyperpi show AGENT`."""

import time
from pathlib import Path

import click

from hyperpi.cli.options import Verb, agent_argument, connected, json_option
from hyperpi.cli.output import Cell, print_fields, print_json, state_cell
from hyperpi.cli.words import Json, ago, folder, load_of, one_line, rows_of


@click.command(
    cls=Verb,
    example="""hyperpi show frontend
               hyperpi show frontend@den --json""",
)
@agent_argument
@json_option
def show(agent: str, as_json: bool) -> None:
    """Show one agent: state, folder, model, tools, last activity.

    AGENT is an id, a name, or name@node. With --json an Agent with its card.
    """
    with connected() as client:
        shown: Json = client.call("agent.show", {"agent": agent})
    if as_json:
        print_json(shown)
        return
    _print(shown, time.time())


def _print(agent: Json, now: float) -> None:
    card = agent.get("card") or {}
    usage = agent.get("usage") or {}
    session = agent.get("session") or {}
    evidence = agent.get("evidence") or {}
    tools = [one_line(tool.get("name")) for tool in rows_of(card, "tools")]
    skills = [one_line(skill.get("name")) for skill in rows_of(card, "skills")]
    proofs = [f"{kind} {ago(at, now)}" for kind, at in evidence.items() if at]
    print_fields(
        [
            ("agent", Cell(str(agent.get("address") or agent.get("name")), "bold")),
            ("id", str(agent.get("id"))),
            ("kind", str(agent.get("kind") or "")),
            ("state", state_cell(agent.get("state"), agent.get("detail"))),
            ("ended by", _ending(agent.get("ending") or {})),
            ("last output", _last_output(agent)),
            ("go on", f"hyperpi resume {one_line(agent.get('address'))}" if agent.get("resume") else ""),
            ("since", ago(agent.get("since"), now)),
            ("last activity", ago(agent.get("last_event"), now)),
            ("seen alive by", ", ".join(proofs)),
            ("folder", folder(str(agent.get("cwd") or ""), str(Path.home()), limit=200)),
            ("project", str(agent.get("project") or "")),
            ("model", str(agent.get("model") or card.get("model") or "")),
            ("thinking", str(agent.get("thinking") or "")),
            ("mode", str(agent.get("mode") or "")),
            ("session", str(session.get("name") or session.get("id") or "")),
            ("process", str(agent.get("pid") or "")),
            ("load", load_of(agent.get("load"))),
            ("watched by", str(agent.get("watchers") or "nobody")),
            ("tokens", _tokens(usage)),
            ("context", _context(usage.get("context"))),
            ("resumed from", str(agent.get("resumed_from") or "")),
            ("tools", f"{len(tools)}: {', '.join(tools)}" if tools else str(agent.get("tools") or "")),
            ("skills", ", ".join(skills)),
        ]
    )


def _ending(ending: Json) -> str:
    """Why it has ended, in a few words; empty for one that runs."""
    said = {
        "quit": "itself",
        "crash": "a crash",
        "killed": "a signal from somebody else, or the loss of its keeper",
        "closed": "its terminal being closed",
        "stopped": f"{one_line(ending.get('by') or 'an order')}, who stopped it",
        "reboot": "a restart of its machine",
        "upgrade": "an upgrade",
        "unknown": "something that nobody saw",
    }.get(str(ending.get("why")), str(ending.get("why") or ""))
    facts = [f"exit code {ending['code']}"] if ending.get("code") is not None else []
    facts += [str(ending["signal"])] if ending.get("signal") else []
    facts += ["in the middle of a turn"] if ending.get("interrupted") else []
    return f"{said} ({', '.join(facts)})" if facts else said


def _last_output(agent: Json) -> str:
    return " / ".join(one_line(line) for line in str(agent.get("last_output") or "").splitlines()[-5:])


def _context(context: Json | None) -> str:
    if not context or not context.get("window"):
        return ""
    window = f"of {context['window']:,} tokens"
    if context.get("tokens") is None:
        return f"not counted yet, {window}"
    return f"{context['tokens']:,} {window} ({context.get('percent') or 0:.0f} %)"


def _tokens(usage: Json) -> str:
    taken, made, cost = (usage.get(name) or 0 for name in ("input_tokens", "output_tokens", "cost_usd"))
    return f"{taken:,} in, {made:,} out, ${cost:.2f}" if taken or made else ""
