"""Options that several verbs share, spelt and explained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["format_option", "image_argument", "limits_option", "platform_option", "progress_option", "strict_option"]

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
        type=click.Choice(["auto", "tty", "plain", "none"]),
        default="auto",
        show_default=True,
        help="Progress on standard error; auto: only on a terminal.",
    )(function)
