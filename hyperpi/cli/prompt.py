"""`hyperpi prompt AGENT TEXT`."""

import uuid
from pathlib import Path

import click

from hyperpi.cli.again import ask_surely
from hyperpi.cli.options import Verb, agent_argument, connect_again, connected, json_option, text_or_stdin
from hyperpi.cli.output import print_json
from hyperpi.cli.pictures import read_pictures
from hyperpi.cli.words import Json, one_line

RECEIPTS = {
    "delivered": "{agent} has it",
    "queued": "queued: {agent} takes it up as soon as it can",
    "stored": "kept for {agent}, until it can take it",
    "unknown": "sent, but whether {agent} got it is not known: look before you send it again",
}


@click.command(
    cls=Verb,
    example="""hyperpi prompt frontend "make the header sticky"
               hyperpi prompt frontend --steer "stop, use flexbox"
               hyperpi prompt frontend "why is it cut off?" --image screen.png
               git diff | hyperpi prompt reviewer -""",
)
@agent_argument
@click.argument("text")
@click.option("--steer", is_flag=True, help="Interrupt: heard after the tool call that is running.")
@click.option("--follow-up", is_flag=True, help="Heard when the agent is done with all else.")
@click.option(
    "--image",
    "images",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A picture that goes with it: PNG, JPEG, GIF, WebP. Can be given again.",
)
@json_option
def prompt(
    agent: str, text: str, steer: bool, follow_up: bool, images: tuple[Path, ...], as_json: bool
) -> None:
    """Say something to an agent. TEXT - reads stdin.

    With --json {id, receipt}; the receipt is stored, queued, delivered or unknown.
    """
    if steer and follow_up:
        raise click.UsageError("--steer and --follow-up exclude each other")
    said = text_or_stdin(text)
    if not said.strip() and not images:
        raise click.UsageError("TEXT is empty")
    mode = "steer" if steer else "follow_up" if follow_up else "prompt"
    asked: Json = {"agent": agent, "text": said, "mode": mode, "id": f"p-{uuid.uuid4()}"}
    if images:
        asked["images"] = read_pictures(images)
    with connected() as client:
        result = ask_surely(client, connect_again, "agent.prompt", asked)
    if as_json:
        print_json({"id": result.get("id"), "receipt": result.get("receipt")})
    else:
        receipt = str(result.get("receipt"))
        click.echo(one_line(RECEIPTS.get(receipt, receipt).format(agent=agent)))
