"""What a person may do about a containerd's store, so that nothing is deleted that may still be of use.

Files that nobody needs are moved aside while containerd is stopped. Records are containerd's own: no step edits a
database, but says what to ask containerd for, and in which order, since a snapshot that others stand on cannot go.
"""

from __future__ import annotations

from wclayer.store.hosts.containerd.checks import check, subject_of
from wclayer.store.hosts.containerd.snapshots import SnapshotRecord, Snapshotter
from wclayer.store.hosts.containerd.store import ContainerdStore
from wclayer.store.hosts.files import joined
from wclayer.store.hosts.records import Finding, Step
from wclayer.store.hosts.steps import Steps, argument, quoted

__all__ = ["plan"]

_ASIDE = {
    "half-removed": "its removal began, and the record is gone",
    "half-made": "containerd stopped while it was made, and makes another",
    "orphan": "no record is left of it",
    "ingest-left": "a download that did not end; the next one begins anew",
}
_LOST = {
    "snapshot-folder-missing",
    "snapshot-parent-missing",
    "snapshot-unreadable",
    "layer-content-missing",
    "chain-cycle",
    "chain-differs",
}


def plan(store: ContainerdStore) -> list[Step]:
    """The steps for what is wrong with ``store``; none where nothing is."""
    steps = Steps(store.path, aside=joined(store.path, "wclayer-aside"))
    planner = _Planner(store, steps)
    for finding in check(store):
        planner.answer(finding)
    return steps.ordered(service="containerd")


class _Planner:
    def __init__(self, store: ContainerdStore, steps: Steps) -> None:
        self.store = store
        self.steps = steps
        self.subjects: dict[str, tuple[Snapshotter, SnapshotRecord]] = {
            subject_of(snapshotter, record): (snapshotter, record)
            for snapshotter in store.snapshotters
            for record in snapshotter.records.values()
        }

    def answer(self, finding: Finding) -> None:
        code, subject = finding.code, finding.subject
        if code in _ASIDE:
            self.steps.aside(subject, _ASIDE[code], code)
        elif code in _LOST and subject in self.subjects:
            self._lost(*self.subjects[subject], finding)
        elif code == "snapshot-lost":
            self._lost_reference(finding)
        elif code == "snapshot-unused":
            self._drop(*self.subjects[subject], finding.detail, code)
        elif code == "container-snapshot-missing":
            self._drop_container(finding)
        elif code in ("image-target-missing", "image-unreadable", "image-layer-missing"):
            self._pull(finding.namespace, subject, finding.detail, code)
        elif code in ("blob-missing", "blob-size-wrong"):
            self._blob(finding)
        elif code == "blob-unknown":
            self.steps.aside(self.store.content.blob_path(subject), "no record is left of it", code)
        elif code in ("blob-unused", "snapshot-unknown"):
            self.steps.look(subject, "containerd removes it at its next garbage collection", code)
        else:
            self.steps.look(subject, finding.detail, code)

    def _lost(self, snapshotter: Snapshotter, record: SnapshotRecord, finding: Finding) -> None:
        """Everything that stands on a lost snapshot has to go before it, and is unpacked again from its image."""
        holders: list[tuple[str, str]] = []
        for above in self._above(snapshotter, record):
            why = finding.detail if above is record else f"it stands on {record.name}, which is lost"
            self._drop(snapshotter, above, why, finding.code)
            known = self.store.references.get((snapshotter.name, above.name))
            if known is not None:
                holders += [(known[0].name, one) for one in self.store.holders_of(snapshotter.name, above)]
        for namespace, holder in dict.fromkeys(holders):
            if holder.startswith("image "):
                self._pull(namespace, holder.removeprefix("image "), "a snapshot of it is lost", finding.code)

    def _above(self, snapshotter: Snapshotter, record: SnapshotRecord) -> list[SnapshotRecord]:
        """``record`` and all that stands on it, the uppermost first."""
        found = [record]
        names = {record.name}
        grows = True
        while grows:
            more = [one for one in snapshotter.records.values() if one.parent in names and one.name not in names]
            names |= {one.name for one in more}
            found = more + found
            grows = bool(more)
        return found

    def _lost_reference(self, finding: Finding) -> None:
        snapshotter, _, key = finding.subject.partition(" ")
        namespace = finding.namespace
        self._drop_key(namespace, snapshotter, key, finding.detail, finding.code)
        for holder in self.store.holders[namespace].get(("snapshot", snapshotter, key), ()):
            if holder.startswith("image "):
                self._pull(namespace, holder.removeprefix("image "), "a snapshot of it is lost", finding.code)

    def _drop(self, snapshotter: Snapshotter, record: SnapshotRecord, why: str, code: str) -> None:
        known = self.store.references.get((snapshotter.name, record.name))
        if known is None:
            self.steps.look(subject_of(snapshotter, record), why, code)
            return
        self._drop_key(known[0].name, snapshotter.name, known[1].key, why, code)

    def _drop_key(self, namespace: str, snapshotter: str, key: str, why: str, code: str) -> None:
        command = f"ctr -n {quoted(namespace)} snapshots --snapshotter {quoted(snapshotter)} rm {argument(key)}"
        self.steps.add(Step("drop-record", f"{snapshotter} {key}", why, commands=(command,), findings=(code,)))

    def _drop_container(self, finding: Finding) -> None:
        namespace = finding.namespace
        command = f"ctr -n {quoted(namespace)} containers rm {argument(finding.subject)}"
        self.steps.add(
            Step("drop-record", finding.subject, finding.detail, commands=(command,), findings=(finding.code,))
        )

    def _pull(self, namespace: str, name: str, why: str, code: str) -> None:
        command = f"ctr -n {quoted(namespace)} images pull {argument(name)}"
        self.steps.add(Step("pull", name, why, commands=(command,), findings=(code,)))

    def _blob(self, finding: Finding) -> None:
        namespace = finding.namespace
        digest = finding.subject
        if finding.code == "blob-size-wrong":
            self.steps.aside(self.store.content.blob_path(digest), finding.detail, finding.code)
        holders = self.store.holders[namespace].get(("blob", "", digest), [])
        images = [one.removeprefix("image ") for one in holders if one.startswith("image ")]
        if not images:
            self.steps.look(digest, f"{finding.detail}, and no image needs it", finding.code)
        for name in images[:1]:
            command = f"ctr -n {quoted(namespace)} content fetch {argument(name)}"
            why = f"the blob is lost, and {len(images)} images have it"
            self.steps.add(Step("pull", name, why, digest, commands=(command,), findings=(finding.code,)))
