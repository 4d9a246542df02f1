r"""What a person may do about a Docker daemon's store, so that nothing is deleted that may still be of use.

Whatever nobody needs is moved aside, to a folder beside the home, from where it can be moved back. Whatever is needed
and lost is fetched again: the plan says which digest, from which repository, and into which folder, on top of which
parents, it goes. A chain that is wrong is written again as the database of layers has it. Nothing here is ever done:
a plan is read by somebody, and then done by them, with the daemon stopped.

The commands are PowerShell, with ``$root`` for the data root on the host; ``wclayer.exe`` in them is hcsshim's, which
knows how to make and remove layers on Windows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from wclayer.store.hosts.docker.checks import check, expected_by_record
from wclayer.store.hosts.docker.home import REMOVING
from wclayer.store.hosts.docker.layerdb import LayerRecord
from wclayer.store.hosts.docker.store import DockerStore
from wclayer.store.hosts.files import joined, last_component
from wclayer.store.hosts.records import Finding, Step
from wclayer.store.hosts.steps import Steps

__all__ = ["plan"]

_HOME = "C:\\ProgramData\\docker\\windowsfilter"
_CHAIN_CODES = {"chain-unreadable", "chain-parent-missing", "chain-too-long", "chain-cycle", "chain-differs"}
_LOST_CODES = {"layer-folder-missing", "layer-content-missing"}
_IMAGE_CODES = {"image-unreadable", "image-id-wrong", "image-layer-missing"}


def plan(store: DockerStore) -> list[Step]:
    """The steps for what is wrong with ``store``; none where nothing is."""
    findings = check(store)
    if not findings:
        return []
    planner = _Planner(store, findings)
    planner.run()
    return planner.steps.ordered(service="docker")


class _Planner:
    def __init__(self, store: DockerStore, findings: Iterable[Finding]) -> None:
        self.store = store
        self.by_subject: dict[str, list[Finding]] = {}
        for finding in findings:
            self.by_subject.setdefault(finding.subject, []).append(finding)
        self._lost_layers: dict[str, str] = {}
        self._missed: dict[str, dict[str, None]] = {}
        """Folders that chains name and that are not there, each with the findings that say so."""
        above = store.home.path.rpartition("/")[0] if store.home.path else ".."
        self.steps = Steps(store.data_root or "", aside=joined(above, "windowsfilter-aside"))

    def run(self) -> None:
        for subject, findings in self.by_subject.items():
            codes = tuple(dict.fromkeys(finding.code for finding in findings))
            for code in codes:
                self._answer(subject, code, codes)
        # What others stand on goes first.
        for chain_id, code in sorted(self._lost_layers.items(), key=lambda one: self._depth(one[0])):
            self._lost(self.store.layerdb.layers[chain_id], code)

    def _depth(self, chain_id: str) -> int:
        return len(self.store.layerdb.chain(chain_id) or ())

    def _answer(self, subject: str, code: str, codes: tuple[str, ...]) -> None:
        store, steps = self.store, self.steps
        if code == "half-removed":
            self._half_removed(subject.removesuffix(REMOVING))
        elif code == "orphan":
            steps.aside(joined(store.home.path, subject), "no image, no container and no record needs it", code)
        elif code in ("record-half-removed", "record-half-written"):
            steps.aside(subject, "Docker stopped while it was writing or removing this record", code)
        elif code in _CHAIN_CODES and code == next(one for one in codes if one in _CHAIN_CODES):
            self._chain(subject, tuple(one for one in codes if one in _CHAIN_CODES))
        elif code in _LOST_CODES:
            self._lost_layers[subject] = code
        elif code == "layer-unused":
            self._unused(store.layerdb.layers[subject])
        elif code in ("layer-record-unreadable", "chain-id-wrong", "layer-parent-missing"):
            self._record(store.layerdb.layers[subject], code)
        elif code in ("mount-unreadable", "mount-layer-missing", "mount-parent-missing", "mount-without-container"):
            self._mount(subject, code, codes)
        elif code in _IMAGE_CODES and code == next(one for one in codes if one in _IMAGE_CODES):
            self._image(subject, code)
        elif code == "tag-dangling":
            steps.pull(subject, None, "its image is not there", code)
        elif code == "repositories-unreadable":
            why = "the names of all images are in it; Docker begins a new one, and images are pulled again by name"
            steps.aside(subject, why, code)
        elif code not in _CHAIN_CODES | _IMAGE_CODES:
            steps.look(subject, self.by_subject[subject][codes.index(code)].detail, code)

    def _half_removed(self, name: str, *codes: str) -> None:
        store = self.store
        path = joined(store.home.path, name + REMOVING)
        record = next((one for one in store.layerdb.layers.values() if one.cache_id == name), None)
        mount = next((key for key, one in store.layerdb.mounts.items() if name in (one.mount_id, one.init_id)), None)
        if store.home.named(name) is not None or (record is None and mount is None):
            self.steps.aside(path, "its removal began, and nothing needs it", "half-removed")
            return
        whom = f"the layer {record.chain_id}" if record is not None else f"the container {mount}"
        why = f"{whom} needs it; check it with fsck --content afterwards, for some of it may be gone"
        self.steps.move(path, joined(store.home.path, name), why, "half-removed", *codes)

    def _chain(self, folder: str, codes: tuple[str, ...]) -> None:
        store = self.store
        if folder not in store.home.layers:  # an image with too many layers
            self.steps.look(folder, "an image of so many layers cannot run; build it again with fewer", *codes)
            return
        expected = expected_by_record(store, folder, lost=True)
        if expected is None:
            self.steps.look(joined(store.home.path, folder), "no record says what it stands on", *codes)
            return
        given = store.home.layers[folder].chain
        if given is not None and tuple(map(last_component, given)) == expected:
            # The chain is right; what it names has to come back.
            missed = [name for name in expected if name not in store.home.layers]
            for name in missed:
                self._missed.setdefault(name, {}).update(dict.fromkeys(codes))
            if not missed:
                self.steps.look(joined(store.home.path, folder), "the database of layers has it like this", *codes)
            return
        home = self._home_on_host()
        content = json.dumps([f"{home}\\{name}" for name in expected]) if expected else "null"
        path = joined(store.home.layers[folder].path, "layerchain.json")
        self.steps.write(path, content, "the database of layers knows its parents", *codes)

    def _lost(self, record: LayerRecord, code: str) -> None:
        store = self.store
        codes = (code, *self._missed.get(record.cache_id or "", ()))
        if record.cache_id in store.home.removing and record.chain_id not in store.folders:
            self._half_removed(record.cache_id, *codes)
            return
        chain = store.layerdb.chain(record.chain_id)
        # One that is lost too is brought back first, under the name that the database has for it.
        parents = [store.folders.get(one.chain_id, one.cache_id) for one in chain[1:]] if chain else [None]
        users = ", ".join(store.users(record.chain_id)) or "nothing"
        if record.cache_id is None or None in parents:
            self.steps.look(record.path, f"{users} stands on it, and what it stands on itself is not known", *codes)
            return
        sources = store.imagedb.sources(record.diff_id) if record.diff_id else []
        digest = str(record.descriptor.digest) if record.descriptor else sources[0].digest if sources else None
        place = sources[0].repository if sources else self._an_image(record.chain_id)
        why = f"the layer with the DiffID {record.diff_id} is lost, and {users} stands on it"
        urls = f" (it may be at {record.descriptor.urls[0]})" if record.descriptor and record.descriptor.urls else ""
        if place is None:
            self.steps.look(record.path, f"{why}, and no repository is known to have it{urls}", *codes)
            return
        self.steps.pull(place, digest, why + urls, *codes, run=False)
        if code == "layer-content-missing":
            self.steps.aside(
                joined(store.home.path, store.folders[record.chain_id]), "it makes room for the layer", code
            )
        below = "".join(f" -l {self.steps.path(joined(store.home.path, name))}" for name in parents if name)
        target = joined(store.home.path, store.folders.get(record.chain_id, record.cache_id))
        self.steps.add(
            Step(
                "import-layer",
                target,
                f"the blob of the layer goes here, on top of {len(parents)} parents",
                digest or record.diff_id,
                commands=(f"wclayer.exe import -i layer.tar.gz{below} {self.steps.path(target)}",),
                findings=codes,
            )
        )

    def _an_image(self, chain_id: str) -> str | None:
        names = [one.removeprefix("image ") for one in self.store.users(chain_id) if one.startswith("image ")]
        return next((name for name in names if not name.startswith("sha256:")), None)

    def _unused(self, record: LayerRecord) -> None:
        why = "no image and no container stands on it"
        self.steps.aside(record.path, why, "layer-unused")
        folder = self.store.folders.get(record.chain_id)
        if folder is not None:
            self.steps.aside(self.store.home.layers[folder].path, why, "layer-unused")

    def _record(self, record: LayerRecord, code: str) -> None:
        self.steps.aside(record.path, "Docker cannot use this record, and makes a new one when it pulls", code)
        for user in self.store.users(record.chain_id):
            if user.startswith("image ") and not user.startswith("image sha256:"):
                self.steps.pull(user.removeprefix("image "), None, "it stands on a layer with a broken record", code)

    def _mount(self, name: str, code: str, codes: tuple[str, ...]) -> None:
        store = self.store
        path = store.layerdb.mounts[name].path
        if code == "mount-layer-missing" and store.layerdb.mounts[name].mount_id in store.home.removing:
            return  # it is moved back
        if code == "mount-parent-missing" and len(codes) == 1:
            self.steps.look(path, "the container can only start when its image is there again: pull that first", code)
            return
        why = "there is no such container" if code == "mount-without-container" else "the container cannot start"
        self.steps.aside(path, why, code)
        for folder in [one for one, mount in store.mounted.items() if mount == name]:
            self.steps.aside(store.home.layers[folder].path, f"{why}; its files may be wanted", code)

    def _image(self, image_id: str, code: str) -> None:
        record = self.store.imagedb.images[image_id]
        self.steps.aside(record.path, "Docker takes an image that it has a configuration of for complete", code)
        names = sorted(record.names, key=lambda name: ("@" not in name, name))
        if names:
            self.steps.pull(names[0], None, "its configuration or a layer is lost", code)
        else:
            self.steps.look(image_id, "the image has no name, so it must be built or loaded again", code)

    def _home_on_host(self) -> str:
        """Where the home is on the host, as most chains say."""
        seen: Counter[str] = Counter()
        for layer in self.store.home.layers.values():
            for element in layer.chain or ():
                folder, separator, _ = element.rstrip("\\/").rpartition("\\")
                if separator:
                    seen[folder] += 1
        return seen.most_common(1)[0][0] if seen else _HOME
