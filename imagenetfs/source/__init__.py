"""Bytes of the source tree at an offset, through one directory descriptor."""
