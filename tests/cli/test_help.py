"""Every verb explains itself, is cheap to load, and completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import wclayer
from tests.cli.conftest import Run
from tests.peers import require
from wclayer.cli.verbs import VERBS as TABLE
from wclayer.cli.verbs import cli

VERBS = sorted(TABLE)
PAGES = {"index": "image-index"}  # index.md is the page of all commands
HEAVY = {
    "sqlite3",
    "urllib3",
    "rich",
    "http.client",
    "ssl",
    "isal",
    "ctypes",
    "hashlib",
    "wclayer.image",
    "wclayer.oci",
}


def commands(verb: str) -> list[click.Command]:
    """A verb, or what a group of verbs holds."""
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return list(command.commands.values()) if isinstance(command, click.Group) else [command]


def options(verb: str) -> list[click.Option]:
    """The options of a verb, or of all verbs in a group."""
    return [one for command in commands(verb) for one in command.params if isinstance(one, click.Option)]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, run: Run) -> None:
    for option in ("--help", "-h"):
        ended = run(verb, option)
        assert (ended.code, ended.err) == (0, "")
        assert f"Usage: wclayer {verb}" in ended.out
        assert f"wclayer {verb}" in ended.out.split("Example:")[1] or verb == "completion"
        assert all(len(line) <= 110 for line in ended.out.splitlines())


GROUPED = [(verb, one.name) for verb in VERBS if len(commands(verb)) > 1 for one in commands(verb)]


@pytest.mark.parametrize(("group", "verb"), GROUPED)
def test_every_verb_of_a_group_has_help_with_an_example(group: str, verb: str, run: Run) -> None:
    for option in ("--help", "-h"):
        ended = run(group, verb, option)
        assert (ended.code, ended.err) == (0, "")
        assert f"Usage: wclayer {group} {verb}" in ended.out
        assert f"wclayer {group} {verb}" in ended.out.split("Example:")[1]
        assert all(len(line) <= 110 for line in ended.out.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained_and_lower_case(verb: str) -> None:
    for parameter in options(verb):
        assert parameter.help
        assert all(option == option.lower() or len(option) == 2 for option in parameter.opts)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page_that_names_its_options(verb: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "cli" / f"{PAGES.get(verb, verb)}.md"
    text = page.read_text("utf-8")
    if "](registry-options.md)" in text:
        text += page.with_name("registry-options.md").read_text("utf-8")
    for parameter in options(verb):
        long = max(parameter.opts, key=len)
        assert f"`{long}" in text or f"{long}`" in text, f"{long} is not in {page}"


def test_the_overview_lists_every_verb_and_the_exit_codes(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    for verb in VERBS:
        assert f"  {verb} " in ended.out
    assert "6 integrity" in ended.out.replace("\n ", "")


def test_55_a_call_without_a_verb_is_a_usage_error_that_shows_the_help(run: Run) -> None:
    ended = run()
    assert (ended.code, ended.data) == (2, b"")
    assert "Verbs:" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["ls"], ["ls", "--nonsense", "x"], ["unpack", "x"], ["ls", "x", "--layer", "one"], ["--nonsense"]],
    ids=" ".join,
)
def test_55_a_mistake_is_a_usage_error(arguments: list[str], run: Run) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.data) == (2, b"")
    assert "Error:" in ended.err


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").out == f"wclayer {wclayer.__version__}\n"


@pytest.mark.parametrize(
    ("argument", "own"),
    [("--version", {"wclayer.cli.main"}), ("--help", {"wclayer.cli.main", "wclayer.cli.verbs"})],
)
def test_version_and_help_load_next_to_nothing(argument: str, own: set[str]) -> None:
    code = f"import sys; from wclayer.cli.main import main; main([{argument!r}]); print(*sys.modules, file=sys.stderr)"
    loaded = set(python("-c", code).stderr.split())
    assert ("click" in loaded) == (argument == "--help")
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("wclayer.cli.")} == own


def test_importing_and_asking_for_the_version_takes_no_time() -> None:
    """Measured in processor time, for other tests run at the same time."""

    def cheapest(*arguments: str) -> float:
        costs = []
        for _ in range(7):
            before = os.times()
            assert python(*arguments).returncode == 0
            after = os.times()
            costs.append(after.children_user + after.children_system - before.children_user - before.children_system)
        return min(costs)

    assert cheapest("-c", "import wclayer") < cheapest("-c", "pass") + 0.06
    assert cheapest("-m", "wclayer", "--version") < cheapest("-c", "import click") + 0.06


# ---------------------------------------------------------------------------------------------------------- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_one(shell: str, run: Run, tmp_path: Path) -> None:
    ended = run("completion", shell)
    assert ended.code == 0
    assert "_WCLAYER_COMPLETE" in ended.out
    (tmp_path / "script").write_text(ended.out)
    program = require("bash") if shell == "bash" else None
    if program:
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True, capture_output=True)


def test_another_shell_is_a_usage_error(run: Run) -> None:
    assert run("completion", "cmd").code == 2


@pytest.mark.parametrize(
    ("shell", "word", "expected"),
    [("bash", "1", "plain,unpack"), ("zsh", "1", "plain\nunpack"), ("fish", "un", "plain,unpack")],
)
def test_a_verb_is_completed(shell: str, word: str, expected: str) -> None:
    done = python("-m", "wclayer", _WCLAYER_COMPLETE=f"{shell}_complete", COMP_WORDS="wclayer un", COMP_CWORD=word)
    assert expected in done.stdout
    assert "verify" not in done.stdout


def test_an_option_is_completed_by_bash_itself(run: Run, tmp_path: Path) -> None:
    bash = require("bash")
    (tmp_path / "script").write_text(run("completion", "bash").out)
    (tmp_path / "wclayer").write_text(f'#!/bin/sh\nexec {sys.executable} -m wclayer "$@"\n')
    (tmp_path / "wclayer").chmod(0o755)
    code = (
        f"PATH={tmp_path}:$PATH; source {tmp_path}/script; COMP_WORDS=(wclayer unpack --stri); COMP_CWORD=2;"
        ' _wclayer_completion wclayer; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "--strict"
