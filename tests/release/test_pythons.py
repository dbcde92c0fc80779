"""Which interpreters are found, by fakes that say what a real one would say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.release import pythons
from tests.release.pythons import Python


def interpreter(path: Path, version: str, include: Path | None, status: int = 0) -> Path:
    """A program that answers as Python ``version`` with its headers at ``include``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = json.dumps([version, str(include), sys.maxsize])
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def headers(directory: Path) -> Path:
    directory.mkdir()
    (directory / "Python.h").touch()
    return directory


def test_those_with_headers_are_found_and_others_said(tmp_path: Path) -> None:
    include = headers(tmp_path / "include")
    broken = interpreter(tmp_path / "shims/python3.12", "3.12", include, status=127)
    bare = interpreter(tmp_path / "bare/python3.12", "3.12", tmp_path / "none")
    good = interpreter(tmp_path / ".pyenv/versions/3.12.1/bin/python3.12", "3.12", include)
    other = interpreter(tmp_path / "bare/python3.13", "3.13", tmp_path / "none")
    path = f"{tmp_path}/shims:{tmp_path}/bare"
    wanted = ("3.11", "3.12", "3.13")
    programs = pythons.candidates(wanted, tmp_path, path)
    assert programs == [broken, bare, good, other]
    found, without = pythons.find(wanted, programs)
    assert found == {"3.12": Python(good, "3.12", include)}
    assert found["3.12"].tag == "cp312"
    assert without == {
        "3.11": "no such interpreter was found",
        "3.13": f"{other} has no Python.h in {tmp_path}/none",
    }


def test_one_that_is_named_may_have_any_name_and_comes_first(tmp_path: Path) -> None:
    include = headers(tmp_path / "include")
    named = interpreter(tmp_path / "named/python", "3.11", include)
    later = interpreter(tmp_path / "bin/python3.11", "3.11", include)
    found, without = pythons.find(["3.11"], [named, later])
    assert (found["3.11"].program, without) == (named, {})


def test_debians_headers_are_made_whole(tmp_path: Path) -> None:
    include = headers(tmp_path / "include")
    real = tmp_path / "system/x86_64-linux-gnu/python3.11/pyconfig.h"
    real.parent.mkdir(parents=True)
    real.write_text("#define SIZEOF_LONG 8\n")
    wrapper = "# if defined(__x86_64__)\n# include <x86_64-linux-gnu/python3.11/pyconfig.h>\n"
    wrapper += (
        "# elif defined(__s390__)\n# include <s390x-linux-gnu/python3.11/pyconfig.h>\n#endif\n"
    )
    (include / "pyconfig.h").write_text(wrapper)
    python = Python(Path("python3.11"), "3.11", include)
    copied = python.headers_into(tmp_path / "copy", tmp_path / "system")
    assert (copied / "pyconfig.h").read_text() == real.read_text()
    assert (copied / "Python.h").exists()
    assert (include / "pyconfig.h").read_text() == wrapper


def test_other_headers_are_copied_as_they_are(tmp_path: Path) -> None:
    include = headers(tmp_path / "include")
    (include / "pyconfig.h").write_text("#define SIZEOF_LONG 8\n")
    copied = Python(Path("python3"), "3.12", include).headers_into(tmp_path / "copy")
    assert (copied / "pyconfig.h").read_text() == "#define SIZEOF_LONG 8\n"
