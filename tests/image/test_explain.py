"""What is known about errors, and that it is found in whatever form an error comes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import NotFoundError
from wclayer.hcs.failures import HcsError
from wclayer.image.explain import EXPLANATIONS, explain
from wclayer.image.explain_entry import Explanation
from wclayer.image.lint import RULES

FOUND = [
    ("hcsshim::ImportLayer failed in Win32: The system cannot find the path specified. (0x3)", "import-not-found"),
    (
        "failed to register layer: re-exec error: exit status 1: output: hcsshim::ImportLayer - failed failed in Win32:"
        " The system cannot find the file specified. (0x2)",
        "import-not-found",
    ),
    ("ImportLayer: Access is denied. (0x5)", "import-denied"),
    (
        "re-exec error: exit status 1: output: ProcessBaseLayer C:\\x: The system cannot find the path specified.",
        "wrong-system",
    ),
    ("hcsshim::ProcessBaseLayer C:\\layers\\4: The specified module could not be found.", "no-containers-feature"),
    ("hcsshim::PrepareLayer - failed failed in Win32: Incorrect function. (0x1)", "prepare-layer"),
    ("hcsshim::ExportLayer failed in Win32: The system cannot find the path specified. (0x3)", "export-not-found"),
    ("0x80070476", "too-many-links"),
    ("hr = 0x800703F1", "registry-corrupt"),
    ("The configuration registry database is corrupt.", "registry-corrupt"),
    ("invalid hard link in layer", "invalid-hard-link"),
    ("failed to find link target for 'Files\\a' -> 'Files\\b'", "link-target"),
    ("Failed to safefile.OpenRelative Files\\a: The system cannot find the path specified. (0x3)", "open-relative"),
    ("unknown stream ID 9", "sparse-file"),
    ("link /a /rootfs/Files/Windows/INF/basicrender.inf: no such file or directory", "link-on-linux"),
    ('image operating system "windows" cannot be used on this platform', "refused-platform"),
    ("no matching manifest for windows/amd64 10.0.17763 in the manifest list entries", "host-version"),
    (
        "container 1 encountered an error during CreateProcess: failure in a Windows system call: The virtual machine"
        " or container exited unexpectedly. (0xc0370106)",
        "container-exited",
    ),
    ("Exception 0xc0000420 0x0 0x0", "process-killed"),
    ("path contains invalid character `:`", "colon"),
    ("SetupBaseOSVolume is not present on builds older than 19645", "setup-base-volume"),
    ("write: There is not enough space on the disk.", "disk-full"),
    ("-2147024891 in ImportLayer", "import-denied"),
    (
        "hcsshim::ConvertToBaseLayer - failed: saving hive: Cannot create a file when that file already exists.",
        "hives-there-already",
    ),
]


@pytest.mark.parametrize(
    ("text", "expected"), FOUND, ids=[f"{name}-{number}" for number, (_, name) in enumerate(FOUND)]
)
def test_the_best_explanation_comes_first(text: str, expected: str) -> None:
    assert explain(text).explanations[0].id == expected


@pytest.mark.parametrize("text", ["", "hello", "no such file", "ImportLayer", "0xdeadbeef"])
def test_nothing_is_made_up(text: str) -> None:
    with pytest.raises(NotFoundError, match="nothing is known"):
        explain(text)


def test_a_code_alone_says_what_windows_says() -> None:
    found = explain("0x80070003")
    assert [(code.text, code.code, code.message) for code in found.codes] == [
        ("0x80070003", 3, "The system cannot find the path specified.")
    ]
    assert found.explanations == ()


def test_the_errors_of_this_package_can_be_explained() -> None:
    error = HcsError("hcsshim::ImportLayer", 0x476)
    assert error.hint is not None
    assert explain(error.hint).explanations[0].id == "too-many-links"
    assert explain(str(error)).explanations[0].id == "too-many-links"


@pytest.mark.parametrize("entry", EXPLANATIONS, ids=[entry.id for entry in EXPLANATIONS])
def test_an_explanation_has_cause_and_step_and_source(entry: Explanation) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", entry.id)
    assert entry.causes
    assert entry.steps
    assert entry.sources
    assert entry.phrases or entry.codes
    assert all(phrase == phrase.lower() for phrase in entry.phrases)


def test_identifiers_are_unique() -> None:
    assert len({entry.id for entry in EXPLANATIONS}) == len(EXPLANATIONS)


def test_the_rules_that_steps_name_exist() -> None:
    for entry in EXPLANATIONS:
        for step in entry.steps:
            named = re.search(r"wclayer lint IMAGE: (.*)", step)
            if named:
                assert set(named[1].split(", ")) <= RULES.keys()


@given(st.text())
def test_any_text_is_explained_or_not_found(text: str) -> None:
    try:
        explain(text)
    except NotFoundError:
        return
