"""Which Windows an image is, which updates and programs it has, and how old it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.registry.windows_images import (
    UNINSTALL,
    VERSION,
    WindowsBuilder,
    application,
    install_application,
    package,
    patch,
    remove_application,
    server_core,
    three_layers,
)
from tests.image.stacks import TIME
from wclayer.errors import UsageError
from wclayer.image.os_age import age_of, parse_duration
from wclayer.image.os_report import OsReport, os_report
from wclayer.image.unpack import unpack
from wclayer.ntfs.filetime import from_text
from wclayer.regf import HiveValue, write_hive

DAY = 86_400
NOW = TIME + 100 * DAY * 10**7
SETUP = r"Microsoft\NET Framework Setup\NDP"


def report(windows: WindowsBuilder, path: Path, *, os_version: str = "10.0.20348.2227") -> OsReport:
    return os_report(windows.image(path / "layout", os_version=os_version), now=NOW)


def test_a_base_image_says_all_of_its_version(tmp_path: Path) -> None:
    found = report(server_core(), tmp_path)
    version = found.version
    assert (version.product, version.edition) == ("Windows Server 2022 Datacenter", "ServerDatacenter")
    assert (version.installation_type, version.display_version) == ("Server Core", "21H2")
    assert (version.version, version.build, version.revision) == ("10.0.20348.2227", 20348, 2227)
    assert (version.release, version.architecture, version.layer) == ("ltsc2022", "amd64", 0)
    assert (version.config_version, version.config_architecture) == ("10.0.20348.2227", "amd64")
    assert (version.disagreements, found.not_assessed) == ((), ())


def test_a_patch_layer_changes_the_revision_and_adds_its_update(tmp_path: Path) -> None:
    found = os_report(three_layers(tmp_path / "layout"), now=NOW)
    assert (found.version.version, found.version.layer) == ("10.0.20348.2322", 1)
    assert {update.kb: update.layer for update in found.updates if update.kb} == {"KB5034129": 0, "KB5034770": 1}
    newest = next(update for update in found.updates if update.kb == "KB5034770")
    assert newest.installed == TIME + 10**13
    assert newest.installed_text == "2020-01-12T13:46:40.0000000Z"
    assert (newest.state, newest.version, newest.architecture) == ("installed", "20348.2322.1.4", "amd64")
    assert {update.kind for update in found.updates} == {"update", "cumulative update", "servicing stack"}


def test_a_deleted_application_is_not_listed(tmp_path: Path) -> None:
    before = report(server_core(), tmp_path)
    assert [(one.name, one.version, one.layer) for one in before.software] == [("Example Runtime", "1.2.3", 0)]
    assert before.software[0].product_code == "{11111111-2222-3333-4444-555555555555}"
    assert os_report(three_layers(tmp_path / "three"), now=NOW).software == ()


def test_layers_are_numbered_as_in_the_image_where_some_have_no_hives(tmp_path: Path) -> None:
    windows = server_core()
    windows.commit({"Files/one": b"1"}, all_deltas=False)
    windows.commit({"Files/two": b"2"}, all_deltas=False)
    patch(windows, commit=False)
    windows.commit(all_deltas=False)
    found = report(windows, tmp_path)
    assert found.version.layer == 3
    assert {update.layer for update in found.updates} == {0, 3}


def test_programs_of_both_views_are_listed_and_iis_with_its_components(tmp_path: Path) -> None:
    windows = server_core()
    install_application(windows)
    windows.set("SOFTWARE", f"{UNINSTALL}\\NoName", HiveValue.sz("DisplayVersion", "1"))
    windows.set(
        "SOFTWARE",
        r"Microsoft\ServerManager\ServicingStorage\ServerComponentCache\Web-Server",
        HiveValue.dword("InstallState", 1),
    )
    windows.set(
        "SOFTWARE",
        r"Microsoft\ServerManager\ServicingStorage\ServerComponentCache\DHCP",
        HiveValue.dword("InstallState", 0),
    )
    windows.commit()
    found = report(windows, tmp_path)
    assert [(one.name, one.view, one.installed, one.layer) for one in found.software] == [
        ("Example Runtime", "64-bit", "2024-01-09", 0),
        ("Example Tool (x86)", "32-bit", "2024-01-09", 1),
    ]
    assert found.iis is not None
    assert (found.iis.version, found.iis.components, found.iis.layer) == ("10.0", ("ASPNET45", "W3SVC"), 1)
    assert found.features == (("Web-Server", 2),)


@pytest.mark.parametrize(
    ("release", "version"),
    [(378389, "4.5"), (461808, "4.7.2"), (528040, "4.8"), (528449, "4.8"), (533325, "4.8.1"), (600000, "4.8.1")],
)
def test_net_framework_4_is_known_by_its_release(tmp_path: Path, release: int, version: str) -> None:
    windows = server_core(commit=False)
    windows.set("SOFTWARE", f"{SETUP}\\v4\\Full", HiveValue.dword("Release", release))
    windows.commit()
    [framework] = report(windows, tmp_path).dotnet
    assert (framework.version, framework.full_version, framework.release) == (version, "4.8.04161", release)


def test_old_net_framework_and_shared_frameworks_are_listed(tmp_path: Path) -> None:
    windows = server_core(commit=False)
    windows.set("SOFTWARE", f"{SETUP}\\v3.5", HiveValue.dword("Install", 1), HiveValue.sz("Version", "3.5.30729.4926"))
    windows.set("SOFTWARE", f"{SETUP}\\v2.0.50727", HiveValue.dword("Install", 0))
    windows.set(
        "SOFTWARE",
        r"WOW6432Node\dotnet\Setup\InstalledVersions\x64\sharedfx\Microsoft.NETCore.App",
        HiveValue.dword("8.0.1", 1),
    )
    windows.commit()
    found = [(one.product, one.version) for one in report(windows, tmp_path).dotnet]
    assert found == [(".NET Framework", "3.5"), (".NET Framework", "4.8"), ("Microsoft.NETCore.App", "8.0.1")]


def test_registry_and_configuration_that_disagree_are_both_said(tmp_path: Path) -> None:
    windows = server_core(commit=False)
    windows.set("SOFTWARE", VERSION, HiveValue.sz("CurrentBuild", "17763"))
    windows.commit()
    sentences = report(windows, tmp_path, os_version="10.0.17763.1").version.disagreements
    assert sentences == (
        "the registry says 10.0.20348.2227, the configuration says os.version 10.0.17763.1",
        "the registry says CurrentBuild 17763 and CurrentBuildNumber 20348",
    )


def test_a_configuration_that_says_less_does_not_disagree(tmp_path: Path) -> None:
    assert report(server_core(), tmp_path, os_version="10.0.20348").version.disagreements == ()


def test_states_of_packages_are_named_and_only_installed_ones_count(tmp_path: Path) -> None:
    windows = server_core(commit=False)
    package(windows, "Package_for_KB1111111~31bf3856ad364e35~amd64~~1.1.1.1", state=0x50)
    package(windows, "Package_for_KB2222222~31bf3856ad364e35~amd64~~1.1.1.1", state=0x40, installed=NOW * 2)
    package(windows, "Package_for_KB3333333~31bf3856ad364e35~amd64~~1.1.1.1", state=0x99)
    package(windows, "Package_for_KB4444444~31bf3856ad364e35~amd64~~1.1.1.1")
    package(windows, "Package_7_for_KB4444444~31bf3856ad364e35~amd64~~1.1.1.1")
    package(windows, "Package_8_for_KB5555555~31bf3856ad364e35~amd64~~1.1.1.1")
    windows.commit()
    found = {update.kb: update for update in report(windows, tmp_path).updates if update.kb}
    assert {kb: update.state for kb, update in found.items()} == {
        "KB1111111": "superseded",
        "KB2222222": "staged",
        "KB3333333": "0x99",
        "KB4444444": "installed",
        "KB5034129": "installed",
        "KB5555555": "installed",
    }
    assert [update.package[:12] for kb, update in found.items() if kb == "KB4444444"] == ["Package_for_"]
    assert {kb for kb, update in found.items() if update.is_installed} == {"KB4444444", "KB5034129", "KB5555555"}


def test_a_cumulative_update_is_known_by_where_it_came_from(tmp_path: Path) -> None:
    windows = server_core(commit=False)
    windows.set(
        "SOFTWARE",
        r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
        r"\Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.2227.1.4",
        HiveValue.sz("InstallLocation", r"C:\x\Windows10.0-KB5034129-x64.cab"),
    )
    windows.commit()
    [rollup] = [update for update in report(windows, tmp_path).updates if update.kind == "cumulative update"]
    assert (rollup.kb, rollup.name) == ("KB5034129", "KB5034129")


def test_an_unpacked_image_gives_the_same_answer(tmp_path: Path) -> None:
    reference = three_layers(tmp_path / "layout")
    unpack(reference, tmp_path / "out")
    there, here = (os_report(place, now=NOW).to_json() for place in (reference, str(tmp_path / "out")))
    assert {**there, "reference": None} == {**here, "reference": None}


def test_without_a_software_hive_nothing_is_assessed_and_that_is_said(tmp_path: Path) -> None:
    windows = WindowsBuilder()
    windows.hives = {}
    windows.commit({"Files/app": b"x"})
    found = report(windows, tmp_path)
    assert not found.version.is_assessed
    assert "so the OS is not assessed" in found.not_assessed[0]
    assert found.age.seconds is None
    assert found.age.exceeds(10**9)


def test_a_folder_of_a_layer_is_looked_at_without_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "layer" / "Files" / "Windows" / "System32" / "config"
    config.mkdir(parents=True)
    (tmp_path / "layer" / "Hives").mkdir()
    for name, tree in server_core().hives.items():
        (config / name).write_bytes(write_hive(tree, name=name, timestamp=TIME))
    found = os_report(str(tmp_path / "layer"), now=NOW)
    assert found.version.version == "10.0.20348.2227"
    assert found.not_assessed == ("there is no configuration to compare with",)


def test_odd_types_and_texts_in_the_registry_are_not_believed(tmp_path: Path) -> None:
    windows = server_core(commit=False)
    windows.set(
        "SOFTWARE",
        VERSION,
        HiveValue("UBR", 4, b"\1\2\3"),
        HiveValue.sz("CurrentBuildNumber", "9" * 5000),
        HiveValue.dword("ProductName", 7),
    )
    windows.set("SYSTEM", "Select", HiveValue("Current", 4, b"\xff" * 4000))
    application(windows, "x", "Tool \ud800", "1")
    windows.commit()
    found = report(windows, tmp_path)
    assert (found.version.build, found.version.revision, found.version.product) == (20348, None, None)
    assert "the registry has no UBR, so the revision is not known" in found.not_assessed
    assert "Tool \ud800" in [one.name for one in found.software]


# ---------------------------------------------------------------------- age


def test_the_age_is_that_of_the_newest_installed_update(tmp_path: Path) -> None:
    windows = server_core()
    patch(windows)
    age = report(windows, tmp_path).age
    assert age.since == "2020-01-12T13:46:40.0000000Z"
    assert age.seconds == 100 * DAY - 10**6
    assert age.exceeds(88 * DAY)
    assert not age.exceeds(89 * DAY)


def test_without_updates_the_age_is_that_of_the_build(tmp_path: Path) -> None:
    found = report(server_core(), tmp_path)
    age = age_of(found.version, [], from_text("2021-08-28T00:00:00Z"))
    assert (age.since, age.seconds) == ("2021-08-18T00:00:00.0000000Z", 10 * DAY)
    assert "no installed update has a date" in age.basis


def test_an_update_of_the_future_gives_no_age(tmp_path: Path) -> None:
    found = report(server_core(), tmp_path)
    age = age_of(found.version, found.updates, TIME - 2 * DAY * 10**7)
    assert age.seconds is None
    assert "in the future" in age.basis
    assert age.exceeds(10**9)


def test_the_age_of_an_unknown_build_without_updates_is_not_known(tmp_path: Path) -> None:
    found = report(server_core(build=20999), tmp_path)
    assert age_of(found.version, [], NOW).seconds is None


@pytest.mark.parametrize(("text", "seconds"), [("45d", 45 * DAY), ("6w", 42 * DAY), ("12h", 43_200), ("0d", 0)])
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "45", "d", "-1d", "1.5d", "1y", "1d ", "٣d", "9999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


def test_a_removed_application_leaves_the_others(tmp_path: Path) -> None:
    windows = server_core()
    install_application(windows)
    remove_application(windows)
    assert [one.name for one in report(windows, tmp_path).software] == ["Example Tool (x86)"]
