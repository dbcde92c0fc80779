"""``python -m imagenetfs`` is the command ``imagenetfs``."""

import sys

from imagenetfs.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
