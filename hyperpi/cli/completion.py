"""`hyperpi completion SHELL`: click's own completion, with the names of agents."""

import click

from hyperpi.cli.options import Verb

PLACES = {
    "bash": 'eval "$(hyperpi completion bash)"      in ~/.bashrc',
    "zsh": 'eval "$(hyperpi completion zsh)"       in ~/.zshrc',
    "fish": "hyperpi completion fish | source        in ~/.config/fish/config.fish",
}


@click.command(cls=Verb, example="\n".join(PLACES.values()))
@click.argument("shell", type=click.Choice(list(PLACES)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell. Writes no file: put the line below where it says."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "hyperpi", "_HYPERPI_COMPLETE").source())
