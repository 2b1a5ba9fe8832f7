"""`hyperpi resume AGENT`: go on, as a new agent, with what one that has ended had been at."""

import sys

import click

from hyperpi.cli.again import ask_surely
from hyperpi.cli.options import Verb, complete_agent, connect_again, connected, json_option, text_or_stdin
from hyperpi.cli.output import note, print_json
from hyperpi.cli.words import Json, one_line, rows_of
from hyperpi.errors import HyperPiError


@click.command(
    cls=Verb,
    example="""hyperpi resume frontend
               hyperpi resume frontend@attic --prompt "go on where you left off"
               hyperpi resume --all-interrupted""",
)
@click.argument("agent", required=False, shell_complete=complete_agent)
@click.option("--prompt", metavar="TEXT", help="The first thing to say to it; - reads stdin.")
@click.option(
    "--all-interrupted",
    is_flag=True,
    help="All that a restart of their machine, a crash or a kill has interrupted.",
)
@click.option("--node", metavar="NODE", help="With --all-interrupted: only of this machine.")
@json_option
def resume(
    agent: str | None, prompt: str | None, all_interrupted: bool, node: str | None, as_json: bool
) -> None:
    """Start an ended agent again in its folder, with its conversation, and print its address.

    It is a new agent under the old name, and waits: the turn that was interrupted is not run again by itself.
    With --json a list of {agent, address, resumed_from}.
    """
    if (agent is None) != all_interrupted:
        raise click.UsageError("name one AGENT, or give --all-interrupted")
    if node is not None and not all_interrupted:
        raise click.UsageError("--node goes with --all-interrupted; an AGENT is NAME@NODE")
    said: Json = {} if prompt is None else {"prompt": text_or_stdin(prompt)}
    resumed: list[Json] = []
    refused = 0
    with connected() as client:
        wanted = [agent] if agent is not None else offered(client.call("mesh.get"), node)
        for one in wanted:
            try:
                result = ask_surely(client, connect_again, "agent.resume", {"agent": one, **said})
            except HyperPiError as exc:
                if agent is not None:
                    raise
                refused += 1
                note(f"hyperpi: {one_line(one)} was not resumed: {one_line(exc, 300)}")
                continue
            resumed.append({"resumed_from": one, **result})
            if not as_json:
                click.echo(one_line(result.get("address") or result["agent"]))
    if as_json:
        print_json(resumed)
    elif not wanted:
        note("nothing was interrupted")
    if refused:
        sys.exit(1)


def offered(mesh: Json, node: str | None) -> list[str]:
    """The ids of the agents that broke off by mishap, of one machine or of all."""
    nodes = {str(one["id"]): one for one in rows_of(mesh, "nodes")}
    return [
        str(agent["id"])
        for agent in rows_of(mesh, "agents")
        if agent.get("resume") == "offered"
        and node in (None, agent.get("node"), nodes.get(str(agent.get("node")), {}).get("name"))
    ]
