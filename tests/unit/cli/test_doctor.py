"""imagenetfs doctor: the worst line is the exit code; dead mounts go where that was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from imagenetfs.cli import doctor
from imagenetfs.config import Settings
from imagenetfs.job import cleanup, preflight, status
from imagenetfs.job.doctor import cache, directories, node, source
from imagenetfs.job.doctor.findings import Finding, green, red, yellow
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.preflight import Health
from imagenetfs.job.status import MountStatus
from imagenetfs.system.mounts import MountEntry
from tests.helpers.in_process import call
from tests.helpers.mount_table import MountTable


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountTable:
    """The caller's mounts: none, whatever other tests have mounted at the same time."""
    return MountTable(tmp_path, monkeypatch)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is found about the source; all else is well."""
    lines: list[Finding] = []
    for module, name in (
        *((node, name) for name in ("fuse", "kernel", "user_groups", "own_mounts", "job")),
        (directories, "places"),
        (cache, "cache"),
    ):
        monkeypatch.setattr(module, name, lambda *a, _n=name: iter([green(_n, "fine")]))
    monkeypatch.setattr(source, "source", lambda settings: iter(lines))
    return lines


@pytest.mark.parametrize(
    ("lines", "code", "worst"),
    [
        ([green("source", "there")], 0, "green"),
        ([yellow("speed", "slow", "stage it")], 40, "yellow"),
        ([yellow("speed", "slow"), red("source", "gone"), green("x", "y")], 41, "red"),
    ],
)
def test_the_worst_line_counts(
    found: list[Finding],
    capsys: pytest.CaptureFixture[str],
    lines: list[Finding],
    code: int,
    worst: str,
) -> None:
    found += lines
    assert call(capsys, "doctor").code == code
    done = call(capsys, "doctor", "--json")
    shown = json.loads(done.out)
    assert (done.code, done.err, shown["worst"]) == (code, "", worst)
    assert [line["about"] for line in shown["lines"]] == [
        *("fuse", "kernel", "user_groups", "job", "own_mounts", "places"),
        *(line.about for line in lines),
        "cache",
    ]


def test_lines_for_people(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found.append(yellow("speed", "slow", "stage it"))
    done = call(capsys, "doctor")
    assert done.out.splitlines() == [
        *("This node", "green  fuse: fine", "green  kernel: fine"),
        *("green  user_groups: fine", "green  job: fine", ""),
        *("Your mounts", "green  own_mounts: fine", ""),
        *("Directories of yours", "green  places: fine", ""),
        *("The source", "yellow speed: slow", "       -> stage it", ""),
        *("The read cache", "green  cache: fine", ""),
        "It works; 1 line is yellow: a limit to know of. Try it: imagenetfs run -- ls {mnt}",
    ]


@pytest.mark.parametrize(
    ("line", "last"),
    [
        (green("a", "b"), "All is well. Try it: imagenetfs run /s -- ls {mnt}"),
        (
            red("a", "b"),
            "1 line is red: it does not work so. Do what its arrow says, then ask again.",
        ),
    ],
)
def test_the_last_line(
    found: list[Finding], capsys: pytest.CaptureFixture[str], line: Finding, last: str
) -> None:
    found.append(line)
    assert call(capsys, "doctor", "/s").out.splitlines()[-1] == last


def test_on_a_terminal_lines_hang_below_their_beginning(
    found: list[Finding], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found.append(yellow("speed", "slow " * 12, "stage it " * 8))
    monkeypatch.setenv("COLUMNS", "44")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = call(capsys, "doctor", "/s").out.splitlines()
    at = next(n for n, line in enumerate(lines) if "speed:" in line)
    assert lines[at + 1].startswith("       slow") and lines[at + 2].startswith("       -> stage")
    assert lines[at + 3].startswith("          it stage")
    assert all(len(line) <= 44 for line in lines[at + 1 :])


def test_without_a_source_that_of_the_only_mount_is_looked_at(
    found: list[Finding], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [MountStatus("/m", "/of/mount", "live"), MountStatus("/d", "/x", "stale")]
    monkeypatch.setattr(status, "collect", lambda: states)
    done = call(capsys, "doctor")
    assert "run /of/mount -- ls" in done.out
    assert done.err == "imagenetfs: looking at the source of your mount at /m.\n"
    states.append(MountStatus("/n", "/y", "live"))
    assert "run -- ls" in call(capsys, "doctor").out


def test_what_is_looked_at(
    found: list[Finding], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def look(settings: object) -> Iterator[Finding]:
        seen.append(settings)
        yield green("source", "there")

    monkeypatch.setattr(source, "source", look)
    call(capsys, "doctor", "/s", "--index-dir", "none")
    [settings] = seen
    assert settings.source == Path("/s")  # type: ignore[attr-defined]
    assert settings.index_dir is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "origin", "looked_at"),
    [
        ((), "/s", ("/of/mount", 300)),
        (("--cache-dir", "/mine"), "/s", ("/mine", None)),
        (("--cache-dir", "none"), "/s", (None, None)),
        ((), "/another", (None, None)),
    ],
)
def test_the_cache_of_a_mount_of_the_source_is_looked_at(
    found: list[Finding],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    origin: str,
    looked_at: tuple[str | None, int | None],
) -> None:
    held = {"directory": "/of/mount", "size": 300}
    states = [
        MountStatus("/d", "/s", "stale"),
        MountStatus("/n", "/s", "live", {"cache": None}),
        MountStatus("/m", origin, "live", {"cache": held}),
    ]
    seen: list[Settings] = []

    def look(settings: Settings, sizes: object) -> Iterator[Finding]:
        seen.append(settings)
        yield green("read cache", "there")

    monkeypatch.setattr(status, "collect", lambda: states)
    monkeypatch.setattr(cache, "cache", look)
    call(capsys, "doctor", "/s", *words)
    [settings] = seen
    directory, size = looked_at
    assert settings.cache_dir == (directory and Path(directory))
    if size is not None:
        assert settings.cache_size.of(10**9) == size


@pytest.fixture
def healed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[MountPaths]:
    """The places of dead mounts that were taken away; one of the two mounts is dead."""
    places: list[MountPaths] = []
    table = MountTable(tmp_path, monkeypatch)
    table.add(tmp_path / "live")
    table.add(tmp_path / "dead")
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(tmp_path / "run"))

    def health(entry: MountEntry) -> Health:
        return Health.DEAD if entry.mountpoint.endswith("dead") else Health.LIVE

    monkeypatch.setattr(preflight, "health", health)
    monkeypatch.setattr(cleanup, "clear_dead_mount", lambda entry, place, say: places.append(place))
    return places


@pytest.mark.slow
def test_healing(
    found: list[Finding],
    healed: list[MountPaths],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(capsys, "doctor")
    assert healed == [], "only where that was asked for"
    call(capsys, "doctor", "--json", "--heal")
    assert healed == [MountPaths(tmp_path / "dead", tmp_path / "run")]


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_is_offered(
    found: list[Finding],
    healed: list[MountPaths],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bool,
) -> None:
    asked: list[str] = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return answer

    class Terminal:
        def isatty(self) -> bool:
            return True

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal())
        patch.setattr(sys, "stdout", Terminal())
        patch.setattr(typer, "confirm", confirm)
        offered = doctor._offer()
        patch.setattr(doctor, "_dead", list)
        assert not doctor._offer(), "nothing is asked where nothing is dead"
    assert offered is answer
    assert asked == [f"Take away dead mounts ({tmp_path}/dead)?"]
