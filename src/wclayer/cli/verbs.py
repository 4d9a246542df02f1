"""The verbs: a table of names and lines for the overview, and a group that loads a verb when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from wclayer.cli.main import COMPLETION, PROGRAM, VERSION

__all__ = ["VERBS", "cli", "run"]

VERBS: dict[str, tuple[str, str]] = {
    "base": ("wclayer.cli.base", "Say which base image an image stands on."),
    "bundle": ("wclayer.cli.bundle", "Write several images to one file, for where there is no network."),
    "cache": ("wclayer.cli.cache", "Look at the content store, and clean it up."),
    "cat": ("wclayer.cli.cat", "Write a file of an image to standard output."),
    "catalog": ("wclayer.cli.catalog", "Keep the catalogue of base images."),
    "cim": ("wclayer.cli.cim", "Look into CIM images, check them, make them."),
    "commit": ("wclayer.cli.commit", "Make a layer of what was changed."),
    "compat": ("wclayer.cli.compat", "Say whether an image would run on a Windows host."),
    "completion": ("wclayer.cli.completion", "Print the completion script of a shell."),
    "config": ("wclayer.cli.config", "Print the configuration of an image."),
    "convert": ("wclayer.cli.convert", "Pour a layer, or an image, from one form into another."),
    "copy": ("wclayer.cli.copy", "Copy an image from any place to any other."),
    "diff": ("wclayer.cli.diff", "Say what an image or layer has other than another."),
    "digest": ("wclayer.cli.digest", "Print the digest of what a reference names."),
    "env": ("wclayer.cli.env", "List and set the environment variables of an image."),
    "explain": ("wclayer.cli.explain", "Say what is known about an error of hcsshim or Windows."),
    "export": ("wclayer.cli.export", "Write a layer folder as a layer tar."),
    "extract": ("wclayer.cli.extract", "Copy files out of an image."),
    "import": ("wclayer.cli.importing", "Make a layer folder from a layer tar."),
    "index": ("wclayer.cli.index", "Make, filter and list indexes of several images."),
    "inspect": ("wclayer.cli.inspect", "Say what an image is made of."),
    "layer-id": ("wclayer.cli.layer_id", "Print the GUID that Windows gives a layer."),
    "lint": ("wclayer.cli.lint", "Find what Windows would refuse, or change."),
    "load": ("wclayer.cli.load", "Put all images of an archive to another place."),
    "login": ("wclayer.cli.login", "Check credentials with a registry, and keep them."),
    "logout": ("wclayer.cli.logout", "Forget the credentials for a registry."),
    "ls": ("wclayer.cli.ls", "List a folder of an image."),
    "manifest": ("wclayer.cli.manifest", "Print the manifest or index of an image."),
    "mirror": ("wclayer.cli.mirror", "Keep copies of the images on a list."),
    "mount": ("wclayer.cli.mount", "Mount an image as a folder."),
    "os": ("wclayer.cli.os_verb", "Say which Windows an image is, with its updates and software."),
    "pull": ("wclayer.cli.pull", "Fetch an image of a registry, and unpack it while it comes."),
    "push": ("wclayer.cli.push", "Push an image to a registry."),
    "rebase": ("wclayer.cli.rebase", "Put an image on another base."),
    "recompress": ("wclayer.cli.recompress", "Copy an image with its layers compressed another way."),
    "reg": ("wclayer.cli.reg", "Look into the registry of an image, compare it, change it."),
    "sample": ("wclayer.cli.sample", "Make a small Windows image with no Microsoft content."),
    "sbom": ("wclayer.cli.sbom", "Write a bill of materials of an image."),
    "stat": ("wclayer.cli.stat", "Show everything NTFS knows about a path."),
    "store": ("wclayer.cli.store", "Look at stores of layers, also those of Windows hosts."),
    "tags": ("wclayer.cli.tags", "List the tags of a repository."),
    "umount": ("wclayer.cli.umount", "Unmount an image."),
    "unpack": ("wclayer.cli.unpack", "Unpack an image into layer folders, or into one merged tree."),
    "verify": ("wclayer.cli.verify", "Check digests, and databases against files."),
    "vhdx": ("wclayer.cli.vhdx", "Make virtual disks, look into them, change them."),
}
"""Each with its module and what it does."""


class _Verbs(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(VERBS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(VERBS.items())])


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=(
        "IMAGE is HOST/NAME:TAG or docker://NAME in a registry, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE,"
        " dir:DIR, a path to any of these or to a layer tar, or - for a layer tar on standard input.\n\nExit codes:"
        " 0 ok, 1 a difference was found, 2 usage, 3 not found, 4 authentication, 5 network, 6 integrity,"
        " 7 unsupported, 8 store or I/O, 130 interrupted, 143 terminated."
    ),
)
@click.version_option(message=VERSION)
def cli() -> None:
    """Windows container image layers without Windows: every NTFS detail kept, every digest reproducible."""


def run(arguments: list[str]) -> int:
    """Run a verb and return its exit code. Raises what the verb raises, and KeyboardInterrupt when a person says no."""
    try:
        if COMPLETION in os.environ:
            return _code(cli.main(args=arguments, prog_name=PROGRAM))
        # Click's own main would take a closed pipe for a failure, so it is not asked.
        with cli.make_context(PROGRAM, arguments) as context:
            return _code(cli.invoke(context))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None


def _code(result: object) -> int:
    return result if isinstance(result, int) else 0
