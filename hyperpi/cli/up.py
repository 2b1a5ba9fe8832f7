"""`hyperpi up`: hypivisor and Pi-DE in this process, the local node beside it."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from hyperpi import secret_text, tls
from hyperpi.cli.options import NO_MDNS, environment, examples, seconds
from hyperpi.cli.output import draw_qr
from hyperpi.cli.processes import (
    home_option,
    node_pid,
    run_until_signal,
    set_up_logging,
    start_node,
    why_it_ended,
)
from hyperpi.config import ENROL_PORT, GRPC_PORT, PIDE_PORT, Environment
from hyperpi.errors import RefusedByPolicy

if TYPE_CHECKING:
    from hypivisor.app import Hypivisor
    from node.identity import Membership
    from pide.app import Pide

SHORTEST_LIFE_S, LONGEST_LIFE_S = 2.0, 366 * 86_400.0
LOOK_S = 0.2
NODE_S = 10.0  # a node starts in one; a loaded machine needs longer
PORT = click.IntRange(0, 65535)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The flags of `up`."""

    host: str
    port: int
    node_host: str
    grpc_port: int
    enrol_port: int
    mesh_name: str | None
    name: str | None
    no_node: bool
    no_mdns: bool
    certificate_life: timedelta
    public_url: str | None


def certificate_life(context: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """The callback of --certificate-life."""
    life_s = seconds(context, param, value)
    if life_s is not None and not SHORTEST_LIFE_S <= life_s <= LONGEST_LIFE_S:
        raise click.BadParameter("from 2s to 366d", param=param)
    return None if life_s is None else timedelta(seconds=life_s)


def hypivisor_options(function: Any) -> Any:
    """The flags that `up` and `hypivisor run` share."""
    for option in reversed(
        [
            click.option("--node-host", default="0.0.0.0", show_default=True, help="Where machines connect."),  # noqa: S104
            click.option("--grpc-port", type=PORT, default=GRPC_PORT, show_default=True, help="0 picks one."),
            click.option(
                "--enrol-port", type=PORT, default=ENROL_PORT, show_default=True, help="0 picks one."
            ),
            click.option("--mesh-name", metavar="M", help="How this mesh is called."),
            click.option(
                "--certificate-life",
                metavar="TIME",
                default="7d",
                show_default=True,
                callback=certificate_life,
                help="Of machines; renewed at two thirds.",
            ),
            click.option("--no-mdns", is_flag=True, help=NO_MDNS),
        ]
    ):
        function = option(function)
    return function


def public_url(_context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of --public-url: what login links begin with."""
    if value is not None:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise click.BadParameter("an address such as https://me.example", param=param)
    return value


def pide_options(function: Any) -> Any:
    """The flags that `up` and `pide run` share."""
    for option in reversed(
        [
            click.option("--host", default="127.0.0.1", show_default=True, help="Where people connect."),
            click.option(
                "--port",
                type=click.IntRange(0, 65535),
                default=PIDE_PORT,
                show_default=True,
                help="0 picks one.",
            ),
            click.option(
                "--public-url",
                metavar="URL",
                callback=public_url,
                help="Under which a tunnel shows Pi-DE.",
            ),
        ]
    ):
        function = option(function)
    return function


@click.command(
    epilog=examples(
        """hyperpi up
           hyperpi up --mesh-name home --name den
           hyperpi up --host 0.0.0.0                      also for other devices, with TLS
           hyperpi up --public-url https://me.example     behind a tunnel"""
    )
)
@pide_options
@hypivisor_options
@click.option("--name", metavar="NODE", help="How this machine is called in the mesh.")
@click.option("--no-node", is_flag=True, help="No node on this machine.")
@home_option
def up(**flags: Any) -> None:
    """Start the mesh on this machine: hypivisor, Pi-DE, and the local node joined to it.

    Prints a one-use login link for your browser. Ctrl-C ends hypivisor and Pi-DE; the node and all agents
    go on, and `up` finds them again.
    """
    options = UpOptions(**flags)
    known = environment()
    set_up_logging(known)
    run_until_signal(lambda stop: _serve(known, options, stop))


def _node_arguments(options: UpOptions) -> list[str]:
    name = ["--name", options.name] if options.name else []
    return [*name, *(["--no-mdns"] if options.no_mdns else [])]


async def _serve(known: Environment, options: UpOptions, stop: asyncio.Event) -> None:
    from hypivisor import app as hypivisor_app

    config = hypivisor_app.HypivisorConfig(
        home=known.home,
        node_host=options.node_host,
        grpc_port=options.grpc_port,
        enrol_port=options.enrol_port,
        mesh_name=options.mesh_name,
        mdns=known.mdns and not options.no_mdns,
        home_node=not options.no_node,
        pre_shared_token=known.token,
        node_life=options.certificate_life,
    )
    async with hypivisor_app.running(config) as hypivisor, pide_of(hypivisor, options) as pide:
        hypivisor.write_run_json({"url": pide.site.url, "port": pide.port})
        if not options.no_node:
            member = _local_member(hypivisor)  # first: a node of another mesh is not even started
            started = None
            if node_pid(known.home) is None:
                started = start_node(known.home, *_node_arguments(options))
            await _join_local_node(hypivisor, member, options.name)
            await _local_node_linked(hypivisor, started)
        await _greet(hypivisor, pide, options)
        await stop.wait()
    click.echo("stopped; the node and its agents go on", err=True)


@contextlib.asynccontextmanager
async def pide_of(hypivisor: "Hypivisor", options: UpOptions) -> AsyncIterator["Pide"]:
    """Pi-DE for a hypivisor in this process; with TLS when it listens beyond this machine."""
    from hyperpi.interfaces import own_addresses
    from pide import app as pide_app

    names = tuple(own_addresses()) if options.host not in LOOPBACK else ()
    certificate: tuple[Path, Path] | None = None
    if options.host not in LOOPBACK:
        issued = hypivisor.gate.ca.issue_web(["localhost", "127.0.0.1", *names], time.time())
        certificate = (issued.certificate_path, issued.key_path)
    wished = pide_app.PideConfig(
        host=options.host,
        port=options.port,
        public_url=options.public_url,
        mesh_tag=hypivisor.gate.trust.mesh_tag,
        names=names,
        certificate=certificate,
    )
    config, listening = pide_app.listen(wished)
    async with pide_app.running(config, listening, hypivisor.client) as pide:
        with hypivisor.gate.trust.front_end(pide.site.url):
            yield pide


def _local_member(hypivisor: "Hypivisor") -> "Membership | None":
    """The local node's place in this mesh, if it has one. Raises RefusedByPolicy when it has another."""
    from node import identity

    member = None
    with contextlib.suppress(identity.IdentityUnusable):
        member = identity.load(hypivisor.config.home.node / "identity")
    if member and secret_text.base32(tls.fingerprint(member.identity.ca_pem)) != hypivisor.fingerprint:
        raise RefusedByPolicy(
            f"this machine's node is in the mesh {member.mesh_name}",
            hint="`hyperpi node leave` first, or start with --no-node",
        )
    return member


async def _join_local_node(hypivisor: "Hypivisor", member: "Membership | None", name: str | None) -> None:
    """Give the local node a place in this mesh, unless it has one: by a join token, as any machine."""
    from node import enroll, identity

    folder = hypivisor.config.home.make("node", "identity")
    if member is not None and not hypivisor.gate.trust.is_revoked(member.node_id):
        here = f"127.0.0.1:{hypivisor.grpc_port}"
        if member.hypivisors[:1] != (here,):
            enrol = f"127.0.0.1:{hypivisor.enrol_port}"
            identity.save(folder, replace(member, hypivisors=(here,), enrol=(enrol,)))
        return
    token = await hypivisor.gate.trust.join_token()
    await enroll.join(folder, "127.0.0.1", hypivisor.enrol_port, token, name)


async def _local_node_linked(hypivisor: "Hypivisor", started: subprocess.Popen[bytes] | None) -> None:
    """Wait for the local node, so that what is asked right after the greeting finds it."""
    from node import identity

    member = identity.load(hypivisor.config.home.node / "identity")
    changed = asyncio.Event()
    view = hypivisor.registry.view
    view.listen(changed.set)
    try:
        async with asyncio.timeout(NODE_S):
            while member is None or not hypivisor.registry.is_online(member.node_id):
                if started is not None and started.poll() is not None:
                    reason, hint = why_it_ended(hypivisor.config.home)
                    click.echo(f"hyperpi: the node of this machine did not start: {reason}", err=True)
                    click.echo(f"  -> {hint}; then `hyperpi node run`", err=True)
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):  # the end of a process sets no event of ours
                        await changed.wait()
                changed.clear()
    except TimeoutError:
        out = hypivisor.config.home.logs / "node.out"
        click.echo(f"hyperpi: the node of this machine has not come up yet; see {out}", err=True)
    finally:
        view.unlisten(changed.set)


async def _greet(hypivisor: "Hypivisor", pide: "Pide", options: UpOptions) -> None:
    """The login link, how another machine joins, and a QR code where a phone could use it."""
    link = await hypivisor.gate.trust.owner_login()
    out = click.echo
    out(f"Pi-DE for the mesh {hypivisor.gate.mesh.name}")
    out(f"\n  open   {link}")
    out("         (works once, for 5 minutes; another one: hyperpi login)")
    out("\n  another machine joins with")
    out(f"         hyperpi node join {hypivisor.addresses[0]}:{hypivisor.enrol_port} --token-file FILE")
    out("         where FILE holds the output of: hyperpi token create --role node")
    out("\n  every pi you start is listed after: hyperpi pi install\n")
    if options.host not in LOOPBACK:
        shown = tls.fingerprint(hypivisor.gate.ca.certificate_pem).hex(":").upper()
        out(f"  browsers know this mesh's certificates after you let them trust {hypivisor.ca_path}")
        out(f"  its SHA-256 fingerprint: {shown}")
        out("  how to do that on a phone, and tunnels that need none of it: deploy/tunnel/README.md\n")
    if (options.public_url or options.host not in LOOPBACK) and sys.stdout.isatty():
        draw_qr(link)
    sys.stdout.flush()
