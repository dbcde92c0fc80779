"""``python -m imagenetfs`` is the command ``imagenetfs``."""

from imagenetfs.cli.app import command

if __name__ == "__main__":
    command()
