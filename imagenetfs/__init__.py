"""imagenetfs: ImageNet's archives as a file system, ``<version>/<split>/<class>/<image>``."""

__version__ = "0.1.0"
