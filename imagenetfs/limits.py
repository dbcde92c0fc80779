"""Numbers that several layers share."""

from __future__ import annotations

MAX_WORKERS = 64
"""Worker processes of a mount. More never pay."""

MAX_IN_FLIGHT = 1024
"""Requests to the source that a user may ask for at one time."""

DEFAULT_MAX_IN_FLIGHT = 64
"""How far header requests in flight grow by default, while the source stays quick."""

DEFAULT_CONCURRENCY = 16
"""Requests at one time by default, where the adaptive limit does not apply."""

MAX_ARCHIVES = 1 << 20
"""Archives of a mount: their numbers are a field of 20 bits of an inode."""
