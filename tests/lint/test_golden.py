"""Golden files hold what they are for; that they are of today: test_reference_pages.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lint import golden


def test_texts_of_the_log_are_found_with_their_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text(
        "_log.info('one %s', 1)\n_log.log(LEVEL, 'two')\n_log.warning('x' if y else 'z')\nlog(1)\n"
    )
    assert golden.log_texts().splitlines() == [
        "a.py\tinfo\tone %s",
        "a.py\tlog\ttwo",
        "a.py\twarning\t'x' if y else 'z'",
    ]


def test_keys_are_found_at_each_depth() -> None:
    found = list(golden._keys("", {"a": {"b": 1, "c": [{"d": "x"}, {"d": 1.5}], "e": []}, "f": 0}))
    assert found == ["a.b\tint", "a.c[].d\tstr", "a.c[].d\tfloat", "a.e\tlist", "f\tint"]


def test_all_of_a_mount_that_works_has_a_value() -> None:
    keys = dict(line.split("\t") for line in golden.status_keys().splitlines())
    assert keys["now.images"] == "float"
    assert keys["progress[].what"] == keys["failures[].problem"] == keys["cache.directory"] == "str"
    assert "versions.VERSION.SPLIT.classes" in keys
