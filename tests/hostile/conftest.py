"""What the hostile tests share: the command, and a world around it that must not change."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.command import Command
from tests.hostile.world import World


@pytest.fixture(scope="module", autouse=True)
def what_is_old_is_not_looked_at() -> Iterator[None]:
    """Collect once what earlier tests left: each command collects, and there may be millions of objects by now."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process."""
    return Command(capsys)


@pytest.fixture
def world(tmp_path: Path, command: Command) -> World:
    """A folder to work in, with things around it that nobody may touch."""
    return World(tmp_path, command)
