"""Settings by name, as the options of the command have them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from imagenetfs.errors import UsageError
from imagenetfs.library.settings import OpenSettings, option_texts, resolve_spec

KNOWN = {"in_flight", "view", "stage", "cache_size"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"in_flight": 4}, {"in_flight": 4}),
        ({"in_flight": None}, {}),
        ({"cache_size": "10G"}, {"cache_size": "10G"}),
        ({"view": {"few": Path("/l"), "more": "/m"}}, {"view": ["few=/l", "more=/m"]}),
        ({"view": ["few=/l", "more=/m"]}, {"view": ["few=/l", "more=/m"]}),
        ({"stage": (Path("a"), "b")}, {"stage": ["a", "b"]}),
        ({"stage": []}, {"stage": []}),
        ({"stage": b"a"}, {"stage": "a"}),
        ({"stage": (name for name in "ab")}, {"stage": ["a", "b"]}),
        ({"stage": {"a"}}, {"stage": ["a"]}),
        ({"in_flight": np.int64(4)}, {"in_flight": "4"}),
        ({"in_flight": True}, {"in_flight": True}),
    ],
)
def test_values_as_the_command_line_has_them(
    given: dict[str, object], expected: dict[str, object]
) -> None:
    found = option_texts("open", KNOWN, None, given)
    assert found == expected
    json.dumps(found)  # another process gets it so


def test_the_source_is_one_of_them(tmp_path: Path) -> None:
    assert option_texts("open", KNOWN, tmp_path, {}) == {"source": str(tmp_path)}


def test_one_that_it_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(UsageError) as caught:
        option_texts("open", {"in_flight", "prefer"}, None, {"in_fligth": 1})
    assert str(caught.value) == (
        "imagenetfs.open has no setting in_fligth; it has in_flight, prefer. "
        "Did you mean in_flight?"
    )


def test_one_that_is_not_given_is_refused_too() -> None:
    with pytest.raises(UsageError, match="has no setting workers"):
        option_texts("open", OpenSettings.__annotations__, None, {"workers": None})


def test_a_tree_s_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGENETFS_REVALIDATE", "7")
    view = tmp_path / "list"
    view.write_text("n00000001\n")
    given = {"index_dir": "none", "view": {"few": view}, "prefer": "directories", "in_flight": "9"}
    spec = resolve_spec("here", given)
    assert spec.source == tmp_path / "here"
    assert (spec.index_dir, spec.index_path, spec.cache) == (None, (), None)
    assert (spec.in_flight, spec.revalidate, spec.prefer) == (9, 7.0, "directories")
    assert spec.views == (("few", view),)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_what_is_wrong_is_told_by_the_options_name() -> None:
    for given in ({"in_flight": 0}, {"revalidate": "soon"}, {"prefer": "both"}):
        [name] = given
        with pytest.raises(UsageError, match=f"^{name} must be"):
            resolve_spec("/s", given)


def test_what_is_to_be_told_goes_with_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGENETFS_IN_FLIGTH", "3")
    spec = resolve_spec("/s", {"index_dir": "none"})
    [warning] = spec.warnings
    assert "did you mean $IMAGENETFS_IN_FLIGHT?" in warning
