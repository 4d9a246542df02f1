"""The package as a whole: what it hands on, and what importing it costs."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from typing import Any

import pytest

import wclayer
import wclayer.formats.folder as layer_folder
from wclayer import ntfs


def modules_after(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_nothing_of_it_but_the_version() -> None:
    loaded = modules_after("import wclayer")
    assert {name for name in loaded if name.startswith("wclayer")} == {"wclayer", "wclayer._lazy", "wclayer._version"}
    assert not loaded & {"click", "rich", "urllib3", "http", "http.client", "ssl", "socket", "sqlite3", "isal"}


@pytest.mark.parametrize(("package", "others"), [(wclayer, {"__version__"}), (layer_folder, set()), (ntfs, set())])
def test_every_public_name_is_found_in_the_home_that_is_named_for_it(package: Any, others: set[str]) -> None:
    homes = {name: home for home, names in package._HOMES.items() for name in names}
    assert set(package.__all__) == {*homes, *others}
    for name, home in homes.items():
        assert getattr(package, name) is getattr(importlib.import_module(home), name)
        assert name in importlib.import_module(home).__all__


def test_the_process_that_makes_files_loads_no_database_and_no_reader() -> None:
    loaded = modules_after("import wclayer.formats.folder.tree_worker")
    assert "wclayer.formats.folder.content" in loaded
    assert not loaded & {
        "sqlite3",
        "subprocess",
        "json",
        "wclayer.formats.folder.index",
        "wclayer.formats.folder.headers",
    }


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'wclayer' has no attribute 'nonsense'"):
        getattr(wclayer, "nonsense")  # noqa: B009 - the type checker knows that it is not there


def test_public_names_are_listed_before_they_are_loaded() -> None:
    assert set(wclayer.__all__) <= set(dir(wclayer))


def test_the_version_is_the_one_of_the_installed_distribution() -> None:
    assert wclayer.__version__ == importlib.metadata.version("wclayer")
