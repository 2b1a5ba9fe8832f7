"""`hyperpi pide run`: one more front end for a hypivisor."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import click

from hyperpi import runfile
from hyperpi.cli.options import environment, examples
from hyperpi.cli.processes import home_option, run_until_signal, set_up_logging
from hyperpi.cli.up import LOOPBACK, pide_options
from hyperpi.config import Environment
from hyperpi.errors import BadRequest, NothingThere, RefusedByPolicy

CONNECT_S = 10.0


@click.group(epilog=examples("hyperpi pide run --port 8080"))
def pide() -> None:
    """Pi-DE alone; `hyperpi up` runs it together with the hypivisor."""


@pide.command(epilog=examples("hyperpi pide run --hypivisor unix:/run/user/1000/hyperpi/console.sock"))
@click.option(
    "--hypivisor", "address", metavar="ADDR", help="unix:PATH of its Console; default: this home's hypivisor."
)
@pide_options
@home_option
def run(address: str | None, **flags: Any) -> None:
    """Run a Pi-DE in the foreground, for the hypivisor of this machine."""
    known = environment()
    set_up_logging(known)
    if address is None:
        running = runfile.read_live(known.home.hypivisor / "run.json")
        if running is None:
            raise NothingThere("no hypivisor runs with this home", hint="hyperpi hypivisor run")
        address = f"unix:{running['console']}"
    if not address.startswith("unix:"):
        raise BadRequest(
            f"{address} is not a Console", hint="unix:PATH, as `hyperpi hypivisor run` prints it"
        )
    if flags["host"] not in LOOPBACK:
        raise RefusedByPolicy(
            "beyond this machine Pi-DE needs TLS, which only `hyperpi up` can set up",
            hint="use `hyperpi up --host`, or a tunnel with --public-url",
        )
    target = address
    run_until_signal(lambda stop: _serve(known, target, flags, stop))


async def _serve(known: Environment, target: str, flags: dict[str, Any], stop: asyncio.Event) -> None:
    from hyperpi.console_client import ConsoleClient, local_channel
    from pide import app

    config, listening = app.listen(app.PideConfig(flags["host"], flags["port"], flags["public_url"]))
    client = ConsoleClient(local_channel(target), app.site_of(config).url)
    following = asyncio.create_task(client.run(), name="console-client")
    try:
        try:
            await asyncio.wait_for(client.connected.wait(), CONNECT_S)
        except TimeoutError:
            raise NothingThere(f"no hypivisor answers at {target}", hint="hyperpi hypivisor run") from None
        config = replace(config, mesh_tag=client.mesh_tag)
        async with app.running(config, listening, client) as pide:
            click.echo(f"Pi-DE at {pide.site.url}; log in with `hyperpi login`")
            await stop.wait()
    finally:
        listening.close()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
