"""Options that several verbs share, spelt and explained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from wclayer.cli.output import QUIET, VERBOSE

__all__ = [
    "format_option",
    "image_argument",
    "layer_option",
    "limits_option",
    "platform_option",
    "progress_option",
    "quiet_option",
    "strict_option",
    "verbose_option",
]

F = TypeVar("F", bound=Callable[..., Any])


def format_option(*formats: str) -> Callable[[F], F]:
    """``--format``, whose first choice is the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print the result.",
    )


def image_argument(name: str = "image", metavar: str = "IMAGE_OR_DIR") -> Callable[[F], F]:
    """The image, or the folder it was unpacked to."""
    return click.argument(name, metavar=metavar)


def layer_option(function: F) -> F:
    """``--layer``."""
    return click.option(
        "--layer", type=int, metavar="N", help="Only this layer, with what it deletes: 0 is the base, -1 the top."
    )(function)


def platform_option(function: F) -> F:
    """``--platform``."""
    return click.option(
        "--platform",
        metavar="P",
        default=None,
        help="Which image of several: ltsc2022, windows/amd64:10.0.20348.1, windows(10.0.20348)/amd64.  [default:"
        " windows/amd64, the newest]",
    )(function)


def strict_option(function: F) -> F:
    """``--strict``."""
    return click.option(
        "--strict", is_flag=True, help="Refuse whatever is odd, even if it can be kept (names that differ in case, …)."
    )(function)


def limits_option(function: F) -> F:
    """``--no-limits``."""
    return click.option("--no-limits", is_flag=True, help="Do not guard against decompression bombs.")(function)


def progress_option(function: F) -> F:
    """``--progress``."""
    return click.option(
        "--progress",
        type=click.Choice(["auto", "tty", "plain", "json", "none"]),
        default="auto",
        show_default=True,
        help="Progress on standard error; auto: lines that redraw themselves on a terminal, elsewhere one every 30 s.",
    )(function)


def quiet_option(function: F) -> F:
    """``--quiet``."""
    text = "Say nothing but results and errors: no progress, no notes, no notices."
    return _flag("-q", "--quiet", QUIET, text)(function)


def verbose_option(function: F) -> F:
    """``--verbose``."""

    def keep(context: click.Context, _parameter: click.Parameter, value: int) -> None:
        context.meta[VERBOSE] = value

    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        is_eager=True,
        callback=keep,
        help="List all that is odd, not only the first few; -vv also tells what is asked of registries.",
    )(function)


def _flag(short: str, long: str, key: str, text: str) -> Callable[[F], F]:
    def keep(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        context.meta[key] = value

    return click.option(short, long, is_flag=True, expose_value=False, is_eager=True, callback=keep, help=text)
