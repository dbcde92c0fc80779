"""From what a builder found to the block of a member table: sorted, last of a name, parents added.

The table's columns are described in :mod:`imagenetfs.index.member_table`, which reads them.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imagenetfs.index.columns import Array, pack, smallest
from imagenetfs.index.names import NAME_MAX, confine_link, sanitize_name

log = logging.getLogger(__name__)

DIRECTORY_MODE = stat.S_IFDIR | 0o555
FILE_MODE = stat.S_IFREG | 0o644


@dataclass(slots=True)
class MemberRows:
    """What a builder hands to :func:`encode`: parallel lists, in archive order.

    Later rows of the same name replace earlier ones, as extraction would. ``renamed`` are positions
    of rows whose own header has another name, where that is known already.
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


def encode_member_table(
    rows: MemberRows,
    meta: dict[str, Any] | None = None,
    nested: Callable[[bytes, int], bool] | None = None,
    *,
    confine: bool = False,
) -> bytes:
    """The block of a container's member table, sorted, without duplicates, parents added.

    ``nested(name, mode)`` tells which rows are containers themselves; ``confine`` rewrites symbolic
    links that lead out of the container. A hard link is shown as what it was linked to.
    """
    owners, dangling = resolve_hard_links(rows) if rows.hardlinks else ({}, set())
    order, names = _sorted_order(rows, dangling)
    if owners:
        order = [owners.get(position, position) for position in order]
    pick = np.asarray(order, dtype=np.int64)
    described: dict[str, Any] = {"rows": len(order), **(meta or {})}
    columns: dict[str, Array] = {}
    _encode_names(names, columns, described)
    _encode_places(rows, pick, columns, described)
    _encode_times_and_modes(rows, pick, columns, described)
    _encode_hard_links(rows, set(owners.values()), order, names, columns)
    _encode_links(_shown_links(rows, order, names, confine), columns)
    _encode_sparse(rows, order, columns)
    if _any_slash(names) or _any_directory(columns, described):
        columns["below"] = _below(names)
    if nested is not None:
        found = [row for row, p in enumerate(order) if nested(names[row], rows.modes[p])]
        if found:
            columns["nested"] = smallest(np.array(found, dtype=np.int64))
    return pack(columns, described)


def _sorted_order(rows: MemberRows, dangling: set[int]) -> tuple[list[int], list[bytes]]:
    """Positions in the order of the table, and the names in that order."""
    names = rows.names
    odd = not {b"", b".", b".."}.isdisjoint(names) or max(map(len, names), default=0) > NAME_MAX
    if dangling or odd or _any_slash(names):
        last = _with_parents(rows, dangling)
        keys = sorted(last, key=lambda name: name.replace(b"/", b"\0"))
        return [last[name] for name in keys], keys
    last = dict(zip(names, range(len(names)), strict=True))
    keys = sorted(last)
    return list(map(last.__getitem__, keys)), keys


def _any_slash(names: list[bytes]) -> bool:
    return b"/" in b"".join(names)


def _with_parents(rows: MemberRows, dangling: set[int]) -> dict[bytes, int]:
    """Name -> position of its last entry; directories that have no entry of their own are added."""
    last: dict[bytes, int] = {}
    for position in range(len(rows.names)):
        name = sanitize_name(rows.names[position])
        if name and position not in dangling:
            last.pop(name, None)
            last[name] = position
        elif not name and len(rows.names[position]) > NAME_MAX:
            log.warning(
                "a member is not shown, for no file system holds its name: %.80r",
                rows.names[position],
            )
    _drop_shadowed(rows, last)
    for name in list(last):
        parent = name.rpartition(b"/")[0]
        while parent and parent not in last:
            last[parent] = _add_directory(rows, parent, rows.mtimes[last[name]])
            parent = parent.rpartition(b"/")[0]
    return last


def _drop_shadowed(rows: MemberRows, last: dict[bytes, int]) -> None:
    """A file that a later entry uses as a directory gives way, and the other way about."""
    for name, position in list(last.items()):
        parent = name.rpartition(b"/")[0]
        while parent:
            other = last.get(parent)
            if other is not None and not stat.S_ISDIR(rows.modes[other]):
                last.pop(parent if other < position else name, None)
                if other > position:
                    break
            parent = parent.rpartition(b"/")[0]


def _add_directory(rows: MemberRows, name: bytes, mtime: int) -> int:
    rows.names.append(name)
    rows.headers.append(0)
    rows.offsets.append(512)
    rows.sizes.append(0)
    rows.mtimes.append(mtime)
    rows.modes.append(DIRECTORY_MODE)
    return len(rows.names) - 1


def _encode_names(names: list[bytes], columns: dict[str, Array], meta: dict[str, Any]) -> None:
    prefix, suffix = _affixes(names)
    first, last = len(prefix), -len(suffix) or None
    middles = [name[first:last] for name in names]
    ends = np.cumsum(np.fromiter(map(len, middles), dtype=np.int64, count=len(middles)))
    columns["names"] = np.frombuffer(b"".join(middles), dtype=np.uint8)
    columns["ends"] = smallest(ends)
    meta["prefix"], meta["suffix"] = prefix.hex(), suffix.hex()


def _common_prefix(first: bytes, last: bytes) -> bytes:
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def _affixes(names: list[bytes]) -> tuple[bytes, bytes]:
    """The longest prefix and suffix that all of these sorted names share, not
    overlapping in the shortest.
    """
    if not names:
        return b"", b""
    prefix = _common_prefix(names[0], names[-1])
    shortest = min(map(len, names))
    suffix = names[0][max(len(prefix), len(names[0]) - shortest + len(prefix)) :]
    for name in names:
        while not name.endswith(suffix):
            suffix = suffix[1:]
    return prefix, suffix


def _encode_places(
    rows: MemberRows, pick: Array, columns: dict[str, Array], meta: dict[str, Any]
) -> None:
    offsets = np.array(rows.offsets, dtype=np.int64)[pick]
    headers = np.array(rows.headers, dtype=np.int64)[pick]
    meta["unit"] = 512 if not (offsets % 512).any() else 1
    columns["offsets"] = smallest(offsets // meta["unit"])
    columns["sizes"] = smallest(np.array(rows.sizes, dtype=np.int64)[pick])
    if (headers != offsets - 512).any():
        columns["headers"] = smallest(headers)


def _encode_times_and_modes(
    rows: MemberRows, pick: Array, columns: dict[str, Array], meta: dict[str, Any]
) -> None:
    mtimes = np.array(rows.mtimes, dtype=np.int64)[pick]
    base = int(mtimes.min()) if len(mtimes) else 0
    tick = 1 if (mtimes % 1_000_000_000).any() else 1_000_000_000
    meta["mtime"], meta["tick"] = base, tick
    if len(mtimes) and (mtimes != base).any():
        columns["mtimes"] = smallest(
            (mtimes.astype(np.uint64) - np.uint64(base % (1 << 64))) // np.uint64(tick)
        )
    modes = np.array(rows.modes, dtype=np.int64)[pick]
    meta["mode"] = int(modes[0]) if len(modes) else FILE_MODE
    if len(modes) and (modes != modes[0]).any():
        columns["modes"] = smallest(modes)


def _encode_hard_links(
    rows: MemberRows,
    owners: set[int],
    order: list[int],
    names: list[bytes],
    columns: dict[str, Array],
) -> None:
    """``hard``: rows that share their content with another, ``hard_owners``: the first row of each.

    And those that are left of a file whose own name was given to another:
    their header has that name.
    """
    sharing: dict[int, list[int]] = {}
    for row, position in enumerate(order if owners or rows.renamed else ()):
        if position in owners or position in rows.renamed:
            sharing.setdefault(position, []).append(row)
    pairs = [
        (row, same[0])
        for position, same in sharing.items()
        if len(same) > 1
        or position in rows.renamed
        or names[same[0]] != sanitize_name(rows.names[position])
        for row in same
    ]
    if pairs:
        columns["hard"] = smallest(np.array([row for row, _ in pairs], dtype=np.int64))
        columns["hard_owners"] = smallest(np.array([first for _, first in pairs], dtype=np.int64))


def _shown_links(
    rows: MemberRows, order: list[int], names: list[bytes], confine: bool
) -> dict[int, bytes]:
    """Row -> target of the symbolic link, as it is shown."""
    if not rows.links:
        return {}
    found = {row: rows.links[p] for row, p in enumerate(order) if p in rows.links}
    if not confine:
        return found
    targets = {names[row]: target for row, target in found.items()}
    return {row: confine_link(names[row], target, targets) for row, target in found.items()}


def _encode_links(links: dict[int, bytes], columns: dict[str, Array]) -> None:
    if not links:
        return
    columns["linked"] = smallest(np.array(list(links), dtype=np.int64))
    columns["link_ends"] = smallest(np.cumsum([len(target) for target in links.values()]))
    columns["link_names"] = np.frombuffer(b"".join(links.values()), dtype=np.uint8)


def _encode_sparse(rows: MemberRows, order: list[int], columns: dict[str, Array]) -> None:
    if not rows.sparse:
        return
    found = [(row, rows.sparse[p]) for row, p in enumerate(order) if p in rows.sparse]
    runs = [run for _, runs_of_row in found for run in runs_of_row]
    columns["sparse"] = smallest(np.array([row for row, _ in found], dtype=np.int64))
    columns["sparse_ends"] = smallest(np.cumsum([len(runs_of_row) for _, runs_of_row in found]))
    columns["sparse_starts"] = smallest(np.array([start for start, _ in runs], dtype=np.int64))
    columns["sparse_lengths"] = smallest(np.array([length for _, length in runs], dtype=np.int64))


def _any_directory(columns: dict[str, Array], meta: dict[str, Any]) -> bool:
    if "modes" in columns:
        return bool((columns["modes"] & 0o170000 == stat.S_IFDIR).any())
    return stat.S_ISDIR(meta["mode"]) and meta["rows"] > 0


def _below(names: list[bytes]) -> Array:
    """For each row the first row behind it that does not lie below it."""
    below = np.arange(1, len(names) + 1, dtype=np.int64)
    open_rows: list[int] = []
    for row, name in enumerate(names):
        while open_rows and not name.startswith(names[open_rows[-1]] + b"/"):
            below[open_rows.pop()] = row
        open_rows.append(row)
    for row in open_rows:
        below[row] = len(names)
    return smallest(below)


def resolve_hard_links(rows: MemberRows) -> tuple[dict[int, int], set[int]]:
    """(position of a hard link -> position of the member that it is, hard links to nothing).

    A link is to the last member of that name before it, as extraction would have it, and stays
    one when the name is given to another member later.
    """
    owners: dict[int, int] = {}
    dangling: set[int] = set()
    current: dict[bytes, int] = {}
    for position, raw in enumerate(rows.names):
        name = sanitize_name(raw)
        if position not in rows.hardlinks:
            current[name] = position
            continue
        owner = current.get(sanitize_name(rows.hardlinks[position]))
        if owner is None or stat.S_ISDIR(rows.modes[owner]):
            dangling.add(position)
        else:
            owners[position] = current[name] = owner
    return owners, dangling
