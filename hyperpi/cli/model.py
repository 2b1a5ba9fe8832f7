"""`hyperpi model AGENT [MODEL]`."""

import click

from hyperpi.cli.options import Verb, agent_argument, connected, json_option
from hyperpi.cli.output import note, print_fields, print_json
from hyperpi.cli.words import Json, one_line

LEVELS = ["off", "minimal", "low", "medium", "high", "xhigh", "max"]


@click.command(
    cls=Verb,
    example="""hyperpi model frontend
               hyperpi model frontend anthropic/claude-sonnet-4-5 --thinking high
               hyperpi model frontend --thinking off
               hyperpi model planner --mode plan""",
)
@agent_argument
@click.argument("model", required=False)
@click.option("--thinking", metavar="LEVEL", help=f"How hard it thinks: {', '.join(LEVELS)}.")
@click.option("--mode", help="In which it works, such as plan or build; of agents that have modes.")
@json_option
def model(agent: str, model: str | None, thinking: str | None, mode: str | None, as_json: bool) -> None:
    """Show which model an agent uses, and which it could; or have it use another.

    MODEL is PROVIDER/ID, or an ID that one provider has. It holds from the next request of the agent on. With
    --json {model, thinking, mode}, and {models, thinking_levels, modes} too where nothing is changed.
    """
    with connected() as client:
        if model is None and thinking is None and mode is None:
            _show(client.call("agent.show", {"agent": agent}).get("card"), agent, as_json)
            return
        wanted = {"agent": agent, "model": model, "thinking": thinking, "mode": mode}
        asked = {name: value for name, value in wanted.items() if value is not None}
        used: Json = client.call("agent.configure", asked)
    if as_json:
        print_json({name: used.get(name) for name in ("model", "thinking", "mode")})
        return
    more = "".join(f", {name}: {one_line(used[name])}" for name in ("thinking", "mode") if used.get(name))
    click.echo(f"{one_line(agent)} uses {one_line(used.get('model') or 'no model')}{more}")


def _show(card: Json | None, agent: str, as_json: bool) -> None:
    told = card or {}
    models = [str(name) for name in told.get("models") or []]
    levels = [str(level) for level in told.get("thinking_levels") or []]
    modes = [str(mode) for mode in told.get("modes") or []]
    if as_json:
        using = {name: told.get(name) for name in ("model", "thinking", "mode")}
        print_json({**using, "models": models, "thinking_levels": levels, "modes": modes})
        return
    if card is None:
        note(f"hyperpi: the machine of {one_line(agent)} is away; what it uses is not known now")
    print_fields(
        [
            ("model", str(told.get("model") or "")),
            ("thinking", str(told.get("thinking") or "")),
            ("levels", ", ".join(levels)),
            ("mode", str(told.get("mode") or "")),
            ("modes", ", ".join(modes)),
            *(("could use" if number == 0 else "", name) for number, name in enumerate(models)),
        ]
    )
