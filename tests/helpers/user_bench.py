"""A test's directories and the command as an ordinary user has them, in a place
that helpers/users.py makes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers import forkserver
from tests.helpers.bench import Bench
from tests.helpers.mounts import processes_marked
from tests.helpers.users import GROUP, MANY, USERS, Elsewhere

MARK = "IMAGENETFS_TEST_PLACE"


class There(Bench):
    """A bench in a namespace for ordinary users; every process that it starts is marked."""

    def __init__(
        self,
        directory: Path,
        user: str,
        broken: Mapping[str, str] | None = None,
        member_of: Sequence[str] = tuple(MANY),
    ) -> None:
        """``directory`` and all above it may be entered by everybody;
        see Elsewhere for the rest.
        """
        super().__init__(directory)
        self.user = user
        for name in ("home", "cache", "state", "tmp", "run"):
            (directory / name).mkdir()
            os.chown(directory / name, USERS.get(user, 0), GROUP)
        (directory / "site.toml").touch()
        self.surroundings = {
            MARK: str(directory),
            "HOME": str(self.home),
            "USER": user,
            "XDG_CACHE_HOME": str(directory / "cache"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "XDG_STATE_HOME": str(directory / "state"),
            "TMPDIR": str(directory / "tmp"),
            "IMAGENETFS_SITE_CONFIG": str(directory / "site.toml"),
        }
        self.elsewhere = Elsewhere(directory / "scratch", broken=broken, member_of=member_of)
        self.identity = self.elsewhere.identity(user)
        self.before = self.elsewhere.front(user)

    @property
    def home(self) -> Path:
        return self.directory / "home"

    def command(self, *words: object, **environ: str) -> subprocess.CompletedProcess[str]:
        """Any command to its end, as the user."""
        return forkserver.shared().run(
            "tests.helpers.forkserver:execute",
            words,
            environ=self.environ(**environ),
            identity=self.identity,
            stdin=subprocess.DEVNULL,
        )

    def leftovers(self) -> list[str]:
        """Mounts, processes and files: of a namespaced run nothing at all may stay."""
        table = self.elsewhere.mount_table().splitlines()
        left = [line for line in table if str(self.run_root) in line or " /media" in line]
        left += processes_marked(MARK, str(self.directory))
        left += [str(path) for path in self.run_root.glob("**/*")]
        left += [str(path) for path in Path("/media").iterdir()]
        return left + [str(path) for path in (self.directory / "tmp").iterdir()]


Make = Callable[..., There]


def places(directory: Path) -> Iterator[Make]:
    """For a fixture: ``make(user, broken={...}, member_of=[...])`` makes a bench of that user's,
    below a directory that everybody may enter.
    """
    made: list[There] = []

    def make(user: str = "ana", **more: Any) -> There:
        own = directory / f"place{len(made)}"
        own.mkdir(mode=0o755)
        made.append(There(own, user, **more))
        return made[-1]

    try:
        yield make
    finally:
        for there in made:
            there.elsewhere.close()
            there.clean_up()
