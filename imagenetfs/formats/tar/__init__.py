"""Tar: headers, the walk over them, and the walk with many requests under way."""
