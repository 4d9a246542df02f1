#!/usr/bin/env bash
# Makes a sample image, unpacks it, looks at it, and writes each layer back: every digest must be the one the image names.
set -euo pipefail

# A name that the middle layer gives to Files/License.txt of the base layer.
linked='Files/Sample/Links/of the base.txt'

work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT # layer folders are read-only
cd "$work"

say() {
    printf '\n$'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

say wclayer sample -o oci:image:demo
say wclayer unpack oci:image:demo out
say ls -l out
say wclayer ls -l oci:image:demo Files/Sample/Links

printf '\n# "%s" is a hard link to a file of the layer below:\n' "$linked"
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
tag = "org.opencontainers.image.ref.name"
manifest = next(entry for entry in index["manifests"] if entry["annotations"][tag] == "demo")
config = blob(blob(manifest)["config"])
exports = dict(line.split(maxsplit=1) for line in pathlib.Path("exports").read_text().splitlines())
differs = False
for number, diff_id in enumerate(config["rootfs"]["diff_ids"]):
    folder = exports.pop(diff_id.removeprefix("sha256:"), None)
    differs |= folder is None
    print(f"layer {number}  {diff_id}  {f'identical  {folder}' if folder else 'DIFFERS'}")
sys.exit(differs)
PYTHON
