"""Options of every verb that takes an image: how registries are reached, who asks, and where what they send is kept.

Nothing of the network is loaded for an image that is not in a registry.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wclayer.cli.options import verbose_option
from wclayer.cli.output import VERBOSE, size_text, tell, write_line

if TYPE_CHECKING:
    from wclayer.cli.progress import Watcher
    from wclayer.oci.network import Network
    from wclayer.oci.registry.secrets import Secret
    from wclayer.oci.registry.settings import RegistrySettings

__all__ = [
    "NetworkCommand",
    "NetworkOptions",
    "account_options",
    "copy_network_options",
    "is_remote",
    "network_options",
]

Side = Literal["", "src", "dest"]

_LOCAL = ("oci:", "oci-archive:", "docker-archive:", "dir:", "transport:", "base:", "plain:", "layer:", "cim:")
_LONGEST_PASSWORD = 1 << 16
_FILE = click.Path(dir_okay=False, path_type=Path)

# Options that the two ends of a copy may have differently.
_SIDED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("plain-http", {"is_flag": True, "help": "Use http.  [default: https, and http for this machine]"}),
    ("insecure", {"is_flag": True, "help": "Accept any certificate."}),
    ("ca-file", {"type": _FILE, "metavar": "FILE", "help": "Trust these certificates (PEM) as well."}),
    ("cert", {"type": _FILE, "metavar": "FILE", "help": "The client certificate (PEM)."}),
    ("key", {"type": _FILE, "metavar": "FILE", "help": "Its key, where that is not in the same file."}),
    ("username", {"metavar": "NAME", "help": "Who asks, instead of what login and other tools stored."}),
    ("password-stdin", {"is_flag": True, "help": "Read the password or token from standard input."}),
    ("authfile", {"type": _FILE, "metavar": "FILE", "help": "Look for credentials here first."}),
    ("anonymous", {"is_flag": True, "help": "Use no credentials at all."}),
)
# Options of a whole run.
_SHARED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("proxy", {"metavar": "URL", "help": "Go through this proxy; empty for none.  [default: as the environment says]"}),
    (
        "hosts-dir",
        {
            "type": click.Path(file_okay=False, path_type=Path),
            "metavar": "DIR",
            "help": "Mirrors and certificates of hosts, as containerd's certs.d has them.",
        },
    ),
    (
        "store",
        {
            "type": click.Path(file_okay=False, path_type=Path),
            "metavar": "DIR",
            "help": "The content store.  [default: $WCLAYER_STORE, else wclayer in the cache folder]",
        },
    ),
    ("offline", {"is_flag": True, "help": "Ask no registry: only what the content store has."}),
    (
        "retries",
        {
            "type": click.IntRange(0),
            "default": 5,
            "show_default": True,
            "metavar": "N",
            "help": "How often to try again when a registry is busy or breaks off.",
        },
    ),
    (
        "retry-delay",
        {
            "type": click.FloatRange(0),
            "metavar": "SECONDS",
            "help": "Wait so long before trying again.  [default: longer each time]",
        },
    ),
    (
        "max-downloads",
        {
            "type": click.IntRange(1, 64),
            "default": 4,
            "show_default": True,
            "metavar": "N",
            "help": "How many blobs may move at once.",
        },
    ),
    (
        "foreign-order",
        {
            "type": click.Choice(["registry", "urls"]),
            "default": "registry",
            "show_default": True,
            "help": "Where to look first for a foreign layer.",
        },
    ),
    ("allow-private-urls", {"is_flag": True, "help": "Follow what registries name into private networks, too."}),
    ("http-trace", {"is_flag": True, "help": "Show every request and answer on standard error, without secrets."}),
)
_OF_IMAGES = ("anonymous", "store", "offline", "max-downloads", "foreign-order")
_DEFAULTS = {
    name.replace("-", "_"): attributes.get("default", False if attributes.get("is_flag") else None)
    for name, attributes in (*_SIDED, *_SHARED)
}
_PREFIXES: tuple[Side, ...] = ("src", "dest")


class NetworkOption(click.Option):
    """An option about registries; they stand together in the help."""


class NetworkCommand(click.Command):
    """A command whose options about registries come last in its help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The two sections."""
        for title, wanted in (("Options", False), ("Registry options", True)):
            rows = [
                row
                for parameter in self.get_params(ctx)
                if isinstance(parameter, NetworkOption) == wanted
                and isinstance(parameter, click.Option)
                and (row := parameter.get_help_record(ctx))
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def network_options(function: Callable[..., Any]) -> Any:
    """All of them; the function gets ``network``, a :class:`NetworkOptions`."""

    @functools.wraps(function)
    def call(*arguments: Any, **given: Any) -> Any:
        values = {name: given.pop(name) for name in _names("")}
        return function(*arguments, network=NetworkOptions(values), **given)

    return _with_options(call, ("",))


def account_options(function: Callable[..., Any]) -> Any:
    """Those of a verb that only speaks to a registry about who asks; the function gets ``network``."""

    @functools.wraps(function)
    def call(*arguments: Any, **given: Any) -> Any:
        values = {**_DEFAULTS, **{name: given.pop(name) for name in _names("") if name in given}}
        return function(*arguments, network=NetworkOptions(values), **given)

    return _with_options(call, ("",), without=_OF_IMAGES)


def copy_network_options(function: Callable[..., Any]) -> Any:
    """The same for two ends: the function gets ``source_network`` and ``destination_network``.

    What is said without ``--src-`` or ``--dest-`` holds for both.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **given: Any) -> Any:
        common = {name: given.pop(name) for name in _names("")}
        ends = []
        for side in _PREFIXES:
            own = {name: given.pop(f"{side}_{name}") for name in _names(side)}
            ends.append(NetworkOptions({**common, **{name: value for name, value in own.items() if value}}, side))
        if common["password_stdin"]:
            ends[1].password_from(ends[0])
        return function(*arguments, source_network=ends[0], destination_network=ends[1], **given)

    return _with_options(call, ("", *_PREFIXES))


def _names(side: Side) -> list[str]:
    options = _SIDED if side else (*_SIDED, *_SHARED)
    return [name.replace("-", "_") for name, _ in options]


def _with_options(function: Any, sides: Sequence[Side], *, without: Sequence[str] = ()) -> Any:
    for name, attributes in reversed(_SHARED):
        if name in without:
            continue
        function = click.option(f"--{name}", cls=NetworkOption, **attributes)(function)
    for side in reversed(sides):
        for name, attributes in reversed(_SIDED):
            if name in without:
                continue
            of_whom = {"src": "Of the source: ", "dest": "Of the destination: ", "": ""}[side]
            help_text = attributes["help"] if not side else of_whom + _lower(attributes["help"].partition("  [")[0])
            long = f"--{side}-{name}" if side else f"--{name}"
            function = click.option(long, cls=NetworkOption, **{**attributes, "help": help_text})(function)
    return verbose_option(function)


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


class NetworkOptions:
    """What was said about registries. ``side`` names the end of a copy in messages."""

    def __init__(self, values: dict[str, Any], side: Side = "") -> None:
        self._values = values
        self._side = side
        self._network: Network | None = None
        self._password: Secret | None = None
        self._shares: NetworkOptions | None = None

    def password_from(self, other: NetworkOptions) -> None:
        """The password that ``other`` read is the one of this end too."""
        self._shares = other

    def for_image(self, *references: str, progress: Watcher | None = None) -> Network | None:
        """The way to registries, None when none of ``references`` is in one. It is closed when the command ends.

        Raises UsageError for options that contradict each other.
        """
        return self.network(progress) if any(is_remote(reference) for reference in references) else None

    def network(self, progress: Watcher | None = None) -> Network:
        """The way to registries, whether an image is in one or not."""
        if self._network is None:
            from wclayer.oci.network import NO_TRANSFERS, Network

            values = self._values
            self._network = Network(
                self.settings(),
                values["store"],
                values["offline"],
                values["max_downloads"],
                progress or NO_TRANSFERS,
            )
            click.get_current_context().with_resource(_closing(self._network, progress))
        return self._network

    @property
    def username(self) -> str | None:
        """Who asks, when that was said."""
        name: str | None = self._values["username"]
        return name

    @property
    def has_password(self) -> bool:
        """Whether a password is on standard input."""
        return bool(self._values["password_stdin"])

    def settings(self, *, with_account: bool = True) -> RegistrySettings:
        """What was said, for the client; without ``with_account`` nothing of a user and a password."""
        from wclayer.oci.registry.settings import RegistrySettings

        values = self._values
        return RegistrySettings(
            plain_http=values["plain_http"] or None,
            insecure=values["insecure"],
            ca_file=values["ca_file"],
            cert=values["cert"],
            key=values["key"],
            username=values["username"] if with_account else None,
            password=self.password() if values["password_stdin"] and with_account else None,
            anonymous=values["anonymous"],
            authfile=values["authfile"],
            proxy=values["proxy"],
            hosts_dir=values["hosts_dir"],
            retries=values["retries"],
            retry_delay=values["retry_delay"],
            trace=_tracer(whole=values["http_trace"]),
            allow_private_urls=values["allow_private_urls"],
            foreign_order=values["foreign_order"],
        )

    def password(self) -> Secret:
        """What is on standard input: one line for each end that asks for one."""
        if self._shares is not None:
            return self._shares.password()
        if self._password is None:
            from wclayer.oci.registry.secrets import Secret

            line = sys.stdin.readline(_LONGEST_PASSWORD).rstrip("\r\n")
            if not line:
                raise click.UsageError("--password-stdin: there is no password on standard input")
            self._password = Secret(line)
        return self._password


def is_remote(reference: str) -> bool:
    """Whether ``reference`` is in a registry: a look at the disk tells a path from a name."""
    if reference.startswith("docker:"):
        return True
    if reference == "-" or reference.startswith(_LOCAL):
        return False
    try:
        if Path(reference).exists():
            return False
    except (OSError, ValueError):
        return False
    from wclayer.oci.references import names_registry

    return names_registry(reference)


def _tracer(*, whole: bool) -> Callable[[str], None] | None:
    """Where lines about requests go: all with ``--http-trace``, those without headers with ``-vv``, else nowhere."""
    context = click.get_current_context(silent=True)
    verbose = context.meta.get(VERBOSE, 0) if context else 0
    if not whole and verbose < 2:
        return None

    def trace(line: str) -> None:
        name = line[2:].partition(" ")[0]
        if whole or not name.endswith(":"):
            write_line(line, err=True)

    return trace


@contextmanager
def _closing(network: Network, progress: Watcher | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        network.close()
        moved = progress.moved if progress is not None else 0
        if moved:
            tell(f"{size_text(moved)} came and are kept: the same command goes on from there")
        raise
    finally:
        network.close()
