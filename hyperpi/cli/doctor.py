"""`hyperpi doctor`: this installation, looked over."""

import sys

import click

from hyperpi.cli.checks import FAIL, OK, WARN, Check, findings
from hyperpi.cli.options import Verb, json_option, reach
from hyperpi.cli.output import colours, print_json, styled
from hyperpi.cli.words import one_line
from hyperpi.errors import HyperPiError

STYLES = {OK: "good", WARN: "away", FAIL: "alarm"}


@click.command(
    cls=Verb,
    example="""hyperpi doctor
               hyperpi doctor --json | jq '.[] | select(.state != "ok")'""",
)
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation, one thing at a time, with a fix for what is wrong.

    Exit code 1 if something fails. With --json a list of {name, state, found, fix}.
    """
    coloured = colours(sys.stdout)
    found = []
    for check in findings(reach()):
        found.append(check)
        if not as_json:
            _print(check, coloured)
    if as_json:
        print_json([check._asdict() for check in found])
    failed = [check.name for check in found if check.state == FAIL]
    if failed:
        raise HyperPiError(f"{', '.join(failed)}: not as it should be", hint="the fix stands beside each")


def _print(check: Check, coloured: bool) -> None:
    padded = check.state.ljust(4)
    state = styled(padded, STYLES[check.state]) if coloured else padded
    click.echo(f"{state}  {check.name:<9}  {one_line(check.found)}")
    if check.fix and check.state != OK:
        click.echo(f"                 -> {one_line(check.fix)}")
