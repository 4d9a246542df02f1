"""``wclayer completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from wclayer.errors import UnsupportedError

__all__ = ["command"]


@click.command(epilog='Example: eval "$(wclayer completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL, to be sourced by it."""
    from wclayer.cli.main import COMPLETION, PROGRAM

    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise UnsupportedError(f"no completion for {shell}")
    click.echo(completion_class(ctx.find_root().command, {}, PROGRAM, COMPLETION).source())
