"""Which mount a run uses: by what was asked for, by what is there, by what this node can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagenetfs.config import Settings
from imagenetfs.errors import FuseRefusedError, FuseUnavailableError, ImagenetfsError, UsageError
from imagenetfs.job import acquire, namespace, preflight
from imagenetfs.job.compatibility import OccupiedError
from imagenetfs.job.mount_handle import MOUNT_VARIABLE
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.preflight import Health
from imagenetfs.system import mounts, namespaces
from tests.helpers.mount_table import MountTable, settings_with


class Node:
    """A node on which mounts are only asked for; ``tried``: where, in order."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source = tmp_path / "source"
        self.source.mkdir()
        self.root = tmp_path / "run"
        self.table = MountTable(tmp_path, monkeypatch)
        self.tried: list[str] = []
        self.said: list[str] = []
        self.answer: Callable[[str], object] = lambda where: f"mount at {where}"
        self.joined: list[tuple[Path, Path | None]] = []
        self.join: Callable[[], object | None] = lambda: None
        monkeypatch.setattr(namespaces, "may_mount", lambda: False)
        monkeypatch.setattr(mounts, "find_fusermount", lambda: "/bin/fusermount3")
        monkeypatch.setattr(acquire, "join_or_start", self._start)
        monkeypatch.setattr(acquire, "join_mount", self._join)
        monkeypatch.setattr(acquire, "check_joined", lambda handle, settings, say: None)
        monkeypatch.setattr(namespace, "acquire", self._namespace)
        monkeypatch.setattr(preflight, "health", lambda entry: Health.LIVE)

    def _start(self, place: MountPaths, source: Path, settings: Settings, say: object) -> object:
        assert source == self.source
        name = place.mountpoint.name if place.is_below_root else str(place.mountpoint)
        self.tried.append(name)
        return self.answer(name)

    def _namespace(self, source: Path, settings: Settings, at: object, *rest: object) -> object:
        self.tried.append(f"namespace {at}")
        return self.answer("namespace")

    def _join(self, place: MountPaths, source: Path | None, say: object) -> object | None:
        self.joined.append((place.mountpoint, source))
        return self.join()

    def acquire(
        self, at: Path | None = None, environ: dict[str, str] | None = None, **more: Any
    ) -> Any:
        settings = settings_with(**{"source": self.source, "run_dir": self.root, **more})
        return acquire.acquire(settings, at, environ or {}, self.said.append)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def occupied(*names: str) -> Callable[[str], object]:
    def answer(where: str) -> object:
        if where in names:
            raise OccupiedError(f"{where} is taken.")
        return f"mount at {where}"

    return answer


# --- places ---------------------------------------------------------------------------------------


def test_the_default_place(node: Node) -> None:
    assert node.acquire() == "mount at imagenet"
    assert node.acquire(environ={"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2"}) == "mount at 7.2"
    assert (node.root / ".run").is_dir()


def test_the_source_that_is_to_be_looked_at(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnt").mkdir()
    environ = {MOUNT_VARIABLE: str(tmp_path / "mnt")}
    monkeypatch.setattr(acquire, "source_of", lambda entry: "/another")

    def source(at: Path | None = None, **given: Any) -> Path:
        return acquire.source_to_use(settings_with(**given), at, environ)

    assert source(source=node.source) == node.source
    node.table.add(tmp_path / "mnt")
    assert source() == Path("/another")
    assert source(source=node.source) == node.source
    monkeypatch.setattr(preflight, "default_source", lambda: Path("/default"))
    assert source(tmp_path / "elsewhere") == Path("/default")
    monkeypatch.setattr(preflight, "health", lambda entry: Health.DEAD)
    assert source() == Path("/default")


def test_a_given_place(node: Node, tmp_path: Path) -> None:
    assert node.acquire(tmp_path / "x" / ".." / "mnt") == f"mount at {tmp_path}/mnt"


def test_another_mount_at_the_default_place_gives_way_to_another_name(node: Node) -> None:
    node.answer = occupied("imagenet")
    node.acquire()
    assert node.tried[0] == "imagenet"
    assert node.tried[1].startswith("imagenet-")
    assert len(node.tried[1]) == len("imagenet-") + 8
    first = node.tried[1]
    node.tried.clear()
    node.acquire()
    assert node.tried[1] == first, "all runs of one source come to the same name"
    node.tried.clear()
    node.acquire(prefer="directories")
    assert node.tried[1] != first


def test_a_third_name_is_for_another_namespace(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(where: str) -> object:
        raise OccupiedError(f"{where} is taken.")

    node.answer = refuse
    with pytest.raises(OccupiedError) as caught:
        node.acquire()
    assert len(set(node.tried)) == 3
    assert str(caught.value) == f"{node.tried[2]} is taken."
    before = node.tried[:]
    node.tried.clear()
    monkeypatch.setattr(namespaces, "mount_namespace", lambda: "mnt:[1]")
    with pytest.raises(OccupiedError):
        node.acquire()
    assert node.tried[:2] == before[:2]
    assert node.tried[2] != before[2]


def test_at_a_given_place_no_other_is_tried(node: Node, tmp_path: Path) -> None:
    node.answer = occupied(str(tmp_path / "mnt"))
    with pytest.raises(OccupiedError):
        node.acquire(tmp_path / "mnt")
    assert len(node.tried) == 1


def test_other_failures_try_no_other_name(node: Node) -> None:
    def fail(where: str) -> object:
        raise UsageError("no")

    node.answer = fail
    with pytest.raises(UsageError):
        node.acquire()
    assert node.tried == ["imagenet"]


# --- namespaces -----------------------------------------------------------------------------------


def test_a_namespace_that_is_asked_for(node: Node, tmp_path: Path) -> None:
    node.acquire(tmp_path / "m", namespace="always")
    assert node.tried == [f"namespace {tmp_path / 'm'}"]
    assert node.said == []


def test_without_fusermount_there_is_a_namespace(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "find_fusermount", lambda: None)
    node.acquire()
    assert node.tried == ["namespace None"]
    assert node.said == ["there is no fusermount3 here, so the mount gets a namespace of its own."]
    node.tried.clear()
    node.acquire(namespace="never")
    assert node.tried == ["imagenet"]
    monkeypatch.setattr(namespaces, "may_mount", lambda: True)
    node.tried.clear()
    node.acquire()
    assert node.tried == ["imagenet"], "root needs no fusermount3"


def fuse_refuses(where: str) -> object:
    if where == "namespace":
        return "namespace"
    raise FuseRefusedError("fusermount3 refused.")


def test_where_fusermount_refuses_there_is_a_namespace(node: Node) -> None:
    node.answer = fuse_refuses
    assert node.acquire() == "namespace"
    assert node.said == ["fusermount3 refused. So it gets a namespace of its own."]


def test_no_namespace_where_none_is_wanted_or_root_was_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answer = fuse_refuses
    with pytest.raises(FuseRefusedError):
        node.acquire(namespace="never")
    monkeypatch.setattr(namespaces, "may_mount", lambda: True)
    with pytest.raises(FuseRefusedError):
        node.acquire()
    assert node.tried == ["imagenet", "imagenet"]
    assert node.said == []


def test_the_first_refusal_is_raised_where_a_namespace_does_not_work_either(node: Node) -> None:
    def refuse(where: str) -> object:
        if where == "namespace":
            raise FuseUnavailableError("no namespaces.")
        raise FuseRefusedError("fusermount3 refused.")

    node.answer = refuse
    with pytest.raises(FuseRefusedError, match=r"^fusermount3 refused\.$"):
        node.acquire()


# --- a mount that is named ------------------------------------------------------------------------


@pytest.fixture
def named(node: Node, tmp_path: Path) -> dict[str, str]:
    """The environment within a run: it names a live mount."""
    node.table.add(tmp_path / "outer")
    node.join = lambda: SimpleNamespace(name="outer")
    return {MOUNT_VARIABLE: str(tmp_path / "outer")}


def test_the_mount_that_the_environment_names(
    node: Node, named: dict[str, str], tmp_path: Path
) -> None:
    assert node.acquire(environ=named).name == "outer"
    assert node.joined == [(tmp_path / "outer", node.source)]
    assert node.tried == []


def test_a_source_that_was_not_typed_is_not_compared(
    node: Node, named: dict[str, str], tmp_path: Path
) -> None:
    assert node.acquire(environ=named, source=None).name == "outer"
    assert node.joined == [(tmp_path / "outer", None)]


def test_a_given_place_counts_more(node: Node, named: dict[str, str], tmp_path: Path) -> None:
    node.acquire(tmp_path / "m", environ=named)
    assert (node.joined, node.tried) == ([], [str(tmp_path / "m")])


@pytest.mark.parametrize("state", [Health.DEAD, Health.SILENT])
def test_a_named_mount_that_does_not_live(
    node: Node, named: dict[str, str], monkeypatch: pytest.MonkeyPatch, state: Health
) -> None:
    monkeypatch.setattr(preflight, "health", lambda entry: state)
    assert node.acquire(environ=named) == "mount at imagenet"


def test_a_named_mount_that_is_none(node: Node, tmp_path: Path) -> None:
    for name in ("", str(tmp_path), "/proc"):
        assert node.acquire(environ={MOUNT_VARIABLE: name}) == "mount at imagenet"
    assert node.joined == []


def test_a_named_mount_of_another_source(node: Node, named: dict[str, str]) -> None:
    def refuse() -> object:
        raise OccupiedError("another source")

    node.join = refuse
    assert node.acquire(environ=named) == "mount at imagenet"


def test_a_named_mount_that_is_just_gone(node: Node, named: dict[str, str]) -> None:
    node.join = lambda: None
    assert node.acquire(environ=named) == "mount at imagenet"


def test_no_source_at_all(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "DEFAULT_SOURCES", (tmp_path / "none",))
    with pytest.raises(ImagenetfsError, match="No source is named"):
        node.acquire(source=None)
