"""Whether a split is worth a process that indexes it, which one, and what if that fails."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.library import indexing
from imagenetfs.library.indexing import index_ahead
from imagenetfs.library.settings import TreeSpec
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from imagenetfs.tree.dataset import Split
from tests.helpers.archives import close
from tests.helpers.sources import train_and_test

RECORDER = """#!/bin/sh
printf '%s\\n' "$IMAGENETFS_PREFER" "$@" > {file}
{then}
"""


class Site:
    """A small source, and a program in the place of Python that notes what it is called with."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        source = train_and_test(top / "s p")
        self.spec = TreeSpec(
            source=source,
            index_dir=top / "index",
            index_path=(),
            cache=None,
            in_flight=None,
            revalidate=60.0,
            prefer="directories",
            views=(),
        )
        places = IndexSearchPath(None, source)
        self.catalogue: Catalogue = build_catalogue(Source(source), places=places)
        self.program("exit 0")
        monkeypatch.setattr(sys, "executable", str(top / "python"))

    def program(self, then: str) -> None:
        path = self.top / "python"
        path.write_text(RECORDER.format(file=json.dumps(str(self.top / "called")), then=then))
        path.chmod(0o755)

    @property
    def called(self) -> list[str] | None:
        found = self.top / "called"
        return found.read_text().split("\n")[:-1] if found.exists() else None

    def split(self, name: bytes = b"train") -> Split:
        found = self.catalogue.versions[0].split(name)
        assert found is not None
        return found

    def index(self, spec: TreeSpec | None = None) -> None:
        index_ahead(spec or self.spec, self.catalogue, self.split())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    found = Site(tmp_path, monkeypatch)
    yield found
    close(found.catalogue.index)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "LARGE", 0)


def test_a_small_split_is_not_worth_a_process(site: Site) -> None:
    site.index()
    assert site.called is None


@pytest.mark.usefixtures("large")
def test_without_an_index_directory_there_is_nowhere_to_keep_it(site: Site) -> None:
    site.index(replace(site.spec, index_dir=None))
    assert site.called is None


@pytest.mark.usefixtures("large")
def test_a_large_one_is_indexed_by_the_command(site: Site) -> None:
    site.index()
    assert site.called is not None
    prefer, dash, *rest = site.called
    program, (pid, *arguments) = rest[: rest.index("index") - 1], rest[rest.index("index") - 1 :]
    assert (prefer, dash, pid) == ("directories", "-c", str(os.getpid()))
    compile("\n".join(program), "program", "exec")
    assert arguments == [
        *("index", "--source", str(site.spec.source), "--index-dir", str(site.spec.index_dir)),
        "ILSVRC2012/train",
    ]


def test_many_archives_are_large_whatever_their_size(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "MANY", 0)
    site.index()
    assert site.called is not None


@pytest.mark.usefixtures("large")
def test_what_an_index_file_has_is_not_indexed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "is_complete", lambda index, archives: True)
    site.index()
    assert site.called is None


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("echo one >&2; echo 'no space is left' >&2; exit 32", "no space is left"),
        ("exit 3", "exit code 3"),
        ("printf '\\377\\n' >&2; exit 1", "�"),
    ],
)
@pytest.mark.expects_log("ILSVRC2012/train is indexed one archive after the other")
def test_a_command_that_fails_is_told_and_the_split_is_listed_all_the_same(
    site: Site, then: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.program(then)
    site.index()
    [record] = [one for one in caplog.records if one.levelname == "WARNING"]
    assert record.getMessage().endswith(f"one archive after the other: {said}")


@pytest.mark.usefixtures("large")
@pytest.mark.expects_log("ILSVRC2012/train is indexed one archive after the other: No such file")
def test_a_python_that_is_gone(site: Site) -> None:
    (site.top / "python").unlink()
    site.index()
