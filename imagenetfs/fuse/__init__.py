"""The kernel's FUSE protocol. Nothing else knows it; the supervisor alone mounts by pyfuse3."""
