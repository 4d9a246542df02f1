#!/usr/bin/env bash
# Makes a sample image, unpacks it, looks at it, and writes each layer back: every digest must be the one the image names.
set -euo pipefail

# A name that the middle layer gives to C:\License.txt of the base layer.
linked='C:\Sample\Links\of the base.txt'

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
say wclayer inspect oci:image:demo
say wclayer unpack oci:image:demo out
say wclayer ls -l out
say wclayer ls -l out 'C:\Sample\Links'

printf '\n# "%s" is a hard link to a file of the layer below:\n' "$linked"
say wclayer stat out "$linked"
say wclayer cat out "$linked"

printf '\n# What the top layer changes and deletes:\n'
say wclayer ls -lR out 'C:\Sample' --layer -1

say wclayer verify out

printf '\n# Each layer, written back as a tar, against the DiffID that the configuration of the image names for it:\n'
cmp out/config.json "image/blobs/sha256/$(sha256sum out/config.json | cut -d ' ' -f 1)"
diff_ids=$(python3 -c 'import json; print(*json.load(open("out/config.json"))["rootfs"]["diff_ids"])')
number=0
different=0
for diff_id in $diff_ids; do
    wclayer export out --layer "$number" --as original -o layer.tar > /dev/null
    digest="sha256:$(sha256sum layer.tar | cut -d ' ' -f 1)"
    if [ "$digest" = "$diff_id" ] && [ -s layer.tar ]; then
        printf 'layer %d  %s  identical\n' "$number" "$diff_id"
    else
        printf 'layer %d  %s  DIFFERS: the tar has %s\n' "$number" "$diff_id" "$digest"
        different=1
    fi
    rm layer.tar
    number=$((number + 1))
done
if [ "$number" = 0 ] || [ "$different" = 1 ]; then
    exit 1
fi
printf '\nall %d DiffIDs are identical\n' "$number"
