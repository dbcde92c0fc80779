"""What the members of an archive are when they are extracted one after the other: the tree that
they make.

Later members replace earlier ones of the same name, as extraction would have it. A member whose
name leads through a symbolic link to a directory is where the link leads. What no extraction could
make is left out and counted: docs/formats.md says what that is, and where GNU tar, bsdtar and
Python differ.

A node is two numbers, its parent and its part of the name, however deep it lies: what this takes is
linear in the bytes of the names.
"""

from __future__ import annotations

import stat
from array import array
from dataclasses import dataclass, field

import numpy as np

from imagenetfs.index.columns import Array
from imagenetfs.index.names import MOST_LINKS, NAME_MAX, PATH_MAX, sanitize_name
from imagenetfs.system.text import decoded

ROOT = 0
IMPLIED = -1
"""In place of a member: a directory that no member is, but that others lie in."""

DOT_DOT = "its name has '..' in it"
TOO_LONG = f"its name is longer than a path may be ({PATH_MAX - 1:,} bytes, {NAME_MAX} each part)"
NO_NAME = "it has no name"
BELOW_A_FILE = "it lies below what is no directory"
OVER_A_DIRECTORY = "it would take the place of a directory that has something in it"
LINK_TO_NOTHING = "it is a hard link to nothing"
NO_TARGET = f"its link's target is empty, or longer than a path may be ({PATH_MAX - 1:,} bytes)"


@dataclass(slots=True)
class MemberRows:
    """What a builder hands to the encoder: parallel lists, in archive order.

    Later rows of the same name replace earlier ones, as extraction would. ``renamed`` are positions
    of rows whose own header has another name, where that is known already.

    Of zips: ``packed`` are the bytes that a deflated member takes, 0 for one that is stored;
    ``sums`` the CRC-32 of each; ``refused`` why a position cannot be read.
    """

    names: list[bytes] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    mtimes: list[int] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    links: dict[int, bytes] = field(default_factory=dict)
    hardlinks: dict[int, bytes] = field(default_factory=dict)
    sparse: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    renamed: set[int] = field(default_factory=set)
    packed: list[int] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


class UnshownMembers:
    """Members that are not shown, counted by the reason, with the first of each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, bytes, int]] = {}

    def add(self, reason: str, name: bytes, header: int) -> None:
        """Count one; ``header``: where its first header stands, in bytes."""
        count, first, at = self._found.get(reason, (0, name, header))
        self._found[reason] = count + 1, first, at

    def __str__(self) -> str:
        """A sentence; empty where nothing is left out."""
        return "; ".join(
            f"{count:,} left out, for {reason} (the first is {_shown(first)} at byte {at:,})"
            for reason, (count, first, at) in self._found.items()
        )


def _shown(name: bytes) -> str:
    return repr(decoded(name[:80])) + ("..." if len(name) > 80 else "")


class Extraction:
    """The tree of an archive's members.

    ``owners``: position of a hard link -> the member that it is; ``unshown``: positions left out.
    """

    def __init__(self, rows: MemberRows) -> None:
        self._rows = rows
        self.left_out = UnshownMembers()
        self.unshown: list[int] = []
        self.owners: dict[int, int] = {}
        self._ids: dict[bytes, int] = {}  # of the parts of names
        self._parts: list[bytes] = []
        self._children: dict[int, int] = {}  # parent << 32 | part -> node
        self._parents, self._part_of = array("q", [ROOT]), array("q", [0])
        self._members = array("q", [IMPLIED])
        self._entries = array("q", [0])  # how many lie directly in a node
        self._last: tuple[bytes, int, bool] = (b"", ROOT, False)
        for position, name in enumerate(rows.names):
            self._place(position, name)

    def __len__(self) -> int:
        return len(self._parents)

    # --- extracting -------------------------------------------------------------------------------

    def _place(self, position: int, raw: bytes) -> None:
        name = sanitize_name(raw)
        reason = self._impossible(position, raw, name)
        if reason is None and name:
            reason = self._put(position, name)
        if reason is not None:
            self.leave_out(reason, position)

    def leave_out(self, reason: str, position: int) -> None:
        """Count a member that is not shown."""
        self.left_out.add(reason, self._rows.names[position], self._rows.headers[position])
        self.unshown.append(position)

    def _impossible(self, position: int, raw: bytes, name: bytes) -> str | None:
        """Why there can be no such member, whatever else there is; None where there can be."""
        rows = self._rows
        if position in rows.refused:
            return rows.refused[position]
        if not name:
            if len(raw) > NAME_MAX:
                return TOO_LONG
            is_root = raw and stat.S_ISDIR(rows.modes[position]) and b".." not in raw.split(b"/")
            return None if is_root else DOT_DOT if b".." in raw else NO_NAME
        if b".." in raw and b".." in raw.split(b"/"):
            return DOT_DOT
        if len(name) >= PATH_MAX:
            return TOO_LONG
        if position in rows.links and not 0 < len(rows.links[position]) < PATH_MAX:
            return NO_TARGET
        return None

    def _put(self, position: int, name: bytes) -> str | None:
        """Put a member where it belongs; why that cannot be done, else None."""
        rows, owner = self._rows, position
        if position in rows.hardlinks:
            target = self._find(sanitize_name(rows.hardlinks[position]))
            if target is None or self._is_directory(target):
                return LINK_TO_NOTHING
            owner = self._members[target]
        before, _, last = name.rpartition(b"/")
        if before == self._last[0]:
            _, directory, moved = self._last
        else:
            entered = self._enter(before)
            if entered is None:
                return BELOW_A_FILE
            directory, moved = entered
            self._last = before, directory, moved
        present = self._child(directory, last)
        if present is None:
            self._add(directory, last, owner)
        else:
            is_directory = stat.S_ISDIR(rows.modes[owner])
            if self._is_directory(present) and not is_directory and self._entries[present]:
                return OVER_A_DIRECTORY
            if not (self._is_directory(present) and is_directory):
                self._last = b"", ROOT, False  # it may have been on the way
            self._members[present] = owner
        if owner != position:
            self.owners[position] = owner
        elif moved:
            rows.renamed.add(position)
        return None

    def _enter(self, name: bytes) -> tuple[int, bool] | None:
        """The directory of this name, made if need be, and whether links lead there; None where
        something else is in the way."""
        node, moved = ROOT, False
        for part in name.split(b"/") if name else ():
            child = self._child(node, part)
            if child is None:
                child = self._add(node, part, IMPLIED)
            elif not self._is_directory(child):
                target = self._rows.links.get(self._members[child])
                led = self._walk(node, target, [MOST_LINKS]) if target is not None else None
                if led is None or not self._is_directory(led):
                    return None
                child, moved = led, True
            node = child
        return node, moved

    def _find(self, name: bytes) -> int | None:
        """The node of a name, links on the way followed, and not that of the name itself."""
        before, _, last = name.rpartition(b"/")
        directory = self._walk(ROOT, before, [MOST_LINKS])
        return self._child(directory, last) if directory is not None else None

    def _walk(self, node: int, path: bytes, left: list[int]) -> int | None:
        """The node to which a path leads from ``node``, links followed; the archive's root is
        ``/``."""
        parts = path.split(b"/")[::-1]
        if path.startswith(b"/"):
            node = ROOT
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if not self._is_directory(node):
                return None
            if part == b"..":
                node = self._parents[node]
                continue
            child = self._child(node, part)
            if child is None:
                return None
            target = self._rows.links.get(self._members[child])
            if target is None:
                node = child
                continue
            left[0] -= 1
            if left[0] < 0:
                return None
            parts += target.split(b"/")[::-1]
            if target.startswith(b"/"):
                node = ROOT
        return node

    def _child(self, node: int, part: bytes) -> int | None:
        number = self._ids.get(part)
        return None if number is None else self._children.get(node << 32 | number)

    def _add(self, parent: int, part: bytes, member: int) -> int:
        number = self._ids.get(part)
        if number is None:
            number = self._ids[part] = len(self._parts)
            self._parts.append(part)
        node = self._children[parent << 32 | number] = len(self._parents)
        self._parents.append(parent)
        self._part_of.append(number)
        self._members.append(member)
        self._entries.append(0)
        self._entries[parent] += 1
        return node

    def _is_directory(self, node: int) -> bool:
        member = self._members[node]
        return member == IMPLIED or stat.S_ISDIR(self._rows.modes[member])

    # --- what came of it --------------------------------------------------------------------------

    def remove(self, node: int) -> None:
        """Take a node away in which nothing lies."""
        self._children.pop(self._parents[node] << 32 | self._part_of[node])
        self._entries[self._parents[node]] -= 1
        self._members[node] = IMPLIED
        self._part_of[node] = -1

    def linked(self) -> list[int]:
        """The nodes that are symbolic links."""
        links = self._rows.links
        return [node for node, member in enumerate(self._members) if member in links]

    def member(self, node: int) -> int:
        """The position of the member that a node is, or IMPLIED."""
        return self._members[node]

    def name(self, node: int) -> bytes:
        """The full name of a node."""
        parts = []
        while node != ROOT:
            parts.append(self._parts[self._part_of[node]])
            node = self._parents[node]
        return b"/".join(reversed(parts))

    def layout(self) -> Layout:
        """The nodes in the order of a table's rows: sorted, each directory before what lies in
        it."""
        self._children.clear()  # half of the memory, and not needed any more
        parents, part_of = self._parents, np.asarray(self._part_of)
        nodes = np.flatnonzero(part_of >= 0)[1:]
        below = array("q", bytes(8 * len(self)))  # how many rows a node and all below it take
        for node in range(len(self) - 1, ROOT, -1):
            if self._part_of[node] >= 0:
                below[node] += 1
                below[parents[node]] += below[node]
        rank = np.empty(max(1, len(self._parts)), dtype=np.int64)
        by_name = sorted(range(len(self._parts)), key=self._parts.__getitem__)
        rank[by_name] = np.arange(len(by_name))
        above = np.asarray(parents)
        ordered = nodes[np.lexsort((rank[part_of[nodes]], above[nodes]))]
        size, up = np.asarray(below)[ordered], above[ordered]
        before = np.cumsum(size) - size  # by the siblings, less those before the first of them
        within = np.zeros(len(self), dtype=np.int64)
        within[ordered] = before - before[np.searchsorted(up, up)] if len(ordered) else before
        row = array("q", within.tobytes())
        row[ROOT] = -1
        for node in range(1, len(self)):  # a parent is older than its children
            row[node] += row[parents[node]] + 1
        rows = np.asarray(row)
        order = np.empty(len(nodes), dtype=np.int64)
        order[rows[nodes]] = nodes
        return Layout(
            order,
            np.asarray(self._members)[order],
            rows[above[order]] + 1,
            np.arange(len(order)) + np.asarray(below)[order],
            [self._parts[part] for part in part_of[order].tolist()],
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows of a table: their node, the position of their member (or IMPLIED), the row of the
    directory around them + 1, the row behind the last one below them, and the last part of their
    name."""

    nodes: Array
    members: Array
    parents: Array
    below: Array
    names: list[bytes]
