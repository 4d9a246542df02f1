"""``python -m bench.pull``: images out of a local registry, against ``skopeo copy``, side by side in one run.

Three images of sizes that Windows images have: one with a layer of a gigabyte, one of a dozen middling layers, and one
on a Nano Server. A fourth, smaller than any Windows image, shows what starting Python costs; it has no target. Both
programs verify what they fetch; what the first round left is looked at as well, blob by blob. The exit code is 1 with
``--check`` when a ratio is above 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.ground import file_system_name, new_file_system, scratch_folder
from bench.measure import Candidate, run_rounds
from bench.peers import version_of, wclayer
from bench.report import update_page
from bench.results import Result, Target, memory_target, ratio, row
from bench.tools import OUT
from tests.registries.docker_registry import start_registry
from wclayer.oci.descriptors import Platform
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.layout_writer import LayoutWriter
from wclayer.oci.mediatypes import OCI_CONFIG

__all__ = ["main"]

_WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.2700")
_BLOCK = 1 << 20
_ON_TOP = (20_000_000, 2_000_000, 300_000)


@dataclass(frozen=True)
class Sample:
    """An image of the registry: its name, what it is for people, and the sizes of its layers in bytes."""

    name: str
    title: str
    layers: tuple[int, ...]
    has_target: bool = True

    @property
    def size(self) -> int:
        """The bytes of all layers."""
        return sum(self.layers)


def _samples(shrink: int) -> list[Sample]:
    def sizes(*layers: int) -> tuple[int, ...]:
        return tuple(max(size // shrink, 10_000) for size in layers)

    return [
        Sample("large", "one layer of 1 GB and two small ones", sizes(1_000_000_000, 2_000_000, 300_000)),
        Sample("middling", "twelve layers of 25 MB", sizes(*[25_000_000] * 12)),
        Sample("nano", "a layer of 120 MB, as Nano Server has, and three small ones", sizes(120_000_000, *_ON_TOP)),
        Sample("tiny", "five layers of 1 MB", sizes(*[1_000_000] * 5), has_target=False),
    ]


def _build(sample: Sample, folder: Path) -> None:
    """The image as an OCI layout in ``folder``: layers of noise, which no gzip makes smaller."""
    layout = LayoutWriter(folder)
    noise = random.Random(sample.name)
    layers, diff_ids = [], []
    for size in sample.layers:
        with layout.new_layer("gzip", 0) as sink:
            sink.write(_tar_header("Files/noise", size))
            for start in range(0, size, _BLOCK):
                sink.write(noise.randbytes(min(_BLOCK, size - start)))
            sink.write(bytes(-size % 512 + 1024))
        layers.append(sink.descriptor)
        diff_ids.append(sink.diff_id)
    config = layout.put_bytes(encode_config(_WINDOWS, diff_ids), OCI_CONFIG)
    layout.put_manifest(encode_manifest(config, layers), name="bench")


def _tar_header(name: str, size: int) -> bytes:
    import tarfile

    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def _check_blobs(sample: Sample) -> Callable[[Path], None]:
    """A check that every blob of the image is there, under its own digest."""

    def check(place: Path) -> None:
        seen = 0
        for path in place.rglob("blobs/sha256/*"):
            state = hashlib.sha256()
            with path.open("rb") as file:
                while piece := file.read(_BLOCK):
                    state.update(piece)
            if state.hexdigest() != path.name:
                raise RuntimeError(f"{path.name} is the name of other content")
            seen += path.stat().st_size
        if seen < sample.size:
            raise RuntimeError(f"{seen} bytes are there of {sample.size}")

    return check


def _candidates(host: str, sample: Sample) -> list[Candidate]:
    image = f"docker://{host}/{sample.name}:bench"
    ours = version_of(*wclayer(), "--version")
    found = [
        Candidate(
            "wclayer pull",
            "every digest",
            lambda to: [[*wclayer(), "pull", image, "--plain-http", "--anonymous", "--store", str(to / "store"), "-q"]],
            ours,
        ),
        Candidate(
            "wclayer copy",
            "every digest",
            lambda to: [[*wclayer(), "copy", "--src-plain-http", "-q", image, f"oci:{to / 'out'}:bench"]],
            ours,
        ),
    ]
    version = version_of("skopeo", "--version")
    if version:
        command = ["skopeo", "copy", "-q", "--src-tls-verify=false", "--insecure-policy", image]
        found.append(
            Candidate("skopeo copy", "every digest", lambda to: [[*command, f"oci:{to / 'out'}:bench"]], version)
        )
    return found


def _suite(sample: Sample, host: str, scratch: Path, rounds: int) -> Result:
    candidates = _candidates(host, sample)
    ground: Callable[[], AbstractContextManager[Path]] = lambda: new_file_system(scratch, sample.size, 1000)  # noqa: E731
    run_rounds(candidates, rounds, ground, _check_blobs(sample))
    peers = [candidate for candidate in candidates if candidate.name == "skopeo copy"]
    ours = [candidate for candidate in candidates if candidate not in peers]
    limit = 1.0 if sample.has_target else None
    targets = [memory_target(ours)]
    targets += [
        Target(f"{one.name} by {peer.name}, wall time", ratio(one, peer), limit=limit, at_least=False)
        for one in ours
        for peer in peers
    ]
    title = sample.title[:1].upper() + sample.title[1:]
    described = f"{title}: noise, {sample.size / 1e6:,.0f} MB, from a registry on this machine."
    corpus = {"layers": list(sample.layers), "bytes": sample.size, "described": described}
    rows = [row(candidate, candidates[0]) for candidate in candidates]
    missing = [] if peers else ["skopeo copy"]
    title = f"Pull: {sample.title}"
    return Result(f"pull-{sample.name}", title, rounds, file_system_name(), corpus, rows, targets, missing)


def _table(result: Result) -> str:
    lines = ["| program | median s | times skopeo | processor s | peak MiB |", "|---|--:|--:|--:|--:|"]
    base = next((row["median"] for row in result.rows if row["name"] == "skopeo copy"), float("nan"))
    for one in result.rows:
        figures = f"{one['median']:.2f} | {one['median'] / base:.2f} | {one['cpu']:.2f} | {one['memory'] / _BLOCK:.0f}"
        lines.append(f"| {one['name']} ({one['version']}) | {figures} |")
    for target in result.targets:
        reached = {True: "reached", False: "NOT reached", None: "no target"}[target.reached]
        lines += ["", f"{target.what}: {target.value:.2f} {target.unit}, {reached}"]
    return "\n".join(lines)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pull", description=__doc__)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="of large, middling, nano, tiny; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="after the warm-up; default: 5")
    parser.add_argument("--shrink", type=int, default=1, metavar="N", help="divide the size of every layer by N")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target was not reached")
    options = parser.parse_args()
    out = OUT if options.shrink == 1 else OUT / "trial"
    out.mkdir(parents=True, exist_ok=True)
    missed = []
    spent: dict[str, float] = {}
    with scratch_folder() as scratch, start_registry(scratch / "registry") as registry:
        for sample in _samples(options.shrink):
            if options.images and sample.name not in options.images:
                continue
            layout = scratch / sample.name
            _build(sample, layout)
            to = f"docker://{registry.host}/{sample.name}:bench"
            subprocess.run([*wclayer(), "copy", "-q", "--dest-plain-http", f"oci:{layout}:bench", to], check=True)
            result = _suite(sample, registry.host, scratch, options.rounds)
            document = result.to_json()
            (out / f"{result.suite}.json").write_text(json.dumps(document, indent=1) + "\n")
            print(f"\n## {result.title}\n\n{_table(result)}", flush=True)
            for one in result.rows:
                spent[one["name"]] = spent.get(one["name"], 0.0) + one["median"]
            missed += [f"{sample.name}: {target.what}" for target in result.targets if target.reached is False]
    for name, seconds in spent.items():
        times = seconds / spent.get("skopeo copy", seconds)
        print(f"\nall images together, {name}: {seconds:.2f} s, {times:.2f} × skopeo")
    if out == OUT:
        update_page(OUT)
    if missed:
        print(f"\nnot reached: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
