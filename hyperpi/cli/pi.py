"""`hyperpi pi install|uninstall|status`: the extension that registers every pi of this user with the node."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from hyperpi import pi_install
from hyperpi.cli.group import Lazy, LazyGroup
from hyperpi.cli.options import Verb, examples, home, json_option
from hyperpi.cli.output import Cell, note, print_fields, print_json
from hyperpi.config import owners_environment

# How pi-socket starts the node when none runs.
START_NODE = (sys.executable, "-m", "node", "run", "--log-file")

pi = LazyGroup(
    name="pi",
    help="The pi-socket extension: with it every pi that you start is an agent of this machine's node.",
    table={
        "install": Lazy("hyperpi.cli.pi:install", "Install it for all your pis"),
        "uninstall": Lazy("hyperpi.cli.pi:uninstall", "Remove it"),
        "status": Lazy("hyperpi.cli.pi:status", "Whether it is installed and up to date"),
    },
    epilog=examples(
        """hyperpi pi install
           hyperpi pi status"""
    ),
)


@click.command(
    cls=Verb,
    example="""hyperpi pi install
               PI_CODING_AGENT_DIR=~/other/agent hyperpi pi install""",
)
@json_option
def install(as_json: bool) -> None:
    """Install the extension for every pi of yours, or bring it up to date. pi itself is not changed.

    With --json {folder, home}.
    """
    used = home().path
    folder = pi_install.install(_agent_dir(), used, START_NODE)
    if as_json:
        print_json({"folder": str(folder), "home": str(used)})
    else:
        click.echo(f"pi-socket is in {folder}, for the home {used}")
        note("a pi that runs already takes it up with /reload, or when it is started again")


@click.command(cls=Verb, example="hyperpi pi uninstall")
@json_option
def uninstall(as_json: bool) -> None:
    """Remove the extension. A running pi keeps it until it ends.

    With --json {folder}, which is null if there was none.
    """
    folder = pi_install.uninstall(_agent_dir())
    if as_json:
        print_json({"folder": str(folder) if folder else None})
    else:
        click.echo(f"{folder} is removed" if folder else "it was not installed")


@click.command(cls=Verb, example="hyperpi pi status")
@json_option
def status(as_json: bool) -> None:
    """Say whether the extension is installed and up to date, and which home it uses.

    With --json {folder, installed, version, current, home}.
    """
    found = pi_install.status(_agent_dir())
    if as_json:
        print_json(asdict(found))
        return
    if not found.installed:
        click.echo(f"not installed in {found.folder.parent}")
        note("`hyperpi pi install` does it")
        return
    print_fields(
        [
            ("folder", str(found.folder)),
            ("version", str(found.version)),
            ("files", Cell("up to date", "good") if found.current else Cell("not of this hyperpi", "away")),
            ("home", str(found.home or "")),
        ]
    )
    if not found.current:
        note("`hyperpi pi install` brings it up to date")


def _agent_dir() -> Path:
    return pi_install.agent_dir(owners_environment())
