"""What the tests of layer folders share."""

from __future__ import annotations

import pytest

from wclayer.formats.folder import LayerFolderWriter


@pytest.fixture(params=["one process", "two processes"])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything twice: with the files made by this process, and by a second one."""
    defaults = LayerFolderWriter.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "second_process", request.param == "two processes")
