"""A container: its table, and where its members' bytes are."""

from __future__ import annotations

from collections.abc import Callable

from imagenetfs.index.archives import Extent, Kind
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table import Table
from imagenetfs.index.table_builder import join_path


class Container:
    """A table together with where its members' bytes are."""

    __slots__ = ("_check", "extent", "file_size", "members", "plain")

    def __init__(
        self,
        extent: Extent,
        members: Table,
        file_size: int,
        check: Callable[[int], None] | None = None,
    ) -> None:
        """``file_size``: bytes of the tar or npz when its table was made; 0 for a directory.

        ``check`` is called with each row that is located.
        """
        self.extent = extent
        self.members = members
        self.file_size = file_size
        self._check = check
        self.plain: MemberTable | None = None
        """The table where every row is a regular file that is read as it stands in
        a tar or zip, as in ImageNet's.
        """
        if (
            extent.kind in (Kind.TAR, Kind.ZIP)
            and check is None
            and isinstance(members, MemberTable)
        ):
            self.plain = members if members.plain else None

    def locate(self, row: int) -> tuple[bytes, int, int]:
        """(path of the file in the source, offset, size) of a member's content, in bytes."""
        if self._check is not None:
            self._check(row)
        if self.extent.kind is not Kind.DIRECTORY:
            return self.extent.path, self.members.offset(row), self.members.size(row)
        return join_path(self.extent.path, self.members.name(row)), 0, self.members.size(row)
