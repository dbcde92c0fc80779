"""File formats, read through a ``read(offset, length)`` function: tar, npz, PNG."""
