"""What pyproject.toml cannot say: the man pages are made when the package is built."""

from __future__ import annotations

import runpy
from pathlib import Path

from setuptools import setup

# isort: split
from distutils.command.install_data import install_data  # setuptools' own copy, once it is imported

HERE = Path(__file__).parent
MAN = "share/man/man1"


class InstallData(install_data):
    """Writes the man pages, and installs them with the files that pyproject.toml names."""

    def run(self) -> None:
        make = runpy.run_path(str(HERE / "imagenetfs" / "cli" / "man_page.py"))
        version = runpy.run_path(str(HERE / "imagenetfs" / "version.py"))["__version__"]
        built = Path(self.get_finalized_command("build").build_base) / "man"
        pages = make["write_man_pages"](built, version)
        self.data_files = [*self.data_files, (MAN, [str(page) for page in pages])]
        super().run()


setup(cmdclass={"install_data": InstallData})
