"""The mount's tree within the caller's own process, and mounts that end with it.

No FUSE, no root, no process of ours: the layers ``read``, ``tree``, ``index``, ``cache`` and
``source`` are those of a mount. Never imports ``fuse`` or ``server``. docs/python.md is for users.
"""
