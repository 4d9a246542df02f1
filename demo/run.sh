#!/usr/bin/env bash
# Makes a sample image, unpacks it, looks at it, and writes each layer back: every digest must be the one the image names.
set -euo pipefail

# A name that the upper layer adds to a file of the layer below it.
linked=Files/App/linked.txt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

say() { printf '\n$ %s\n' "$*"; "$@"; }

say wclayer sample -o oci:image:demo
say wclayer unpack oci:image:demo out
say ls -l out

printf '\n# %s is a hard link to a file of the layer below:\n' "$linked"
say wclayer stat oci:image:demo "$linked"
say wclayer cat oci:image:demo "$linked"

printf '\n# Each layer folder, written back as a tar, against the DiffIDs of the image:\n'
find out -name layer.db -printf '%h\n' | sort > folders
while read -r folder; do
    wclayer export "$folder" -o layer.tar
    printf '%s %s\n' "$(sha256sum layer.tar | cut -d ' ' -f 1)" "$folder"
    rm layer.tar
done < folders > exports

python3 - <<'PYTHON'
import json
import pathlib
import sys


def blob(descriptor):
    algorithm, digest = descriptor["digest"].split(":")
    return json.loads(pathlib.Path("image/blobs", algorithm, digest).read_bytes())


index = json.loads(pathlib.Path("image/index.json").read_bytes())
config = blob(blob(index["manifests"][0])["config"])
exports = dict(line.split(maxsplit=1) for line in pathlib.Path("exports").read_text().splitlines())
differs = False
for number, diff_id in enumerate(config["rootfs"]["diff_ids"]):
    folder = exports.pop(diff_id.removeprefix("sha256:"), None)
    differs |= folder is None
    print(f"layer {number}  {diff_id}  {f'identical  {folder}' if folder else 'DIFFERS'}")
sys.exit(differs)
PYTHON
