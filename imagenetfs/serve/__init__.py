"""Serving by FUSE: handlers, worker processes, the supervisor. The only importer of pyfuse3."""
