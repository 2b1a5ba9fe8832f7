"""`hyperpi spawn PATH`: start an agent in a folder."""

import os
import uuid
from collections.abc import Sequence
from typing import NamedTuple

import click

from hyperpi.address import NAMES, clean_name
from hyperpi.cli.again import ask_surely
from hyperpi.cli.local import LocalNode, local_node
from hyperpi.cli.options import Verb, connect_again, connected, home, json_option, text_or_stdin
from hyperpi.cli.output import note, print_json
from hyperpi.cli.words import Json, one_line, rows_of
from hyperpi.errors import HyperPiError

_AFTER = "hyperpi.spawn.after"


class Where(NamedTuple):
    """The machine to start on. `local`: it is this one, so a path may be relative."""

    node: str
    local: bool


class SpawnVerb(Verb):
    """Takes what stands after `--` for the agent, and nothing else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split at the first `--`."""
        if "--" in args:
            place = args.index("--")
            args, ctx.meta[_AFTER] = args[:place], args[place + 1 :]
        return super().parse_args(ctx, args)


@click.command(
    cls=SpawnVerb,
    options_metavar="[OPTIONS]",
    example="""hyperpi spawn ~/code/site
               hyperpi spawn . --name frontend --prompt "read README.md, then wait"
               hyperpi spawn '~/code' --node attic --new-folder blog
               hyperpi spawn ~/code/site -- --model anthropic/claude-sonnet-4-5
               hyperpi spawn ~/code/site --kind acp -- opencode acp
               hyperpi spawn . --headless --prompt "run the tests"
               hyperpi spawn . --kind terminal -- htop""",
)
@click.argument("path")
@click.option("--node", metavar="NODE", help="On which machine. Default: this one.")
@click.option("--kind", default="pi", show_default=True, help="What to start, as its node.toml lists it.")
@click.option("--new-folder", metavar="NAME", help="Make this folder in PATH and start there.")
@click.option("--name", metavar="NAME", help="What to call it. Default: after its folder.")
@click.option("--headless", is_flag=True, help="Without a terminal: a pi that can only be prompted.")
@click.option("--prompt", metavar="TEXT", help="The first thing to say to it; - reads stdin.")
@json_option
@click.pass_context
def spawn(
    ctx: click.Context,
    path: str,
    node: str | None,
    kind: str,
    new_folder: str | None,
    name: str | None,
    headless: bool,
    prompt: str | None,
    as_json: bool,
) -> None:
    """Start an agent in the folder PATH and print its address; what follows -- is given to it.

    A pi runs in a terminal of its own, as if you had typed it. With --kind terminal any program does: what
    follows -- is the program and its arguments, or nothing for your shell.

    The agent goes on when this command, this terminal or the hypivisor ends. With --json {agent, address}.
    """
    wished: Json = {"new_folder": new_folder, "name": name}
    if prompt is not None:
        wished["prompt"] = text_or_stdin(prompt)
    asked = {key: value for key, value in wished.items() if value is not None}
    asked |= {"headless": True} if headless else {}
    asked |= {"kind": kind, "args": ctx.meta.get(_AFTER, []), "request_id": str(uuid.uuid4())}
    with connected() as client:
        nodes = rows_of(client.call("mesh.get"), "nodes")
        where = choose(nodes, node, local_node(home()))
        result = ask_surely(
            client, connect_again, "node.spawn", {**asked, "node": where.node, "path": folder_of(path, where)}
        )
    agent, address = str(result["agent"]), str(result.get("address") or result["agent"])
    if as_json:
        print_json({"agent": agent, "address": address})
    else:
        click.echo(one_line(address))
        note(see_it(one_line(address), kind, headless=headless))
        if name is not None and address.partition("@")[0] != name:
            note(f"{name} is the name of another agent there" if clean_name(name) == name else NAMES)


def see_it(address: str, kind: str, *, headless: bool) -> str:
    """How to look at an agent that was just started."""
    if kind == "terminal":
        return f"`hyperpi attach {address} --tty` shows its terminal; Ctrl-] leaves it"
    if kind == "pi" and not headless:
        return f"`hyperpi attach {address}` talks to it, with --tty in its own terminal"
    return f"`hyperpi attach {address}` talks to it"


def choose(nodes: Sequence[Json], wished: str | None, local: LocalNode) -> Where:
    """The machine that is meant. Raises UsageError when that cannot be told."""
    if wished is not None:
        return Where(wished, wished in (local.id, local.name))
    listed = {str(node.get("id")) for node in nodes}
    if local.id is not None and local.id in listed:
        return Where(local.id, True)
    online = [node for node in nodes if node.get("state") == "online"]
    if len(online) == 1:
        return Where(str(online[0]["id"]), False)
    if not online:
        raise HyperPiError("no node is online", hint="`hyperpi node run` starts the one of this machine")
    names = ", ".join(one_line(node.get("name")) for node in online)
    raise click.UsageError(f"on which machine? Give --node, one of {names}")


def folder_of(path: str, where: Where) -> str:
    """The path as the node gets it: absolute where we can tell, else absolute or from its user's home."""
    if where.local:
        return os.path.abspath(os.path.expanduser(path))
    if not path.startswith(("/", "~")):
        raise click.UsageError(f"{path!r} is relative: on another machine write an absolute path, or '~/…'")
    return path
