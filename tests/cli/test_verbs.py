"""What the verbs print, and how they end."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.stacks import file, folder, gone, junction, link, make_image, stream, symlink, tar
from wclayer.model import LayerItem
from wclayer.ntfs.filetime import from_text
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build

AT = from_text("2022-02-01T00:00:00.1234567Z")
SECURITY = build(from_sddl("O:BAG:SYD:(A;;FA;;;BA)"))

BASE: list[LayerItem] = [
    folder("Files", at=AT),
    folder("Files/d", at=AT, attributes=0x12),
    file("Files/a.txt", b"twelve bytes", at=AT, creation_time=AT + 1, security_descriptor=SECURITY, attributes=0x27),
    stream("Files/a.txt", "Zone.Identifier", b"[Z]\n"),
    file("Files/nothing", None, at=AT),
    junction("Files/j", "C:\\d"),
    symlink("Files/s\x1b[31m", "a.txt"),
]
TOP: list[LayerItem] = [link("Files/d/b", "Files/a.txt"), gone("Files/nothing"), file("Files/d/Grüße 你好", at=AT)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image of two layers."""
    return make_image(tmp_path_factory.mktemp("layout"), BASE, TOP)


# -------------------------------------------------------------------------------------------------------------- golden


def test_ls(image: str, run: Run) -> None:
    ended = run("ls", image)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "a.txt\nd\\\nj\ns\\x1b[31m\n"


def test_ls_long(image: str, run: Run) -> None:
    assert run("ls", "-l", image).out == (
        "--ASHR     file                12 2022-02-01T00:00:00.1234567Z a.txt\n"
        "D---H-     directory            - 2022-02-01T00:00:00.1234567Z d\\\n"
        "DL----     junction             - -                            j -> C:\\d\n"
        "-L----     symlink              - -                            s\\x1b[31m -> a.txt\n"
    )


def test_ls_long_below_a_link(image: str, run: Run) -> None:
    assert run("ls", "-lR", image, "C:\\J").out == (
        "--ASHR     hardlink            12 2022-02-01T00:00:00.1234567Z C:\\d\\b = C:\\a.txt\n"
        "--A---     file                 0 2022-02-01T00:00:00.1234567Z C:\\d\\Grüße 你好\n"
    )


def test_ls_of_one_layer_shows_deletions(image: str, run: Run) -> None:
    assert run("ls", image, "--layer", "-1").out == "d\\\nnothing (deleted)\n"
    assert run("ls", "-l", image, "/nothing", "--layer", "1").out == (
        "------     deleted              - -                            nothing\n"
    )


def test_ls_of_the_layer_itself_and_of_patterns(image: str, run: Run) -> None:
    assert run("ls", image, ".").out == "Files\\\n"
    assert run("ls", "-d", image, "d").out == "C:\\d\n"
    assert run("ls", image, "**/*b*").out == "C:\\d\\b\n"
    assert run("ls", "-R", image, "D*").out == "C:\\d\nC:\\d\\b\nC:\\d\\Grüße 你好\n"


def test_stat(image: str, run: Run) -> None:
    out = run("stat", image, "d/B").out
    *lines, layer = out.splitlines()
    assert lines == [
        "Path:                C:\\d\\b",
        "Layer path:          Files/d/b",
        "Kind:                hardlink",
        "Size:                12",
        "Attributes:          0x00000027 (READONLY, HIDDEN, SYSTEM, ARCHIVE)",
        "Created:             2022-02-01T00:00:00.1234568Z (132881472001234568)",
        "Last write:          2022-02-01T00:00:00.1234567Z (132881472001234567)",
        "Last access:         not in the layer",
        "Changed:             not in the layer",
        "Security:            O:BAG:SYD:(A;;FA;;;BA)",
        "Stream:              :Zone.Identifier:$DATA (4 bytes)",
        "Hard link to:        C:\\a.txt in layer 0",
    ]
    assert re.fullmatch(r"Layer:               1 \(2 of 2 \(sha256:[0-9a-f]{12}\)\)", layer)


def test_stat_of_a_link_shows_the_link_or_what_it_leads_to(image: str, run: Run) -> None:
    out = run("stat", image, "j").out
    assert "Reparse tag:         0xA0000003 (MOUNT_POINT)\n" in out
    assert "Target:              C:\\d\n" in out
    assert "Substitute name:     \\??\\C:\\d\n" in out
    assert "Kind:                directory\n" in run("stat", "-L", image, "j").out


def test_cat(image: str, run: Run) -> None:
    assert run("cat", image, "C:\\D\\B").data == b"twelve bytes"
    assert run("cat", image, "a.txt", "--stream", "zone.identifier").data == b"[Z]\n"
    assert run("cat", image, "d/Grüße 你好").data == b""


def test_unpack_and_what_it_says(image: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    layers = json.loads(run("unpack", image, out, "--format", "json").data)["layers"]
    expected = [f"layer {number}: {layer['diff_id']}" for number, layer in enumerate(layers)]
    lines = run("unpack", image, out).out.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == expected
    assert [line.split("  ")[1:] for line in lines[:2]] == [
        ["12.5 KiB, there already", layers[0]["path"]],
        ["4.5 KiB, there already", layers[1]["path"]],
    ]
    assert lines[2:] == [f"{out}: 2 layers of {image}, base first as above"]
    assert run("unpack", image, tmp_path / "new").out.splitlines()[0].split("  ")[1] == "12.5 KiB"


def test_inspect(sample: str, run: Run) -> None:
    lines = run("inspect", sample).out.splitlines()
    assert lines[0] == f"image  {sample}"
    assert lines[1].startswith("digest: sha256:")
    assert lines[2:7] == [
        "platform: windows(10.0.20348.1)/amd64",
        "created: 2022-10-01T00:00:00Z",
        "user: ContainerUser",
        'command: ["cmd.exe"]',
        "working folder: C:\\Sample",
    ]
    assert [re.sub(r"[0-9a-f]{64}|[0-9.]+ KiB", "…", line) for line in lines[7:]] == [
        "layer 0: sha256:…  …  application/vnd.oci.image.layer.v1.tar+gzip",
        "layer 1: sha256:…  …  application/vnd.oci.image.layer.v1.tar+zstd",
        "layer 2: sha256:…  …  application/vnd.oci.image.layer.v1.tar+gzip",
    ]


def test_import_export_and_verify_in_text(run: Run, tmp_path: Path) -> None:
    data = tar(BASE)
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    source, folder_made, output = tmp_path / "layer.tar", tmp_path / "layer", tmp_path / "again.tar"
    source.write_bytes(data)
    assert run("import", source, folder_made).out == f"{diff_id}  12.5 KiB  {folder_made}\n"
    assert run("export", folder_made, "-o", output).out == f"{diff_id}  12.5 KiB  {output}\n"
    assert run("verify", folder_made).out == f"ok   {diff_id}  (database, files, DiffID)\n"
    source.write_bytes(data + bytes(10240))  # more zeros at the end than there need be
    assert run("import", source, tmp_path / "padded").code == 0
    ended = run("export", tmp_path / "padded", "-o", output, "--as", "faithful")
    assert output.read_bytes() == data
    assert ended.err == f"wclayer: the tar differs from the one the layer came from: its DiffID is {diff_id}\n"


def test_sample_and_merged_in_text(run: Run, tmp_path: Path) -> None:
    lines = run("sample", "-o", f"oci:{tmp_path}/layout:demo").out.splitlines()
    assert [re.sub(r"[0-9a-f]{64}", "…", line) for line in lines] == [
        f"oci:{tmp_path}/layout:demo-base  sha256:…  1 layer",
        f"oci:{tmp_path}/layout:demo  sha256:…  3 layers",
    ]
    ended = run("unpack", f"oci:{tmp_path}/layout:demo", tmp_path / "merged", "--view", "merged")
    assert re.fullmatch(rf"{tmp_path}/merged: \d+ entries, [\d.]+ MiB, out of 3 layers\n", ended.out)


# ---------------------------------------------------------------------------------------------------------------- json

NUMBER, TEXT, LIST, FLAG, OBJECT = (int,), (str,), (list,), (bool,), (dict,)
OPTIONAL = type(None)


def check(document: object, shape: Mapping[str, tuple[type, ...]]) -> None:
    """``document`` has exactly the keys of ``shape``, each of one of its types."""
    assert isinstance(document, dict)
    assert set(document) == set(shape)
    for key, types in shape.items():
        assert type(document[key]) in types, key


ROW = {
    "path": TEXT,
    "windows_path": TEXT,
    "kind": TEXT,
    "size": (int, OPTIONAL),
    "attributes": NUMBER,
    "attribute_letters": TEXT,
    "last_write_time": (str, OPTIONAL),
    "target": (str, OPTIONAL),
    "layer": NUMBER,
}


def test_ls_json(sample: str, run: Run) -> None:
    document = run("ls", "-R", sample, ".", "--format", "json").document
    check(document, {"schema": TEXT, "entries": LIST})
    assert document["schema"] == "wclayer.ls/1"
    for row in document["entries"]:
        check(row, ROW)
    lines = run("ls", "-R", sample, ".", "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == [{"schema": "wclayer.ls/1", **row} for row in document["entries"]]
    assert {row["kind"] for row in document["entries"]} == {"directory", "file", "hardlink", "symlink", "junction"}


def test_stat_json(sample: str, run: Run) -> None:
    rows = run("ls", "-R", sample, ".", "--format", "json").document["entries"]
    seen = {}
    for row in rows:
        kind = (row["kind"], row["attributes"])
        if kind not in seen:
            seen[kind] = run("stat", sample, row["path"], "--format", "json").document
    for document in seen.values():
        check(
            document,
            {
                "schema": TEXT,
                "path": TEXT,
                "windows_path": TEXT,
                "kind": TEXT,
                "size": (int, OPTIONAL),
                "allocated": (list, OPTIONAL),
                "attributes": NUMBER,
                "attribute_names": LIST,
                "times": OBJECT,
                "security": (dict, OPTIONAL),
                "extended_attributes": LIST,
                "reparse": (dict, OPTIONAL),
                "streams": LIST,
                "hard_link": (dict, OPTIONAL),
                "layers": LIST,
            },
        )
        assert set(document["times"]) == {"creation_time", "last_access_time", "last_write_time", "change_time"}
        for time in document["times"].values():
            if time is not None:
                check(time, {"filetime": NUMBER, "text": TEXT})
        if document["security"]:
            check(
                document["security"],
                {"size": NUMBER, "raw": TEXT, "sddl": (str, OPTIONAL), "damaged": (str, OPTIONAL)},
            )
        if document["reparse"]:
            check(
                document["reparse"],
                {
                    "raw": TEXT,
                    "tag": (str, OPTIONAL),
                    "tag_name": (str, OPTIONAL),
                    "substitute_name": (str, OPTIONAL),
                    "print_name": (str, OPTIONAL),
                    "relative": (bool, OPTIONAL),
                    "damaged": (str, OPTIONAL),
                },
            )
        if document["hard_link"]:
            check(
                document["hard_link"],
                {"target": TEXT, "file": (str, OPTIONAL), "layer": (int, OPTIONAL), "missing": (str, OPTIONAL)},
            )
        for layer in document["layers"]:
            check(layer, {"number": NUMBER, "name": TEXT})
        for one in document["streams"]:
            check(one, {"name": TEXT, "size": NUMBER, "layer": NUMBER})


LAYER = {
    "path": TEXT,
    "diff_id": TEXT,
    "chain_id": TEXT,
    "digest": TEXT,
    "compression": TEXT,
    "size": NUMBER,
    "blob_size": NUMBER,
    "reused": FLAG,
    "notices": OBJECT,
    "listed": LIST,
}


def test_unpack_json(sample: str, run: Run, tmp_path: Path) -> None:
    document = run("unpack", sample, tmp_path / "out", "--format", "json").document
    check(
        document,
        {
            "schema": TEXT,
            "view": TEXT,
            "image": TEXT,
            "digest": TEXT,
            "platform": TEXT,
            "folder": TEXT,
            "chain_file": TEXT,
            "chain": LIST,
            "layers": LIST,
            "notices": OBJECT,
        },
    )
    for layer in document["layers"]:
        check(layer, LAYER)
        assert Path(layer["path"], "layer.db").is_file()
    assert document["chain"] == [layer["path"] for layer in document["layers"]][::-1]
    assert json.loads(Path(document["chain_file"]).read_bytes()) == document["chain"]
    merged = run("unpack", sample, tmp_path / "merged", "--view", "merged", "--format", "json").document
    check(
        merged,
        {
            "schema": TEXT,
            "view": TEXT,
            "image": TEXT,
            "folder": TEXT,
            "subtree": (str, OPTIONAL),
            "layers": NUMBER,
            "entries": NUMBER,
            "size": NUMBER,
            "notices": OBJECT,
            "listed": LIST,
        },
    )
    assert (document["schema"], document["view"], merged["view"]) == ("wclayer.unpack/1", "layers", "merged")


def test_the_other_documents(unpacked: Path, run: Run, tmp_path: Path) -> None:
    exported = run("export", unpacked, "--layer", "0", "-o", tmp_path / "l.tar.gz", "--format", "json").document
    check(
        exported,
        {
            "schema": TEXT,
            "layer": TEXT,
            "output": TEXT,
            "as": TEXT,
            "diff_id": TEXT,
            "digest": TEXT,
            "size": NUMBER,
            "blob_size": NUMBER,
            "compression": TEXT,
            "same_diff_id": FLAG,
            "notices": OBJECT,
            "listed": LIST,
        },
    )
    imported = run("import", tmp_path / "l.tar.gz", tmp_path / "l", "--format", "json").document
    check(
        imported,
        {
            "schema": TEXT,
            "path": TEXT,
            "diff_id": TEXT,
            "chain_id": (str, OPTIONAL),
            "digest": TEXT,
            "compression": TEXT,
            "size": NUMBER,
            "blob_size": NUMBER,
            "file_bytes": NUMBER,
            "notices": OBJECT,
            "listed": LIST,
        },
    )
    assert imported["diff_id"] == exported["diff_id"]
    verified = run("verify", unpacked, "--format", "json").document
    check(verified, {"schema": TEXT, "target": TEXT, "ok": FLAG, "problems": LIST, "layers": LIST})
    for layer in verified["layers"]:
        check(
            layer,
            {
                "layer": TEXT,
                "diff_id": TEXT,
                "ok": FLAG,
                "checked": LIST,
                "problems": LIST,
                "notices": OBJECT,
                "listed": LIST,
            },
        )
    extracted = run("extract", unpacked, "Users", "-o", tmp_path / "x", "--format", "json").document
    check(
        extracted,
        {
            "schema": TEXT,
            "output": TEXT,
            "files": LIST,
            "folders": NUMBER,
            "size": NUMBER,
            "linked": NUMBER,
            "left_out": LIST,
        },
    )
    inspected = run("inspect", unpacked, "--format", "json").document
    check(
        inspected,
        {
            "schema": TEXT,
            "kind": TEXT,
            "reference": TEXT,
            "digest": TEXT,
            "platform": TEXT,
            "config": OBJECT,
            "layers": LIST,
            "notes": LIST,
        },
    )
    assert run("sample", "-o", f"oci:{tmp_path}/s:t", "--format", "json").document["schema"] == "wclayer.sample/1"


def test_a_name_with_half_a_surrogate_is_printed_and_is_json(tmp_path: Path, run: Run) -> None:
    image = make_image(tmp_path / "layout", [file("Files/\ud800x\n", b"1")])
    assert run("ls", image).out == "\\ud800x\\n\n"
    assert run("ls", image, "--format", "json").document["entries"][0]["path"] == "Files/\ud800x\n"


# ---------------------------------------------------------------------------------------------------------- exit codes


def test_55_what_is_not_there_ends_with_3_and_names_image_and_path(image: str, run: Run) -> None:
    ended = run("cat", image, "C:\\d\\nowhere\\x")
    assert (ended.code, ended.data) == (3, b"")
    assert ended.err == f"wclayer: image {image}: there is no C:\\d\\nowhere\n"
    assert run("ls", "./nowhere").code == 3
    assert run("export", "./nowhere", "-o", "-").code == 3


def test_55_what_makes_no_sense_ends_with_2(image: str, unpacked: Path, run: Run, tmp_path: Path) -> None:
    assert run("import", image, tmp_path / "x").code == 2
    assert run("cat", image, "d").code == 2
    assert run("ls", image, "--layer", "7").code == 2
    assert run("ls", image, "x/a:b").code == 2
    assert run("unpack", image, tmp_path / "x", "--subtree", "d").code == 2
    assert run("unpack", image, tmp_path / "x", "--jobs", "0").code == 2
    assert run("export", unpacked, "-o", tmp_path / "x").code == 2
    assert run("sample", "-o", tmp_path / "x").code == 2
    assert run("ls", image, "--platform", "nonsense/nonsense/nonsense/nonsense").code == 2
    assert not (tmp_path / "x").exists()


def test_55_damage_ends_with_6(tmp_path: Path, run: Run) -> None:
    (tmp_path / "layer.tar.gz").write_bytes(gzip.compress(tar(BASE))[:-20])
    for arguments in (
        ("unpack", tmp_path / "layer.tar.gz", tmp_path / "out"),
        ("import", tmp_path / "layer.tar.gz", tmp_path / "out"),
        ("ls", tmp_path / "layer.tar.gz"),
        ("verify", tmp_path / "layer.tar.gz"),
    ):
        ended = run(*arguments)
        assert ended.code == 6, ended
        assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_verify_ends_with_6_when_anything_is_wrong(tmp_path: Path, run: Run) -> None:
    image = make_image(tmp_path / "layout", BASE)
    assert run("unpack", image, tmp_path / "out").code == 0
    assert run("verify", tmp_path / "out").code == 0
    (path,) = (tmp_path / "out").rglob("a.txt")
    path.chmod(0o644)
    path.write_bytes(b"TWELVE BYTES")
    for form in ("text", "json"):
        ended = run("verify", tmp_path / "out", "--format", form)
        assert ended.code == 6
        assert "a.txt" in ended.out


def test_an_engine_ends_with_7_and_says_how_to_copy(run: Run) -> None:
    ended = run("ls", "docker-daemon:windows:ltsc2022")
    assert ended.code == 7
    assert "skopeo copy docker-daemon:windows:ltsc2022 oci:DIR:TAG" in ended.err


def test_55_what_the_file_system_refuses_ends_with_8(image: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_bytes(b"")
    assert run("unpack", image, tmp_path / "full").code == 8
    assert run("unpack", image, tmp_path / "file" / "below").code == 8
    assert run("extract", image, "d", "-o", tmp_path / "file" / "below").code == 8


def test_a_strict_unpack_of_what_is_odd_ends_with_6(tmp_path: Path, run: Run) -> None:
    image = make_image(tmp_path / "layout", [file("Files/a"), file("Files/A")])
    ended = run("unpack", image, tmp_path / "out", "--strict")
    assert ended.code == 6
    assert "refused because of --strict" in ended.err


# ------------------------------------------------------------------------------------------------------ what people see


@pytest.fixture
def odd(tmp_path: Path) -> str:
    items = [one for number in range(10) for one in (file(f"Files/n{number}"), file(f"Files/N{number}"))]
    return make_image(tmp_path / "odd", items)


def test_what_is_odd_is_told_in_a_line_and_a_few_more(odd: str, run: Run, tmp_path: Path) -> None:
    lines = run("unpack", odd, tmp_path / "out").err.splitlines()
    assert lines[0] == "wclayer: kept although odd: 10 case-collision (--strict refuses such layers)"
    assert len(lines) == 7
    for line in lines[1:6]:
        assert re.fullmatch(r"  case-collision: Files/N(\d): Windows takes this name for that of Files/n\1", line)
    assert lines[6] == "  and 5 more; -v lists more"


def test_verbose_lists_all_and_quiet_none(odd: str, run: Run, tmp_path: Path) -> None:
    assert len(run("unpack", odd, tmp_path / "v", "-v").err.splitlines()) == 11
    ended = run("unpack", odd, tmp_path / "q", "--quiet")
    assert ended.err == ""
    assert ended.out
    document = run("unpack", odd, tmp_path / "j", "--format", "json").document
    assert document["notices"] == {"case-collision": 10}
    assert len(document["layers"][0]["listed"]) == 10
    check(document["layers"][0]["listed"][0], {"code": TEXT, "path": TEXT, "detail": TEXT})


def test_what_is_left_out_of_an_extraction_is_told(image: str, run: Run, tmp_path: Path) -> None:
    assert run("extract", image, "*", "-o", tmp_path / "a").err == (
        "wclayer: left out C:\\j: a link to the folder C:\\d\n"
    )
    assert run("extract", image, "*", "-o", tmp_path / "b", "-q").err == ""


def test_export_to_standard_output_is_the_tar_and_nothing_else(unpacked: Path, run: Run) -> None:
    ended = run("export", unpacked, "--layer", "1", "-o", "-")
    assert ended.code == 0
    assert f"sha256:{hashlib.sha256(ended.data).hexdigest()}" in ended.err
    as_json = run("export", unpacked, "--layer", "1", "-o", "-", "--format", "json")
    assert as_json.data == ended.data
    assert json.loads(as_json.err)["schema"] == "wclayer.export/1"


def test_standard_input_is_a_layer(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = gzip.compress(tar(BASE))
    for arguments, expected in (
        (("ls", "-"), b"a.txt\nd\\\nj\nnothing\ns\\x1b[31m\n"),
        (("cat", "-", "a.txt"), b"twelve bytes"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert run(*arguments).data == expected
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run("extract", "-", "**", "-o", tmp_path / "x").code == 0
    assert (tmp_path / "x" / "a.txt").read_bytes() == b"twelve bytes"


# ------------------------------------------------------------------------------------------------------ pipes, progress


def test_a_reader_that_goes_away_is_no_error(sample: str) -> None:
    command = f"{sys.executable} -m wclayer ls -R {sample} --format jsonl | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""
    # More than a pipe holds, so that the writer notices.
    command = (
        f"for n in 1 2 3 4 5; do {sys.executable} -m wclayer ls -R {sample} --format json"
        " | (read -r line; exec 0<&-; sleep 0.5); echo ${PIPESTATUS[0]}; done"
    )
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == {"0"}
    assert done.stderr == ""


def test_large_output_into_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    image = make_image(tmp_path / "layout", [file("Files/big", b"x" * 3_000_000)])
    command = f"{sys.executable} -m wclayer cat {image} big | head -c 10; echo; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["x" * 10, "0"]
    assert done.stderr == ""


def on_a_terminal(*arguments: str) -> tuple[str, str]:
    """Standard output, and what a terminal on standard error gets."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "wclayer", *arguments], stdout=subprocess.PIPE, stderr=slave, text=True
    ) as process:
        os.close(slave)
        seen = b""
        while True:
            if not select.select([master], [], [], 60)[0]:
                process.kill()
                break
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    return out, seen.decode()


@pytest.mark.parametrize("verb", ["unpack", "import", "verify", "ls"])
def test_a_terminal_sees_progress_that_goes_away(verb: str, sample: str, unpacked: Path, tmp_path: Path) -> None:
    arguments = {
        "unpack": [sample, str(tmp_path / "out")],
        "import": [str(tmp_path / "layer.tar"), str(tmp_path / "layer")],
        "verify": [sample],
        "ls": [sample],
    }[verb]
    (tmp_path / "layer.tar").write_bytes(tar([file("Files/a", b"x" * 5000)]))
    out, err = on_a_terminal(verb, *arguments)
    total = 1 if verb == "import" else 3
    assert f"\r\x1b[K{total}/{total} layers, " in err
    assert "/s" in err
    assert err.endswith("\r\x1b[K")
    assert out
    assert "\x1b" not in out
    if verb == "ls":
        assert on_a_terminal(verb, *arguments, "--quiet")[1] == ""
        assert on_a_terminal(verb, *arguments, "--progress", "none")[1] == ""


def test_elsewhere_progress_is_lines_when_asked_for(sample: str, run: Run) -> None:
    assert run("verify", sample).err == ""
    lines = run("verify", sample, "--progress", "plain").err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["1/3 layers", "2/3 layers", "3/3 layers"]
    assert re.search(r"[\d.]+ KiB of [\d.]+ KiB, .*/s$", lines[-1])
