"""`hyperpi ls`: agents, now or as they change."""

import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import click

from hyperpi.cli.again import reconnected, refuse_if_revoked
from hyperpi.cli.client import Client, Notice
from hyperpi.cli.options import Verb, connect_again, connected, json_option, note_if_alone
from hyperpi.cli.output import (
    Cell,
    colours,
    note,
    print_json,
    print_line,
    print_table,
    state_cell,
    table_lines,
)
from hyperpi.cli.wires import ConnectionLost
from hyperpi.cli.words import Json, ago, folder, load_of, one_line, rows_of

# Of the contract, which is not imported for a list.
STATES = ("starting", "idle", "working", "waiting", "stuck", "exited", "unreachable")
COLUMNS = ("AGENT", "STATE", "FOLDER", "MODEL", "LOAD", "LAST", "WATCHED")
SHOWN_ENDED = 8  # the newest; all of them with --all
QUIET_S = 30.0  # a quiet mesh and a dead line look the same, so after this the mesh is asked again
REDRAW_S = 1.0  # how old the times on a watched list may look


class Roster:
    """The mesh as last told."""

    def __init__(self, whole: Json) -> None:
        self.epoch, self.rev = whole.get("epoch"), whole.get("rev")
        self.nodes = {str(node["id"]): node for node in rows_of(whole, "nodes")}
        self.agents = {str(agent["id"]): agent for agent in rows_of(whole, "agents")}
        self._after = _successors(self.agents)

    def apply(self, change: Json) -> bool:
        """Take a `mesh.changed`; False when it does not follow what is known: then ask again."""
        if change.get("epoch") != self.epoch or change.get("from") != self.rev:
            return False
        self.rev = change.get("rev")
        for item in change.get("gone") or ():
            self.nodes.pop(str(item), None)
            self.agents.pop(str(item), None)
        self.nodes.update({str(node["id"]): node for node in rows_of(change, "nodes")})
        self.agents.update({str(agent["id"]): agent for agent in rows_of(change, "agents")})
        self._after = _successors(self.agents)
        return True

    def listed(self, node: str | None, state: str | None) -> list[Json]:
        """Agents that fit: running ones by machine, project and name; then ended ones, newest first."""
        fitting = [
            agent
            for agent in self.agents.values()
            if (node is None or node in (agent.get("node"), self.node_name(agent)))
            and (state is None or agent.get("state") == state)
        ]
        alive = [agent for agent in fitting if agent.get("state") != "exited"]
        ended = [agent for agent in fitting if agent.get("state") == "exited"]
        alive.sort(
            key=lambda a: (self.node_name(a), str(a.get("project") or a.get("cwd")), str(a.get("name")))
        )
        ended.sort(key=lambda agent: str(agent.get("since")), reverse=True)
        return alive + ended

    def successor(self, agent: Json) -> Json | None:
        """Who went on with an ended agent: the newest, if that one was gone on with in its turn."""
        found: Json | None = None
        seen: set[str] = set()
        after = self._after.get(str(agent.get("id")))
        while after is not None and str(after["id"]) not in seen:
            found = after
            seen.add(str(after["id"]))
            after = self._after.get(str(after["id"]))
        return found

    def node_name(self, agent: Json) -> str:
        """Name of an agent's machine, its id when the machine is not listed."""
        return str(self.nodes.get(str(agent.get("node")), {}).get("name") or agent.get("node"))

    def row(self, agent: Json, now: float) -> list[Cell | str]:
        """One line of the list."""
        node = self.nodes.get(str(agent.get("node")), {})
        address = str(agent.get("address") or f"{agent.get('name')}@{self.node_name(agent)}")
        where = folder(str(agent.get("cwd") or ""), str(Path.home()))
        project = one_line(agent.get("project") or "")
        if project and not where.endswith("/" + project):
            where += f" ({project})"
        gone = agent.get("state") == "exited"
        after = self.successor(agent) if gone else None
        state = (
            Cell(f"went on as {one_line(after.get('name'))}", "dim") if after else shown_state(agent, node)
        )
        return [
            Cell(address, "dim" if gone else "bold"),
            state,
            where,
            one_line(agent.get("model") or "-", 40),
            load_of(agent.get("load")) or "-",
            ago(agent.get("last_event") or agent.get("since"), now),
            str(agent.get("watchers") or "-"),
        ]


def _successors(agents: dict[str, Json]) -> dict[str, Json]:
    """By the id of an ended agent: the one that went on with it."""
    return {str(one["resumed_from"]): one for one in agents.values() if one.get("resumed_from")}


def shown_state(agent: Json, node: Json) -> Cell:
    """An agent's state; when its machine cannot be asked, said as what was last known."""
    node_state = node.get("state", "online")
    if node_state == "online" or agent.get("state") == "exited":
        return state_cell(agent.get("state"), agent.get("detail"))
    return Cell(f"unknown (node {node_state}; was {agent.get('was') or agent.get('state')})", "dim")


@click.command(
    cls=Verb,
    example="""hyperpi ls
               hyperpi ls --watch
               hyperpi ls --node attic --state waiting
               hyperpi ls --json | jq -r '.[].name'""",
)
@click.option("--node", metavar="NODE", help="Only of this machine.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--all", "-a", "everything", is_flag=True, help="All ended agents, not just the latest.")
@click.option("--watch", "-w", is_flag=True, help="Go on and show changes, until Ctrl-C.")
@json_option
def ls(node: str | None, state: str | None, everything: bool, watch: bool, as_json: bool) -> None:
    """List agents: where they run, what they do, when they last did something.

    With --json a list of Agent; with --watch as well, one such list a line for each change.
    """
    with connected() as client:
        if not as_json:
            note_if_alone(client)
        if not watch:
            _print(Roster(client.call("mesh.get")), node, state, everything, as_json)
        elif as_json or not sys.stdout.isatty():
            for roster in rosters(client, QUIET_S):
                if roster is not None and as_json:
                    print_line(roster.listed(node, state))
                elif roster is not None:
                    _print(roster, node, state, everything, False)
                    click.echo()
        else:
            _watch(client, node, state, everything)


def _print(roster: Roster, node: str | None, state: str | None, everything: bool, as_json: bool) -> None:
    agents = roster.listed(node, state)
    if as_json:
        print_json(agents)
    elif not agents:
        note("no agents" + (" that fit" if node or state else "; start one with `hyperpi spawn PATH`"))
    else:
        shown, hidden = _cut(roster, agents, everything or state is not None)
        print_table(COLUMNS, [roster.row(agent, time.time()) for agent in shown])
        if hidden:
            note(f"and {hidden} more that have ended: `hyperpi ls --all`")
        if broke_off := sum(agent.get("resume") == "offered" for agent in agents):
            note(f"{broke_off} interrupted by mishap: `hyperpi resume --all-interrupted`, or `forget` them")


def _cut(roster: Roster, agents: list[Json], everything: bool) -> tuple[list[Json], int]:
    """What is listed, and how many are not: old ended ones, and those that another one went on with."""
    if everything:
        return agents, 0
    listed = [one for one in agents if one.get("state") != "exited" or roster.successor(one) is None]
    limit = sum(one.get("state") != "exited" for one in listed) + SHOWN_ENDED
    return listed[:limit], max(0, len(listed) - limit)


def rosters(client: Client, silence_s: float) -> Iterator[Roster | None]:
    """The roster, then again after each change; None after each `silence_s` seconds without one.

    A lost connection is made again.
    """
    whole = client.call("mesh.get")
    try:
        while True:
            try:
                yield from _changes(client, whole, silence_s)
            except ConnectionLost as lost:
                refuse_if_revoked(lost)
                note(f"hyperpi: {one_line(lost)}; coming back by itself")
                client, whole = reconnected(
                    connect_again, lambda other: other.call("mesh.get"), client.authority, until=inf
                )
    finally:
        client.close()


def _changes(client: Client, whole: Json, silence_s: float) -> Iterator[Roster | None]:
    roster, asked = Roster(whole), time.monotonic()
    yield roster
    while True:
        for message in client.messages(silence_s):
            if isinstance(message, Notice) and message.method == "mesh.changed":
                if not roster.apply(message.params):
                    roster, asked = Roster(client.call("mesh.get")), time.monotonic()
                yield roster
        if time.monotonic() - asked > QUIET_S:
            roster, asked = Roster(client.call("mesh.get")), time.monotonic()
        yield None


def _watch(client: Client, node: str | None, state: str | None, everything: bool) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        current: Roster | None = None
        for roster in rosters(client, REDRAW_S):
            current = roster or current
            assert current is not None
            agents, _ = _cut(current, current.listed(node, state), everything or state is not None)
            rows = [current.row(agent, time.time()) for agent in agents]
            lines = table_lines(COLUMNS, rows, console.width, coloured=colours(sys.stdout))
            live.update(Text.from_ansi("\n".join(lines), no_wrap=True), refresh=True)
