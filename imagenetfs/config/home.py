"""The user's home directory, also where $HOME names another user's: mount(8)
and su hand root's over.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def at_home(path: Path) -> Path:
    """``path``, which was made from $HOME; moved to the home that the system has for this user
    where $HOME is another user's, and not to be written to.
    """
    try:
        given, own = Path.home(), Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except (RuntimeError, KeyError):  # neither is known
        return path
    if given == own or not path.is_relative_to(given) or _is_usable(given) or not own.is_dir():
        return path
    return own / path.relative_to(given)


def _is_usable(home: Path) -> bool:
    try:
        is_own = home.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return True  # it may be made
    except OSError:
        return False
    return is_own or os.access(home, os.W_OK | os.X_OK, effective_ids=True)
