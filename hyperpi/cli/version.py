"""`hyperpi version`."""

import platform

import click

from hyperpi import __version__
from hyperpi.cli.options import Verb, json_option
from hyperpi.cli.output import print_json


@click.command(
    cls=Verb,
    example="""hyperpi version
               hyperpi version --json""",
)
@json_option
def version(as_json: bool) -> None:
    """Print the versions of Hyper-Pi, Python and the system. Asks nobody; `hyperpi doctor` does."""
    known = {
        "hyperpi": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if as_json:
        print_json(known)
    else:
        click.echo(f"hyperpi {known['hyperpi']} (Python {known['python']}, {known['platform']})")
