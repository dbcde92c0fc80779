"""The wheelhouse's rules, without a build: tags, wheels that do not fit, and steps that fail."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.helpers.elf import elf
from tests.release import fuse, wheelhouse
from tests.release.pythons import Python
from tests.release.report import Report, StepFailed, call
from tests.release.toolchain import Toolchain

PYTHON = Python(Path("python3.12"), "3.12", Path("include"))
OTHER = Python(Path("python3.13"), "3.13", Path("include"))


def test_tags_reach_down_from_the_promised_glibc() -> None:
    tags = wheelhouse.platforms("aarch64")
    assert tags[0] == "manylinux_2_28_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(tags)
    assert not any("2_29" in tag for tag in tags)


def wheel(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return path


def test_a_wheel_that_does_not_load_is_refused(tmp_path: Path) -> None:
    one = wheel(
        tmp_path / "x.whl",
        a__so=elf(62, "libc.so.6", ["GLIBC_2.28", "GLIBC_2.9"]),
        b__so=elf(62, "libc.so.6", ["GLIBC_2.29"]),
        c__so=elf(183, "libc.so.6", ["GLIBC_2.17"]),
        d__py=b"import os\n",
    )
    assert wheelhouse.unfit(one, "x86_64") == ["b.so needs glibc 2.29", "c.so is for aarch64"]


def test_a_step_that_fails_costs_what_stands_on_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Fake(wheelhouse.Wheelhouse):
        def prepare(self, archive: Path | None) -> str:
            return "sources"

        def package(self) -> str:
            return "wheel"

        def library(self, architecture: str) -> str:
            return architecture

        def pyfuse3(self, python: Python, architecture: str) -> str:
            if (python, architecture) == (PYTHON, "x86_64"):
                raise StepFailed("no compiler")
            return "built"

        def dependencies(self, python: Python, architecture: str) -> str:
            done.append(f"{python.tag} {architecture}")
            return ""

    report = Report()
    house = Fake(tmp_path, tmp_path, report)
    wheelhouse.make(house, [PYTHON, OTHER], ["x86_64", "aarch64"], None)
    assert done == ["cp313 x86_64", "cp312 aarch64", "cp313 aarch64"]
    assert report.status == 1
    assert report.table().endswith("10 done, 1 failed")


def test_a_version_without_an_interpreter_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["--directory", str(tmp_path / "w"), "--work", str(tmp_path / "b")]
    assert wheelhouse.main([*words, "--version", "3.13"]) == 1
    assert "Python 3.13: left out: no such interpreter was found" in capsys.readouterr().out


def test_a_wheel_that_is_there_is_kept(tmp_path: Path) -> None:
    kept = wheel(
        tmp_path / "pyfuse3-3.5.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        a__so=elf(62, "libc.so.6", ["GLIBC_2.17"]),
    )
    chain = Toolchain("x86_64", tmp_path)
    assert list(wheelhouse.pyfuse3_wheels(tmp_path, PYTHON, chain)) == [kept]
    assert list(wheelhouse.pyfuse3_wheels(tmp_path, OTHER, chain)) == []
    assert list(wheelhouse.pyfuse3_wheels(tmp_path, PYTHON, Toolchain("aarch64", tmp_path))) == []


def test_a_compiler_for_the_promised_glibc(tmp_path: Path) -> None:
    chain = Toolchain("aarch64", tmp_path / "a place")
    zig = tmp_path / "zig"
    zig.write_text('#!/bin/sh\nprintf "%s " "$@"\n')
    zig.chmod(0o755)
    chain.write(zig)
    words = call([chain.binaries / "zig-cc", "-c", "a b.c"], tmp_path / "log")
    assert words.startswith("cc -target aarch64-linux-gnu.2.28 ")
    assert words.endswith("-c a b.c ")
    assert chain.platform == "manylinux_2_28_aarch64"


def test_a_call_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"^sh ended with 3: the last \(.*/log\)$"):
        call(["sh", "-c", "echo first >&2; echo the last >&2; exit 3"], tmp_path / "log")
    assert "first" in (tmp_path / "log").read_text()
    with pytest.raises(StepFailed, match="No such file"):
        call([tmp_path / "none"], tmp_path / "log")


def test_licences_and_what_is_inside(tmp_path: Path) -> None:
    tree = tmp_path / "fuse-3.14.0"
    tree.mkdir()
    (tree / "meson.build").write_text("project('libfuse3', ['c'], version: '3.14.0',\n")
    for name in ("LICENSE", "LGPL2.txt", "AUTHORS"):
        (tree / name).write_text(name)
    made = fuse.licences_into(tmp_path / "licences", tree, Path("fuse3_3.14.0.orig.tar.xz"))
    assert {path.name for path in made.iterdir()} == {
        *("LICENSE", "LGPL2.txt", "AUTHORS", "NOTICE.txt"),
    }
    assert "libfuse 3.14.0" in (made / "NOTICE.txt").read_text()


def test_the_systems_lists_become_lists_of_sources(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb mirror:/x bookworm main\n# deb y\n")
    (parts / "debian.sources").write_text("Types: deb\nURIs: mirror:/x\n")
    (parts / "off.list.disabled").write_text("deb mirror:/z bookworm main\n")
    assert fuse.source_lists(tmp_path) == [
        ("sources.list", "deb-src mirror:/x bookworm main\n# deb y\n"),
        ("debian.sources", "Types: deb-src\nURIs: mirror:/x\n"),
    ]
