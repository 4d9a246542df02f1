"""``wclayer login``."""

from __future__ import annotations

import sys

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, account_options
from wclayer.cli.options import quiet_option
from wclayer.cli.output import tell, tell_notes

__all__ = ["command"]

_TOKEN_USER = "<token>"  # noqa: S105 - a name


@click.command(
    cls=NetworkCommand,
    epilog="Example: wclayer login registry.example.com --username anna --password-stdin < password.txt",
)
@click.argument("registry", metavar="REGISTRY")
@account_options
@quiet_option
def command(registry: str, network: NetworkOptions) -> None:
    """Check a user name and a password with REGISTRY, and keep them where every tool looks for them.

    REGISTRY is HOST, HOST:PORT, or HOST/NAMESPACE for a part of it. Without options the name and the password are asked
    for at the terminal. The user <token> has an identity token instead of a password.
    """
    from wclayer.oci.registry.authfiles import Credentials
    from wclayer.oci.registry.logins import log_in
    from wclayer.oci.registry.secrets import Secret

    username = network.username
    if network.has_password:
        if username is None:
            raise click.UsageError("--password-stdin: whose password is it? Give --username NAME")
        secret = network.password()
    elif sys.stdin.isatty():
        username = username or click.prompt("Username", err=True)
        secret = Secret(click.prompt("Password", hide_input=True, err=True))
    else:
        raise click.UsageError("no terminal to ask for a password at: give --username NAME and --password-stdin")
    is_token = username == _TOKEN_USER
    credentials = Credentials(
        "" if is_token else username or "",
        None if is_token else secret,
        secret if is_token else None,
        source="this login",
    )
    done = log_in(registry, credentials, network.settings(with_account=False))
    tell_notes(done.notes)
    tell(f"logged in to {done.registry}; kept in {done.kept_in}")
