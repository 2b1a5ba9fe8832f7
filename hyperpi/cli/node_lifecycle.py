"""`hyperpi node run|join|leave|stop`: this machine's node and its place in a mesh."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from hyperpi import join_token, runfile, secret_text
from hyperpi.cli.finding import for_code, for_token, host_and_port
from hyperpi.cli.options import NO_MDNS, environment, examples, json_option, read_token
from hyperpi.cli.output import print_json
from hyperpi.cli.processes import (
    home_option,
    node_beside,
    run_until_signal,
    set_up_logging,
    stop_node,
    wait_for_node,
)
from hyperpi.config import LOCAL_PORT, Environment, Home, owners_environment, take_notify_socket
from hyperpi.errors import BadRequest
from hyperpi.service_manager import tell_ready

if TYPE_CHECKING:
    from node.identity import Membership


STOPPED = """\
the node has ended; its agents go on, out of sight of everybody until it runs again
start it with `hyperpi up` where the mesh lives, with `hyperpi node join` on another machine of it"""


@click.command(
    epilog=examples(
        """hyperpi node run
           HYPERPI_LOG=info hyperpi node run --no-mdns"""
    )
)
@click.option("--name", metavar="NODE", help="How this machine is called before it has joined a mesh.")
@click.option("--port", type=click.IntRange(0, 65535), default=LOCAL_PORT, help="Of /ws on loopback.")
@click.option("--no-mdns", is_flag=True, help=NO_MDNS)
@click.option("--log-file", is_flag=True, hidden=True, help="Log to HYPERPI_HOME/logs/node.log.")
@home_option
def run(name: str | None, port: int, no_mdns: bool, log_file: bool) -> None:
    """Run this machine's node in the foreground.

    A machine that has joined a mesh links to it again; one that has not serves its own agents alone. Ending
    it ends no agent.
    """
    known = environment()
    set_up_logging(known, known.home.make("logs") / "node.log" if log_file else None)
    _serve(known, name, port, known.mdns and not no_mdns)


def _serve(known: Environment, name: str | None, port: int, mdns: bool) -> None:
    from node import app

    notify_socket = take_notify_socket()
    config = app.NodeConfig(
        home=known.home,
        environment=owners_environment(),
        user_home=Path.home(),
        name=name,
        local_port=port,
        mdns=mdns,
        ready=lambda: tell_ready(notify_socket),
    )
    run_until_signal(lambda stop: app.run(config, stop))


@click.command(
    epilog=examples(
        """hyperpi node join --token-file token.txt        find the hypivisor by mDNS
           hyperpi node join den.local --token hp1-...     ask this host
           hyperpi node join                               compare codes instead of a token"""
    )
)
@click.argument("address", metavar="[HOST[:ENROL_PORT]]", required=False)
@click.option(
    "--token", metavar="T", help="One-use join token; it shows in the list of processes for a moment."
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file with such a token.",
)
@click.option("--name", metavar="NODE", help="Wished name; the mesh keeps names unique.")
@click.option("--foreground", is_flag=True, help="Run the node here instead of in the background.")
@click.option("--no-mdns", is_flag=True, help=NO_MDNS)
@json_option
@home_option
def join(
    address: str | None,
    token: str | None,
    token_file: Path | None,
    name: str | None,
    foreground: bool,
    no_mdns: bool,
    as_json: bool,
) -> None:
    """Join this machine to a mesh and leave its node running.

    Without an address the hypivisor is found by mDNS. Without a token an admin approves this machine: both
    sides show six digits, which must be the same. On a machine that has joined already, without either: its
    node is started again.
    """
    known = environment()
    set_up_logging(known)
    if token and token_file:
        raise click.UsageError("give --token or --token-file, not both")
    if token_file is not None:
        token = read_token(token_file)
    mdns = known.mdns and not no_mdns
    folder = known.home.make("node", "identity")
    known_as = None if token else _known_as(folder)
    if known_as is not None and address is None and not foreground and not _is_refused(known.home):
        with node_beside(known.home, *(["--no-mdns"] if no_mdns else [])) as node:
            pass
        wait_for_node(known.home, node)
        _say(known_as, as_json, "in {mesh} already, as {name}; its node runs")
        return
    if address is None and not mdns:
        raise BadRequest("without mDNS an address is needed", hint="hyperpi node join HOST:PORT")
    if token is None and not sys.stdin.isatty():
        _needs_person(known_as)
    where = host_and_port(address) if address is not None else None
    wanted = join_token.parse_join_token(token) if token is not None else None
    from node.policy import load_policy

    load_policy(known.home.node / "node.toml", Path.home())  # before a token is used up for nothing
    joining = _join(folder, where, token, wanted, name)
    if foreground:
        _say(asyncio.run(joining), as_json)
        _serve(known, name, LOCAL_PORT, mdns)
        return
    with node_beside(known.home, *(["--no-mdns"] if no_mdns else [])) as node:
        member = asyncio.run(joining)
    wait_for_node(known.home, node)
    _say(member, as_json)


async def _join(
    folder: Path,
    where: tuple[str, int] | None,
    token: str | None,
    wanted: join_token.JoinToken | None,
    name: str | None,
) -> "Membership":
    """By the hypivisor that was named, else by the one that fits; with the token, or by comparing codes."""
    from node import enroll

    async def by_token(host: str, port: int) -> "Membership":
        assert token is not None
        return await enroll.join(folder, host, port, token, name)

    async def by_code(host: str, port: int) -> "Membership":
        return await enroll.join_by_code(folder, host, port, _confirm, name)

    if where is not None:
        return await (by_token if wanted else by_code)(*where)
    if wanted is not None:
        return await for_token(secret_text.base32(wanted.ca_fingerprint), by_token)
    return await for_code(by_code)


def _known_as(folder: Path) -> "Membership | None":
    """This machine's place in a mesh, as far as it can be read: joining makes a damaged one anew."""
    from node import identity

    try:
        return identity.load(folder)
    except identity.IdentityUnusable:
        return None


def _is_refused(home: Home) -> bool:
    """Whether the node runs and its mesh will not have it: then it has to be let in anew."""
    return bool((runfile.read_live(home.node / "run.json") or {}).get("refused"))


def _needs_person(known_as: "Membership | None") -> NoReturn:
    if known_as is not None:
        raise BadRequest(
            f"this machine is in the mesh {known_as.mesh_name} already, as {known_as.node_name}",
            hint="`hyperpi node join` alone starts its node; another mesh lets it in with a token",
        )
    raise BadRequest(
        "joining without a token needs a person at a terminal, who compares six digits",
        hint="use --token-file, with what `hyperpi token create --role node` gives at the hypivisor",
    )


def _say(joined: "Membership", as_json: bool, words: str = "joined {mesh} as {name}") -> None:
    if as_json:
        print_json({"node": joined.node_id, "name": joined.node_name, "mesh": joined.mesh_name})
    else:
        click.echo(words.format(mesh=joined.mesh_name, name=joined.node_name))


async def _confirm(code: str) -> bool:
    """The person here compares the digits with what Pi-DE shows."""
    click.echo(f"An admin sees this machine in Pi-DE and with `hyperpi node ls`. Its code: {code}", err=True)
    while True:
        click.echo("Does Pi-DE show the same code? [y/N]: ", nl=False, err=True)
        answer = (await _typed_line()).strip().lower()
        if answer in {"y", "yes", "n", "no", ""}:
            return answer.startswith("y")


async def _typed_line() -> str:
    """What the person types; empty at the end of input. In no thread, which neither Ctrl-C nor an admin's no
    would end.
    """
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not typed.done():
            typed.set_result(None)

    loop.add_reader(sys.stdin.fileno(), ready)
    try:
        await typed
    except asyncio.CancelledError:
        click.echo(err=True)  # what is said next begins a line
        raise
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


@click.command(epilog=examples("hyperpi node leave"))
@json_option
@home_option
def leave(as_json: bool) -> None:
    """Leave the mesh. The node and its agents go on, on this machine alone.

    With --json {left}: the mesh that this machine was in, or null.
    """
    from node import identity

    known = environment()
    folder = known.home.node / "identity"
    member = identity.load(folder)
    if member is not None:
        identity.forget(folder)
    if as_json:
        print_json({"left": member.mesh_name if member else None})
    elif member is None:
        click.echo("this machine is in no mesh")
    else:
        click.echo("left the mesh; the agents of this machine go on")


@click.command(epilog=examples("hyperpi node stop"))
@json_option
@home_option
def stop(as_json: bool) -> None:
    """Stop this machine's node. Its agents go on; nobody sees or prompts them until it runs again.

    No pi starts it then: `up`, `node join` or `node run` do. Scrolls to its agents wait.

    With --json {stopped}: false when none was running.
    """
    stopped = stop_node(environment().home)
    if as_json:
        print_json({"stopped": stopped})
    else:
        click.echo(STOPPED if stopped else "no node was running")
