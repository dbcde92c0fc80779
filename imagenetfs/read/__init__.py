"""From an inode and a range to bytes. Knows nothing of FUSE."""
