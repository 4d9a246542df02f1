"""Whatever is in the files of a store, it is looked at to the end: damage becomes findings, never a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.hosts.containerd_host import ContainerdHost
from tests.store.hosts.docker_host import DockerHost
from wclayer.store.hosts import open_host_stores

JUNK = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"null", b"[]", b"{}", b"[null]", b'{"Repositories":[]}', b"sha256:" + b"a" * 64]),
    st.text(alphabet='{}[]":,\\/ \n0aN.\u00e9', max_size=60).map(str.encode),
)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    host = DockerHost(tmp_path_factory.mktemp("docker"))
    base = host.layer("base", {"b": b"b"}, source="registry.test/base")
    top = host.layer("top", {"t": b"t"}, base, source="registry.test/app")
    host.container("web", top, host.make_image(top, "registry.test/app:1"))
    (host.home / ("9" * 64 + "-removing")).mkdir()
    (host.path(base) / "layerId").write_text(base.folder)
    (host.record(base) / "descriptor.json").write_text("{}")
    return state(host.root)


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    host = ContainerdHost(tmp_path_factory.mktemp("containerd"))
    keys = host.image("registry.test/app:1", [b"base", b"top"])
    host.snapshot("web", keys[-1], "active")
    host.container("web", "registry.test/app:1", "web")
    host.write()
    return state(host.root)


def state(root: Path) -> dict[Path, bytes]:
    """The root, and the files below it with what is in them."""
    return {root: b"", **{path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}}


@contextmanager
def damaged(files: dict[Path, bytes], data: st.DataObject) -> Iterator[Path]:
    """One of the files, to be damaged within the block."""
    paths = list(files)[1:]
    path = data.draw(st.sampled_from(paths))
    try:
        yield path
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(files[path])


def look(files: dict[Path, bytes]) -> list[str]:
    """Ask everything of the store, and return the codes of its findings, all of which the plan answers."""
    with open_host_stores(next(iter(files))) as (store,):
        store.layers(), store.images(), store.events(), store.usage()
        findings = store.findings(content=True)
        answered = {code for step in store.steps() for code in step.findings}
        assert {one.code for one in store.findings()} == answered
    return [one.code for one in findings]


@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_junk_in_any_file_of_docker(docker: dict[Path, bytes], data: st.DataObject) -> None:
    with damaged(docker, data) as path:
        path.write_bytes(data.draw(JUNK))
        look(docker)
        path.unlink()
        look(docker)
        path.mkdir()
        look(docker)
    assert look(docker) == ["half-removed"]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_junk_in_any_file_of_containerd(containerd: dict[Path, bytes], data: st.DataObject) -> None:
    with damaged(containerd, data) as path:
        path.write_bytes(data.draw(JUNK))
        look(containerd)
        changed = bytearray(containerd[path])
        for _ in range(data.draw(st.integers(1, 8))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(changed)
        look(containerd)
        path.unlink()
        look(containerd)
    assert look(containerd) == []
