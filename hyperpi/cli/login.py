"""`hyperpi login`: a one-use link that lets a browser in."""

import time

import click

from hyperpi.cli.options import Verb, connected, json_option
from hyperpi.cli.output import draw_qr, note, print_json
from hyperpi.cli.words import Json, ago, one_line


@click.command(
    cls=Verb,
    example="""hyperpi login
               hyperpi login --role viewer --name carol
               hyperpi login --qr""",
)
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), help="Default: admin.")
@click.option("--name", metavar="NAME", help="Whose browser it is for.  [yours]")
@click.option("--qr", is_flag=True, help="Draw the link as a QR code too, for the camera of a phone.")
@json_option
def login(role: str | None, name: str | None, qr: bool, as_json: bool) -> None:
    """Print a link that logs one browser in, once.

    With --json {url, expires}.
    """
    asked = {key: value for key, value in (("role", role), ("name", name)) if value}
    with connected() as client:
        made: Json = client.call("login.create", asked)
    if as_json:
        print_json({"url": made.get("url"), "expires": made.get("expires")})
    else:
        click.echo(one_line(made.get("url")))
        if qr:
            draw_qr(str(made.get("url")))
        note(f"good for one browser, expires {ago(made.get('expires'), time.time())}")
