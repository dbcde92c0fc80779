"""Who wrote this: processes told apart, and which of them have surely ended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagenetfs.system import process_identity
from imagenetfs.system.process_identity import ProcessIdentity, this_process
from tests.helpers.forked import answer, held_child, wait_until


@pytest.fixture
def node_is_asked_anew() -> Iterator[None]:
    process_identity._node.cache_clear()
    yield
    process_identity._node.cache_clear()


def test_the_calling_process_is_alive() -> None:
    one = this_process()
    assert one.pid == os.getpid()
    assert one.started > 0
    assert not one.is_dead
    assert one == this_process()


def test_it_goes_through_json() -> None:
    one = this_process()
    assert ProcessIdentity(**json.loads(json.dumps(one.as_dict()))) == one


def test_a_child_is_another_process_of_the_same_node() -> None:
    child = ProcessIdentity(**answer(lambda: this_process().as_dict()))
    assert child.node == this_process().node
    assert child.pid != os.getpid()
    assert child.is_dead  # it has been reaped


def test_a_process_that_took_the_number_of_a_dead_one_is_not_it() -> None:
    one = this_process()
    assert replace(one, started=one.started - 1).is_dead


def test_a_dead_process_that_nobody_has_reaped_is_dead() -> None:
    with held_child() as pid:
        one = ProcessIdentity("here", this_process().node, pid, process_identity._started(pid))
        assert one.started > 0
        assert not one.is_dead
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: process_identity._started(pid) == -1)
        assert one.is_dead
        assert Path(f"/proc/{pid}").exists()


def test_nothing_is_known_of_a_process_on_another_node() -> None:
    assert not replace(this_process(), node="0123456789ab", started=0).is_dead


def test_what_is_read_in_proc_begins_behind_the_name(tmp_path: Path) -> None:
    fields = " ".join(str(n) for n in range(3, 53))
    stat = f"7 (a) b) S {fields}".encode()
    real = Path.read_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: stat)
        assert process_identity._started(7) == 21  # field 22 of proc(5), which counts from 1
    assert Path.read_bytes is real


@pytest.mark.usefixtures("node_is_asked_anew")
def test_where_the_node_cannot_be_told_nobody_is_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = this_process().node
    process_identity._node.cache_clear()

    def refuse(path: Path, *arguments: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    one = this_process()
    assert one.node == f"unknown-{os.getpid()}"
    assert not replace(one, node=node, started=0).is_dead
    assert not replace(one, node=f"unknown-{os.getpid() + 1}", started=0).is_dead
