"""Groups of verbs whose modules are imported only when they are asked for.

A start of the command must not pay for the verbs that it does not run, so names and one-line helps stand in
a table, and only the chosen verb is imported.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hyperpi.cli.words import one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Lazy(NamedTuple):
    """A verb: where it is (`module:attribute`), what it does in a few words, under which heading."""

    place: str
    does: str
    heading: str = "Commands"


class Stopped(Exception):
    """The verb was ended from outside: Ctrl-C, or whoever read its output has gone."""

    def __init__(self, by: BaseException) -> None:
        super().__init__()
        self.by = by


class LazyGroup(click.Group):
    """A click group over such a table."""

    def __init__(self, *, table: Mapping[str, Lazy], **settings: Any) -> None:
        super().__init__(invoke_without_command=True, callback=_explain, **settings)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        verb = self._table.get(cmd_name)
        if verb is None:
            return None
        module, _, attribute = verb.place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a verb; a name that is nearly right is told."""
        if args[0] not in self._table and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._table, n=3, cutoff=0.6)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"there is no `{ctx.command_path} {one_line(args[0], 40)}`{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb. Raises Stopped where click itself would print or exit."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as exc:
            raise Stopped(exc) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs under their headings, without importing any."""
        width = max(map(len, self._table), default=0)
        for heading in dict.fromkeys(verb.heading for verb in self._table.values()):
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name.ljust(width), verb.does)
                        for name, verb in self._table.items()
                        if verb.heading == heading
                    ]
                )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        """Complete a verb's name, without importing any."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=verb.does)
            for name, verb in self._table.items()
            if name.startswith(incomplete)
        ]
        return verbs if not incomplete.startswith("-") else super().shell_complete(ctx, incomplete)


@click.pass_context
def _explain(ctx: click.Context) -> None:
    """Without a verb, a group says what it has."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
