"""`hyperpi abort`, `stop`, `forget` and `rename`: one request about one agent, answered with nothing."""

import click

from hyperpi.address import NAMES
from hyperpi.cli.options import Verb, agent_argument, connected, json_option
from hyperpi.cli.output import note, print_json
from hyperpi.cli.words import Json, one_line


@click.command(cls=Verb, example="hyperpi abort frontend")
@agent_argument
@json_option
def abort(agent: str, as_json: bool) -> None:
    """End what an agent is doing now; it stays and waits for you."""
    _act("agent.abort", {"agent": agent}, f"{agent} was told to leave off", as_json)


@click.command(cls=Verb, example="hyperpi stop frontend@den")
@agent_argument
@json_option
def stop(agent: str, as_json: bool) -> None:
    """End an agent. It stays listed, and its conversation readable."""
    with connected() as client:
        result: Json = client.call("agent.stop", {"agent": agent}) or {}
    if as_json:
        print_json({"agent": agent, **result})
    elif "ended" in result:
        click.echo(one_line(f"{agent} had ended before: {result['ended']}"))
    else:
        click.echo(one_line(f"{agent} was told to end"))


@click.command(cls=Verb, example="hyperpi forget frontend")
@agent_argument
@json_option
def forget(agent: str, as_json: bool) -> None:
    """Remove an ended agent from the lists. Its own session files are not touched."""
    _act("agent.forget", {"agent": agent}, f"{agent} is forgotten", as_json)


@click.command(cls=Verb, example="hyperpi rename pi-2 frontend")
@agent_argument
@click.argument("name")
@json_option
def rename(agent: str, name: str, as_json: bool) -> None:
    """Give an agent another name. Prints the one that it has got. With --json {agent, name}."""
    with connected() as client:
        id = client.call("agent.show", {"agent": agent})["id"]
        client.call("agent.rename", {"agent": id, "name": name})
        given = str(client.call("agent.show", {"agent": id})["name"])
    if as_json:
        print_json({"agent": agent, "name": given})
        return
    click.echo(f"{one_line(agent)} is now {one_line(given)}")
    if given != name:
        note(NAMES)


def _act(method: str, params: Json, done: str, as_json: bool) -> None:
    with connected() as client:
        result = client.call(method, params)
    if as_json:
        print_json({**params, **(result or {})})
    else:
        click.echo(one_line(done))
