"""Whether an image would run, and what would instead, as the command says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_documents import make_index, remove_layers, windows
from tests.oci.samples import layer_tar, new_docker_archive, write_image
from wclayer.image.compat import HOSTS, compatibility, hosts_of
from wclayer.oci import Platform

VERSIONS = ["10.0.17763.6414", "10.0.20348.999", "10.0.20348.3091"]


@pytest.fixture
def image(tmp_path: Path) -> str:
    make_index(tmp_path / "layout", VERSIONS)
    remove_layers(tmp_path / "layout")
    return f"oci:{tmp_path / 'layout'}:all"


def test_an_image_that_runs(image: str, run: Run) -> None:
    ended = run("compat", image, "--host", "10.0.20348.2113")
    assert (ended.code, ended.err) == (0, "")
    first, second, third = ended.out.splitlines()
    assert first == "runs on windows(10.0.20348.2113)/amd64 with process isolation"
    assert second.startswith("image: windows(10.0.20348.3091)/amd64  sha256:")
    assert third == "because image and host are of build 20348; revisions do not matter"


def test_an_image_that_does_not_run(image: str, run: Run) -> None:
    ended = run("compat", image, "--host", "26200")
    assert (ended.code, ended.err) == (1, "")
    first, *entries, last = ended.out.splitlines()
    assert first == "does not run on windows(10.0.26200)/amd64 with process isolation"
    assert [line.split()[1] for line in entries] == [f"windows({version})/amd64" for version in VERSIONS]
    assert all("runs builds 26100 to 26200" in line for line in entries)
    assert last == "it runs there with --isolation hyperv"
    ended = run("compat", image, "--host", "26200", "--isolation", "hyperv")
    assert ended.code == 0
    assert "windows(10.0.20348.3091)/amd64" in ended.out


def test_json_says_why_for_each_image(image: str, run: Run) -> None:
    ended = run("compat", image, "--host", "ltsc2016", "--format", "json")
    document = ended.document
    assert ended.code == 1
    assert document["schema"] == "wclayer.compat/1"
    assert (document["host"], document["isolation"]) == ("windows(10.0.14393)/amd64", "process")
    assert (document["runs"], document["chosen"], document["runs_with_hyperv"]) == (False, None, False)
    assert [entry["cause"] for entry in document["entries"]] == ["newer-build"] * 3
    document = run("compat", image, "--host", "1809", "--format", "json").document
    assert document["chosen"] == document["entries"][0]
    assert [entry["runs"] for entry in document["entries"]] == [True, False, False]


@pytest.mark.parametrize("host", [*HOSTS, 19045, 22000, 28000])
@pytest.mark.parametrize("isolation", ["process", "hyperv"])
def test_every_host_gets_the_image_of_the_table(host: int, isolation: str, image: str, run: Run) -> None:
    if isolation == "hyperv":
        expected = VERSIONS[2] if host >= 20348 else VERSIONS[0] if host >= 17763 else None
    else:
        expected = VERSIONS[0] if host == 17763 else VERSIONS[2] if 20348 <= host <= 26100 else None
    for text in (str(host), f"10.0.{host}.2113", f"windows(10.0.{host})/amd64"):
        ended = run("compat", image, "--host", text, "--isolation", isolation, "--format", "json")
        assert ended.code == (expected is None)
        chosen = ended.document["chosen"]
        assert (chosen and chosen["platform"]) == (expected and f"windows({expected})/amd64")
    if host in HOSTS:
        (answer,) = [one for one in hosts_of(image) if one.build == host]
        shown = answer.hyperv if isolation == "hyperv" else answer.process
        assert shown == (expected and f"windows({expected})/amd64")


def test_all_hosts_are_a_table(image: str, run: Run) -> None:
    ended = run("compat", image, "--all-hosts")
    assert ended.code == 0
    rows = [line.split("  ") for line in ended.out.splitlines()]
    assert len(rows) == len(HOSTS) + 1
    assert rows[0][0] == "build"
    document = run("compat", image, "--all-hosts", "--format", "json").document
    assert document["schema"] == "wclayer.compat.hosts/1"
    assert [one["build"] for one in document["hosts"]] == list(HOSTS)
    assert document["hosts"][0] == {"build": 14393, "name": "Windows Server 2016", "process": None, "hyperv": None}


def test_another_tag_that_would_run_is_named(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    tags = {
        "4.8-ltsc2019": "10.0.17763.1",
        "4.8-ltsc2022": "10.0.20348.1",
        "4.8-10.0.20348.3091": "10.0.20348.3091",
        "3.5-ltsc2022": "10.0.20348.2",
        "4.8-ltsc2025": "10.0.26100.1",
        "misleading-ltsc2022": "10.0.26100.2",
        "plain": "10.0.20348.7",
    }
    for tag, version in tags.items():
        write_image(layout, [layer_tar(tag)], name=tag, platform=windows(version))
    remove_layers(layout)
    answer = compatibility(f"oci:{layout}:4.8-ltsc2019", "10.0.20348.2113")
    assert not answer.runs
    assert [one.reference.rpartition(":")[2] for one in answer.alternatives] == [
        "4.8-ltsc2022",  # a release comes before one revision of it, for it gets the next one, too
        "4.8-10.0.20348.3091",
        "3.5-ltsc2022",
    ]
    assert answer.alternatives[1].platform == "windows(10.0.20348.3091)/amd64"
    ended = run("compat", f"oci:{layout}:4.8-ltsc2019", "--host", "10.0.20348.2113")
    assert ended.code == 1
    assert f"instead: oci:{layout}:4.8-ltsc2022  windows(10.0.20348.1)/amd64  sha256:" in ended.out
    (only,) = compatibility(f"oci:{layout}:4.8-ltsc2022", "ltsc2019").alternatives
    assert only.reference.endswith("4.8-ltsc2019")
    assert compatibility(f"oci:{layout}:4.8-ltsc2022", "ltsc2022").alternatives == ()


def test_another_tag_that_is_damaged_is_told_and_changes_nothing(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    write_image(layout, [layer_tar("a")], name="x-ltsc2019", platform=windows("10.0.17763.1"))
    entry = write_image(layout, [layer_tar("b")], name="x-ltsc2022", platform=windows("10.0.20348.1"))
    write_image(layout, [layer_tar("c")], name="y-ltsc2022", platform=windows("10.0.20348.2"))
    (layout / entry.digest.blob_path).unlink()
    ended = run("compat", f"oci:{layout}:x-ltsc2019", "--host", "20348", "--format", "json")
    assert ended.code == 1
    assert [one["reference"] for one in ended.document["alternatives"]] == [f"oci:{layout}:y-ltsc2022"]
    assert f"oci:{layout}:x-ltsc2022 could not be looked at" in ended.err
    assert len(ended.document["notes"]) == 1


def test_another_image_of_an_archive_is_named(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "saved.tar"
    path.write_bytes(new_docker_archive([layer_tar()]))
    ended = run("compat", f"docker-archive:{path}", "--host", "ltsc2019", "--format", "json")
    assert (ended.code, ended.document["alternatives"]) == (1, [])


def test_the_architecture_of_the_host_counts(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path, [layer_tar()], name="x", platform=Platform("windows", "arm64", "", "10.0.26100.1"))
    image = f"oci:{tmp_path}:x"
    assert run("compat", image, "--host", "windows(26100)/arm64").code == 0
    ended = run("compat", image, "--host", "26100")
    assert ended.code == 1
    assert "it is for arm64, not for amd64" in ended.out
    assert [one.process for one in hosts_of(image)].count("windows(10.0.26100.1)/arm64") == 2


def test_an_image_without_a_version_runs_anywhere_as_far_as_anyone_can_tell(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path, [layer_tar()], name="x", platform=Platform("windows", "amd64"))
    ended = run("compat", f"oci:{tmp_path}:x", "--host", "ltsc2022")
    assert ended.code == 0
    assert "does not say its version" in ended.out


@pytest.mark.parametrize(
    "host", ["linux/amd64", "windows/amd64", "10.0", "windows(10.0)/amd64", "nonsense", "99999", "10.0.20348.1.2"]
)
def test_what_is_no_host_is_a_usage_error(host: str, image: str, run: Run) -> None:
    ended = run("compat", image, "--host", host)
    assert (ended.code, ended.data) == (2, b"")


def test_a_host_or_all_of_them(image: str, run: Run) -> None:
    assert run("compat", image).code == 2
    assert run("compat", image, "--host", "20348", "--all-hosts").code == 2
    assert run("compat", image, "--host", "20348", "--isolation", "none").code == 2
    assert run("compat", f"{image}x", "--host", "20348").code == 3
