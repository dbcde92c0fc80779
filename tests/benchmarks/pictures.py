"""Pictures of the screens, from a real terminal: ``python -m tests.benchmarks.pictures [DIR]``.

Each command runs in a terminal of tmux on a mount of the sample; what the terminal shows then, with
its colours, becomes an SVG. Without DIR the pictures that the pages show are written anew; with DIR
all of them are, light and dark, in 80 and 120 columns, to be looked at.

No other mount of the user's may be there, for doctor shows them: root takes them out of sight with
``unshare --mount`` and ``umount --lazy``.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

from imagenetfs.system.mounts import our_mounts

DOCS = Path(__file__).parents[2] / "docs"
IMAGENETFS = str(Path(sys.executable).with_name("imagenetfs"))
_LINES = 60
SCRATCH = Path("/tmp/me")
"""A short path: it is in the pictures."""

_SETTLE_SECONDS, _MOST_SECONDS = 1.0, 60.0
_THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}

_FONTS = re.compile(r" *@font-face \{[^}]*\}\n")
"""Left out: no font is fetched from anywhere: the reader's own is used."""


@dataclass(frozen=True)
class Screen:
    """A command, what it shows at last, and how long it is left to run."""

    name: str
    words: tuple[str, ...]
    last: str
    seconds: float = 0.0


SCREENS = (
    Screen("status-watch", ("status", "--watch", "{mnt}"), "Ctrl-C ends this", 20.0),
    Screen("status", ("status",), "log  "),
    Screen("doctor", ("doctor", "{source}"), "All is well|lines? (is|are)"),
    Screen("show", ("show", "{source}", "terrier"), "Imagenet64/val"),
    Screen("bar", ("sample", "{new}"), "try it"),
    Screen("settings", ("settings",), "counts"),
)
OF_THE_PAGES = (("status-watch", "dark"), ("doctor", "light"))


_READ = """
import os, pathlib, random, sys, time
images = list(pathlib.Path(sys.argv[1]).rglob("*.JPEG"))
while True:
    with random.choice(images).open("rb") as file:
        file.read()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # the next one is asked for
    time.sleep(0.01)
"""


@contextmanager
def mounted(directory: Path, environ: dict[str, str]) -> Iterator[None]:
    """A mount of a sample with a cache, and a program that reads from it all the time."""
    source, mountpoint = directory / "imagenet", directory / "mnt"

    def call(*words: str) -> None:
        subprocess.run([IMAGENETFS, "-q", *words], env=environ, check=True, stdout=sys.stderr)

    call("sample", str(source))
    cache = ("--cache-dir", str(directory / "cache"), "--cache-size", "300M")
    call("mount", "--make", str(source), str(mountpoint), *cache, "--stage", "ILSVRC2012/val")
    with subprocess.Popen([sys.executable, "-c", _READ, str(mountpoint / "ILSVRC2012")]) as reader:
        try:
            yield
        finally:
            reader.kill()
            reader.wait()
            call("umount", "--lazy", str(mountpoint))


def screen_of(command: str, environ: dict[str, str], screen: Screen, columns: int) -> str:
    """What a terminal of so many columns shows when the command has said all, with its colours."""
    # Of its own: one of the same name that is about to end may still answer.
    server = ("tmux", "-L", f"pictures-{os.getpid()}-{screen.name}-{columns}", "-f", "/dev/null")
    size = ("-x", str(columns), "-y", str(_LINES))
    line = f"{command}; sleep {_MOST_SECONDS}"
    subprocess.run([*server, "new-session", "-d", *size, line], env=environ, check=True)
    try:
        time.sleep(screen.seconds)
        deadline = time.monotonic() + _MOST_SECONDS
        while not re.search(screen.last, _capture(server)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{command} has not shown {screen.last}: {_capture(server)}")
            time.sleep(0.2)
        time.sleep(_SETTLE_SECONDS)
        return _capture(server, "-e")
    finally:
        subprocess.run([*server, "kill-server"], check=False)


def _capture(server: tuple[str, ...], *options: str) -> str:
    words = [*server, "capture-pane", "-p", *options]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.rstrip()


def svg_of(shown: str, columns: int, title: str, theme: TerminalTheme) -> str:
    """An SVG of what a terminal shows."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text.from_ansi(shown), soft_wrap=True)
    svg = console.export_svg(title=title, theme=theme, unique_id="screen")
    return "\n".join(line.rstrip() for line in _FONTS.sub("", svg).splitlines()) + "\n"


def check_alone() -> None:
    """Exit where the user has mounts that would be in the pictures."""
    others = [entry.mountpoint for entry in our_mounts(uid=os.geteuid())]
    if others:
        sys.exit(f"{others[0]} would be in the pictures: `imagenetfs umount` it first.")


def main(directory: Path | None) -> None:
    """Write the pictures."""
    check_alone()
    SCRATCH.mkdir()
    home = {"HOME": str(SCRATCH), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    environ = {"PATH": os.environ["PATH"], **home}
    try:
        with mounted(SCRATCH, environ):
            for screen in SCREENS:
                for columns in (80,) if directory is None else (80, 120):
                    draw(screen, columns, environ, directory)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


def draw(screen: Screen, columns: int, environ: dict[str, str], directory: Path | None) -> None:
    """Write the pictures of one screen that are wanted."""
    themes = [theme for name, theme in OF_THE_PAGES if name == screen.name]
    if directory is not None:
        themes = list(_THEMES)
    if not themes:
        return
    new = SCRATCH / f"{screen.name}{columns}"
    fill = {"mnt": SCRATCH / "mnt", "source": SCRATCH / "imagenet", "new": new}
    words = [word.format_map(fill) for word in screen.words]
    shown = screen_of(shlex.join([IMAGENETFS, *words]), environ, screen, columns)
    title = f"imagenetfs {shlex.join(words)}"
    for theme in themes:
        svg = svg_of(shown, columns, title, _THEMES[theme])
        name = screen.name if directory is None else f"{screen.name}-{columns}-{theme}"
        (directory or DOCS).joinpath(f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
