"""``wclayer logout``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.options import quiet_option
from wclayer.cli.output import tell, tell_notes

__all__ = ["command"]


@click.command(epilog="Example: wclayer logout registry.example.com")
@click.argument("registry", metavar="REGISTRY")
@click.option(
    "--authfile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take the credentials away here only.  [default: wherever they are]",
)
@quiet_option
def command(registry: str, authfile: Path | None) -> None:
    """Forget the credentials for REGISTRY, in every file and credential helper that is looked at.

    Exit code 3 when there are none.
    """
    from wclayer.oci.registry.logins import log_out
    from wclayer.oci.registry.settings import RegistrySettings

    done = log_out(registry, RegistrySettings(authfile=authfile))
    tell_notes(done.notes)
    tell(f"logged out of {done.registry}: removed from {', '.join(done.taken_from)}")
