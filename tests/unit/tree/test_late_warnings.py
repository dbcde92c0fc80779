"""What is noticed later: once, in order, from any process, and no more than there is room for."""

from __future__ import annotations

import os

import pytest

from imagenetfs.tree.late_warnings import LateWarnings


@pytest.mark.expects_log("a", "ab", "b", r"ü\?")
def test_each_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    late_warnings = LateWarnings()
    for sentence in ("a.", "b\nc.", "a.", "ab.", "b\nc.", "ü\udcff."):
        late_warnings.tell(sentence)
    assert late_warnings.all() == ["a.", "b c.", "ab.", "ü\\udcff."]
    assert len(caplog.records) == 4


@pytest.mark.slow
@pytest.mark.expects_log("is missing", "was here")
def test_processes_share_them() -> None:
    late_warnings = LateWarnings()
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            for n in range(50):
                late_warnings.tell(f"{n % 40} is missing.")
                late_warnings.tell(f"{number} was here.")
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    expected = [f"{n} is missing." for n in range(40)] + [f"{n} was here." for n in range(4)]
    assert sorted(late_warnings.all()) == sorted(expected)


@pytest.mark.expects_log(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
)
def test_what_has_no_room_is_left_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    late_warnings = LateWarnings()
    for number in range(100):
        late_warnings.tell(f"{number:05d}" + "x" * 995)
    assert len(late_warnings.all()) == 65
    assert len(caplog.records) == 100


@pytest.mark.expects_log("a", "b", "train lacks", "val lacks")
def test_a_later_sentence_about_the_same_takes_the_place_of_the_earlier() -> None:
    late_warnings = LateWarnings()
    late_warnings.tell("a.")
    late_warnings.tell("train lacks 1.", "train")
    late_warnings.tell("val lacks 2.", "val")
    late_warnings.tell("b.")
    late_warnings.tell("train lacks 300.", "train")
    assert late_warnings.all() == ["a.", "val lacks 2.", "b.", "train lacks 300."]
    late_warnings.tell("train lacks 300.", "train")
    assert late_warnings.all() == ["a.", "val lacks 2.", "b.", "train lacks 300."]
