"""Names and links that cannot lead out of their archive, held to what a
chroot's kernel would do.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.index.names import confine_link, sanitize_name
from tests.helpers.examples import examples


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a/b", b"a/b"),
        (b"/a", b"a"),
        (b"../a", b"a"),
        (b"a/../b", b"b"),
        (b"a/..", b""),
        (b"./a//b/.", b"a/b"),
        (b"..", b""),
        (b"", b""),
        (b"n" * 255, b"n" * 255),
        (b"n" * 256, b""),
        (b"a/" + b"n" * 256 + b"/b", b""),
        (b"long/" * 100 + b"n", b"long/" * 100 + b"n"),
        (b"n" * 256 + b"/../a", b"a"),
    ],
)
def test_harmless(name: bytes, expected: bytes) -> None:
    assert sanitize_name(name) == expected


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        (b"link", b"file", b"file"),
        (b"a/link", b"../file", b"../file"),
        (b"a/link", b"../a/./x", b"../a/./x"),
        (b"link", b"../file", b"file"),
        (b"a/link", b"../../../file", b"../file"),
        (b"a/b/link", b"/etc/passwd", b"../../etc/passwd"),
        (b"link", b"/", b"."),
        (b"a/link", b"/", b".."),
        (b"link", b"here/../../x", b"x"),
        (b"link", b"sub/../x", b"deeper/x"),
        (b"link", b"loop/x/../..", b"."),
        (b"link", b"", b""),
    ],
)
def test_confined(name: bytes, target: bytes, expected: bytes) -> None:
    links = {b"here": b".", b"sub": b"deeper/down", b"loop": b"loop", name: target}
    assert confine_link(name, target, links) == expected


_PARTS = st.sampled_from([b"..", b".", b"a", b"b", b"l0", b"l1", b"l2", b""])
_TARGETS = st.lists(_PARTS, min_size=1, max_size=5).map(b"/".join).filter(bool)


@pytest.mark.slow
@examples(400)
@given(st.lists(_TARGETS, min_size=3, max_size=3))
def test_no_chain_of_links_leads_out(
    tmp_path_factory: pytest.TempPathFactory, targets: list[bytes]
) -> None:
    base = tmp_path_factory.mktemp("links")
    root = base / "deep" / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "b").mkdir()
    (base / "secret").write_bytes(b"")
    links = {b"a/l0": targets[0], b"l1": targets[1], b"b/l2": targets[2]}
    for name, target in links.items():
        os.symlink(confine_link(name, target, links), os.fsencode(root) + b"/" + name)
    for name in links:
        try:
            path = os.path.realpath(os.fsencode(root) + b"/" + name, strict=True)
        except FileNotFoundError:
            path = os.path.realpath(os.fsencode(root) + b"/" + name)
        except OSError as error:
            assert error.errno == errno.ELOOP
            continue
        assert (path + b"/").startswith(os.fsencode(root) + b"/")
    assert Path(root).is_dir()
