"""``python -m bench.transport``: the detours that hcsshim takes, against ``wclayer import`` of the same layer.

A diff layer and a base layer are imported from a tar and exported to one as hcsshim does it, and converted to and from
transport folders. Every candidate gets the same entries and the same bytes; those that read a folder find it made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.content import synthetic, windows_wheels
from bench.corpus import WHEELS, items
from bench.ground import file_system_name, new_file_system, scratch_folder
from bench.measure import Candidate, run_rounds
from bench.peers import wclayer
from bench.tree import Shape
from wclayer.formats.tar import TarLayerWriter
from wclayer.model import AlternateStream, Entry, LayerItem, Stream, Tombstone

__all__ = ["main"]

_PIECE = 1 << 20


def main() -> int:
    """Build the layers, run the rounds, print medians, ratios and peak memory."""
    parser = argparse.ArgumentParser(prog="python -m bench.transport", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=200_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="after the warm-up; default: 3")
    parser.add_argument("--content", choices=("wheels", "synthetic"), default="synthetic")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "FROM", "TO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        _STEPS[options.step[0]](Path(options.step[1]), Path(options.step[2]))
        return 0
    with scratch_folder() as scratch:
        made = ["--files", str(options.files), "--bytes", str(options.bytes), "--content", options.content]
        # In processes of their own, so that what they hold is not here while the rounds run.
        for name in ("diff", "base", "parent"):
            subprocess.run(_step(f"make-{name}", scratch, scratch / f"{name}.tar", *made), check=True)
        subprocess.run(_step("import-base", scratch / "parent.tar", scratch / "parent"), check=True)
        candidates = _candidates(scratch)
        run_rounds(candidates, options.rounds, lambda: new_file_system(scratch, options.bytes, options.files * 2))
    print(f"\n{options.files} files, {options.bytes} bytes, {options.content}; {file_system_name()}")
    print(f"{'':44} {'wall s':>8} {'ratio':>6} {'cpu s':>8} {'ratio':>6} {'peak MiB':>9}")
    base = candidates[0]
    for one in candidates:
        wall, cpu = one.seconds / base.seconds, one.cpu / base.cpu
        print(f"{one.name:44} {one.seconds:8.2f} {wall:6.2f} {one.cpu:8.2f} {cpu:6.2f} {one.memory >> 20:9}")
    return 0


def _candidates(scratch: Path) -> list[Candidate]:
    diff, base = scratch / "diff.tar", scratch / "base.tar"
    layer, base_layer, folder = scratch / "diff", scratch / "base", scratch / "folder"
    subprocess.run(_step("import-diff", diff, layer), check=True)
    subprocess.run(_step("import-base", base, base_layer), check=True)
    subprocess.run([*wclayer(), "convert", str(diff), f"transport:{folder}"], check=True, capture_output=True)

    def convert(source: str, target: str) -> Callable[[Path], list[list[str]]]:
        return lambda to: [[*wclayer(), "convert", source, target.format(to)]]

    def step(name: str, source: Path) -> Callable[[Path], list[list[str]]]:
        return lambda to: [_step(name, source, to / "out")]

    return [
        Candidate("wclayer import", "", lambda to: [[*wclayer(), "import", str(diff), str(to / "out")]]),
        Candidate("hcsshim import of a diff layer", "", step("import-diff", diff)),
        Candidate("hcsshim import of a base layer", "", step("import-base", base)),
        Candidate("hcsshim export of a diff layer", "", step("export-diff", layer)),
        Candidate("hcsshim export of a base layer", "", step("export-base", base_layer)),
        Candidate("convert tar to transport folder", "", convert(str(diff), "transport:{}/out")),
        Candidate("convert tar to base folder", "", convert(str(base), "base:{}/out")),
        Candidate("convert transport folder to tar", "", convert(f"transport:{folder}", "{}/out.tar")),
        Candidate("convert base folder to tar", "", convert(f"base:{base_layer}", "{}/out.tar")),
    ]


def _step(name: str, source: Path, target: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "bench.transport", *more, "--step", name, str(source), str(target)]


def _make(which: str) -> Callable[[Path, Path], None]:
    def make(_scratch: Path, target: Path) -> None:
        options = _options()
        content = windows_wheels(WHEELS) if options.content == "wheels" else None
        shape = Shape(100, 100_000) if which == "parent" else Shape(options.files, options.bytes)
        with target.open("wb") as file, TarLayerWriter(file.write) as tar:
            for item in _fitting(items(shape, content or synthetic(1)), is_diff=which == "diff"):
                tar.write(item)

    return make


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--content")
    return parser.parse_known_args()[0]


def _fitting(found: Iterator[LayerItem], *, is_diff: bool) -> Iterator[LayerItem]:
    """What such a layer can hold: the utility VM and base hives only a base layer, deletions only a diff layer."""
    left_out = ""
    for item in found:
        top = item.path.partition("/")[0]
        if isinstance(item, AlternateStream) and item.path == left_out:
            continue
        if isinstance(item, Tombstone) if not is_diff else top in {"UtilityVM", "Hives"}:
            left_out = item.path
            continue
        yield item
        if is_diff and item.path == "Files" and isinstance(item, Entry):
            yield from _hives(item)


def _hives(like: Entry) -> Iterator[LayerItem]:
    """The hives, from one of which the exporter takes the times of folders."""
    yield Entry("Hives", like.metadata, is_directory=True)
    yield Entry("Hives/System_Delta", like.metadata, data=Stream.from_bytes(b"regf" + bytes(4092)))


def _slabs(source: Path) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        while slab := file.read(_PIECE):
            yield slab


def _import_diff(source: Path, target: Path) -> None:
    from wclayer.image.transport_import import import_layer_from_tar

    import_layer_from_tar(_slabs(source), target, [source.parent / "parent"])


def _import_base(source: Path, target: Path) -> None:
    from wclayer.image.transport_import import import_layer_from_tar

    import_layer_from_tar(_slabs(source), target)


def _export(source: Path, target: Path, *, is_base: bool) -> None:
    from wclayer.image.transport_export import export_layer_to_tar

    with target.open("wb") as file:
        export_layer_to_tar(source, file.write, is_base=is_base, scratch=target.parent)


_STEPS: dict[str, Callable[[Path, Path], None]] = {
    "make-diff": _make("diff"),
    "make-base": _make("base"),
    "make-parent": _make("parent"),
    "import-diff": _import_diff,
    "import-base": _import_base,
    "export-diff": lambda source, target: _export(source, target, is_base=False),
    "export-base": lambda source, target: _export(source, target, is_base=True),
}


if __name__ == "__main__":
    sys.exit(main())
