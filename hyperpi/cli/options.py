"""What verbs have in common: whom to ask, `--json`, agents and durations as arguments, examples in helps."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hyperpi import config
from hyperpi.cli.client import MAX_SENT_BYTES, Client, Reach, connect
from hyperpi.cli.local import has_hypivisor, unreachable_mesh
from hyperpi.cli.words import one_line, parse_duration, rows_of
from hyperpi.config import BadConfig, Environment, Home, read_environment
from hyperpi.errors import HyperPiError, NotForThisRole, NothingThere
from hyperpi.roles import OPERATOR

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

MAX_TOKEN_BYTES = 4_096  # a token has 100; a file of more is the wrong file
COMPLETE_S = 1.0  # a Tab that takes longer is worse than none

_HOME, _HYPIVISOR, _TOKEN_FILE = "hyperpi.home", "hyperpi.hypivisor", "hyperpi.token_file"


def _remember(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.meta[key] = value  # shared by a group and its verbs: the flag nearest to the verb wins

    return callback


def reach_options() -> list[click.Parameter]:
    """--home, --hypivisor and --token-file, for a verb or for the command itself."""
    return [
        click.Option(
            ["--home"],
            metavar="DIR",
            help="State folder of this installation  [HYPERPI_HOME]",
            expose_value=False,
            callback=_remember(_HOME),
        ),
        click.Option(
            ["--hypivisor"],
            metavar="ADDR",
            help="Ask the Pi-DE at HOST:PORT or URL  [HYPIVISOR]",
            expose_value=False,
            callback=_remember(_HYPIVISOR),
        ),
        click.Option(
            ["--token-file"],
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="File with the token for it  [HYPI_TOKEN]",
            expose_value=False,
            callback=_remember(_TOKEN_FILE),
        ),
    ]


NO_MDNS = "Neither announce nor browse; `mdns = false` in config.toml says so for good."


class Verb(click.Command):
    """A command that asks the mesh, or needs to know the home. `example`: lines for the end of its help."""

    def __init__(self, name: str | None, *, example: str, **settings: Any) -> None:
        super().__init__(name, **{**settings, "epilog": examples(example)})
        self.params.extend(reach_options())


def examples(text: str) -> str:
    """An epilog that click does not re-wrap."""
    lines = "\n".join("  " + line.strip() for line in text.strip().splitlines())
    return "\b\nExamples:\n" + lines


def json_option(function: Decorated) -> Decorated:
    """--json, given to the verb as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(function)


# --- whom to ask ----------------------------------------------------------------------------------------


def environment() -> Environment:
    """Environment and config.toml under the flags of the running verb. Raises BadConfig."""
    return read_environment(_flag(_HOME))


def chosen_home() -> Path | None:
    """The home that a flag or the environment names, if one does."""
    return config.chosen_home(_flag(_HOME))


def home() -> Home:
    """The home of the running verb."""
    return environment().home


def reach() -> Reach:
    """Whom the running verb asks. Raises BadConfig."""
    known = environment()
    file = _flag(_TOKEN_FILE)
    token = read_token(Path(file).expanduser()) if file else known.token
    return Reach(known.home, _flag(_HYPIVISOR) or known.hypivisor, token)


def connect_again() -> Client:
    """A new connection for the running verb, after one was lost."""
    return connect(reach())


@contextmanager
def connected() -> Iterator[Client]:
    """A connection for the running verb. Raises NothingThere and what else `client.connect` raises."""
    with connect(reach()) as client:
        if client.passed_over:
            click.echo(f"hyperpi: {client.passed_over}; asking the {client.authority}", err=True)
        try:
            yield client
        except NotForThisRole as exc:
            raise _for_admins(client, exc) from None


def note_if_alone(client: Client) -> None:
    """Beside a list: that it is of this machine alone, though there is a mesh."""
    if client.authority == "node" and (why := unreachable_mesh(home())):
        click.echo(f"hyperpi: {one_line(why, 200)}; this machine alone is known", err=True)
        click.echo("  -> `hyperpi doctor` says what to do", err=True)


def _for_admins(client: Client, exc: NotForThisRole) -> HyperPiError:
    """What an owner can do about it whom this machine's node makes an operator, not an admin."""
    if client.authority != "node" or client.call("mesh.get")["me"]["role"] != OPERATOR:
        return exc
    if has_hypivisor(home()):
        return NothingThere(
            "this needs the hypivisor of this home, which does not run", hint="start it with `hyperpi up`"
        )
    return NotForThisRole(
        str(exc), hint="run it on the hypivisor's machine, or set HYPIVISOR and HYPI_TOKEN to an admin's"
    )


def _flag(key: str) -> str | None:
    ctx = click.get_current_context(silent=True)
    value = ctx.meta.get(key) if ctx is not None else None
    return str(value) if value else None


def read_token(path: Path) -> str:
    """The one token in a file. Raises BadConfig."""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as exc:
        raise BadConfig(f"{path} cannot be read: {exc.strerror}", hint="--token-file names a file") from None
    text = token.decode("utf-8", "replace").strip()
    if not text or len(token) > MAX_TOKEN_BYTES or len(text.split()) != 1:
        raise BadConfig(
            f"{path} does not hold a token", hint="it holds one line with the token, nothing else"
        )
    return text


# --- kinds of arguments ---------------------------------------------------------------------------------


def complete_agent(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem | str]":
    """Names of agents for Tab; a name that several have is offered with its node."""
    try:
        with connect(reach()) as client:
            agents = rows_of(client.call("mesh.get", timeout_s=COMPLETE_S), "agents")
    except (HyperPiError, OSError):  # Tab says nothing rather than something wrong
        return []
    names = [str(agent.get("name")) for agent in agents]
    offered = {
        name if names.count(name) == 1 else str(agent.get("address"))
        for name, agent in zip(names, agents, strict=True)
    }
    return [name for name in sorted(offered) if name.startswith(incomplete)]


def agent_argument(function: Decorated) -> Decorated:
    """AGENT (an id, a name or name@node), given to the verb as `agent`."""
    return click.argument("agent", shell_complete=complete_agent)(function)


def seconds(_ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The callback of an option that is a duration: 90s, 15m, 1h, 7d."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=param) from None


def text_or_stdin(text: str) -> str:
    """What stands there, or all of stdin for `-`."""
    return sys.stdin.buffer.read(MAX_SENT_BYTES).decode("utf-8", "replace") if text == "-" else text
