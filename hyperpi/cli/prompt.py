"""`hyperpi prompt AGENT TEXT`."""

import uuid

import click

from hyperpi.cli.again import ask_surely
from hyperpi.cli.options import Verb, agent_argument, connect_again, connected, json_option, text_or_stdin
from hyperpi.cli.output import print_json
from hyperpi.cli.words import one_line

RECEIPTS = {
    "delivered": "{agent} has it",
    "queued": "{agent} has it",
    "stored": "kept for {agent}, until it can take it",
    "unknown": "sent, but whether {agent} got it is not known: look before you send it again",
}


@click.command(
    cls=Verb,
    example="""hyperpi prompt frontend "make the header sticky"
               hyperpi prompt frontend --steer "stop, use flexbox"
               git diff | hyperpi prompt reviewer -""",
)
@agent_argument
@click.argument("text")
@click.option("--steer", is_flag=True, help="Interrupt: heard after the tool call that is running.")
@click.option("--follow-up", is_flag=True, help="Heard when the agent is done with all else.")
@json_option
def prompt(agent: str, text: str, steer: bool, follow_up: bool, as_json: bool) -> None:
    """Say something to an agent. TEXT - reads stdin.

    With --json {id, receipt}; the receipt is stored, queued, delivered or unknown.
    """
    if steer and follow_up:
        raise click.UsageError("--steer and --follow-up exclude each other")
    said = text_or_stdin(text)
    if not said.strip():
        raise click.UsageError("TEXT is empty")
    mode = "steer" if steer else "follow_up" if follow_up else "prompt"
    asked = {"agent": agent, "text": said, "mode": mode, "id": f"p-{uuid.uuid4()}"}
    with connected() as client:
        result = ask_surely(client, connect_again, "agent.prompt", asked)
    if as_json:
        print_json({"id": result.get("id"), "receipt": result.get("receipt")})
    else:
        receipt = str(result.get("receipt"))
        click.echo(one_line(RECEIPTS.get(receipt, receipt).format(agent=agent)))
