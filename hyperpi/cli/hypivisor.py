"""`hyperpi hypivisor run`: the control plane without a front end."""

import asyncio
from typing import Any

import click

from hyperpi.cli.options import environment, examples
from hyperpi.cli.processes import home_option, run_until_signal, set_up_logging
from hyperpi.cli.up import hypivisor_options
from hyperpi.config import Environment


@click.group(epilog=examples("hyperpi hypivisor run --mesh-name home"))
def hypivisor() -> None:
    """The hypivisor alone; `hyperpi up` runs it together with Pi-DE."""


@hypivisor.command(epilog=examples("hyperpi hypivisor run --mesh-name home"))
@hypivisor_options
@click.option("--no-node", is_flag=True, help="Use no node of this machine for what people send.")
@home_option
def run(**flags: Any) -> None:
    """Run the hypivisor in the foreground."""
    known = environment()
    set_up_logging(known)
    run_until_signal(lambda stop: _serve(known, flags, stop))


async def _serve(known: Environment, flags: dict[str, Any], stop: asyncio.Event) -> None:
    from hypivisor import app

    config = app.HypivisorConfig(
        home=known.home,
        node_host=flags["node_host"],
        grpc_port=flags["grpc_port"],
        enrol_port=flags["enrol_port"],
        mesh_name=flags["mesh_name"],
        mdns=known.mdns and not flags["no_mdns"],
        home_node=not flags["no_node"],
        pre_shared_token=known.token,
        node_life=flags["certificate_life"],
    )
    async with app.running(config) as running:
        running.write_run_json({})
        click.echo(f"hypivisor of {running.gate.mesh.name}: Pi-DE connects to unix:{running.console}")
        click.echo(f"machines join at port {running.enrol_port} and link at {running.grpc_port}")
        await stop.wait()
