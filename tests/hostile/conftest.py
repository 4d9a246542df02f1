"""What the hostile tests share: the command, and a world around it that must not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.command import Command
from tests.hostile.world import World


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process."""
    return Command(capsys)


@pytest.fixture
def world(tmp_path: Path, command: Command) -> World:
    """A folder to work in, with things around it that nobody may touch."""
    return World(tmp_path, command)
