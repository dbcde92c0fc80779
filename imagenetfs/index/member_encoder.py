"""From what a builder found to the block of a member table: sorted, last of a name, parents added.

The table's columns are described in :mod:`imagenetfs.index.member_table`, which reads them.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

import numpy as np

from imagenetfs.index.columns import Array, pack, smallest
from imagenetfs.index.extraction import NO_TARGET, Extraction, Layout, MemberRows
from imagenetfs.index.names import NAME_MAX, PATH_MAX, confine_link, sanitize_name
from imagenetfs.index.plain_tree import plain_layout

__all__ = ["DIRECTORY_MODE", "FILE_MODE", "MemberRows", "encode_member_table"]

DIRECTORY_MODE = stat.S_IFDIR | 0o555
FILE_MODE = stat.S_IFREG | 0o644


def encode_member_table(
    rows: MemberRows,
    meta: dict[str, Any] | None = None,
    nested: Callable[[bytes, int], bool] | None = None,
    *,
    confine: bool = False,
) -> bytes:
    """The block of a container's member table, sorted, without duplicates, parents added.

    ``nested(name, mode)`` tells by the last part of its name which row is a container itself;
    ``confine`` rewrites symbolic links that lead out of the container. A hard link is shown as what
    it was linked to. What no extraction could make is left out, and ``meta["left_out"]`` says so.
    """
    described: dict[str, Any] = dict(meta or {})
    columns: dict[str, Array] = {}
    if _is_flat(rows):
        last = dict(zip(rows.names, range(len(rows.names)), strict=True))
        names = sorted(last)
        pick = np.array([last[name] for name in names], dtype=np.int64)
        replaced = _replaced(rows)
    elif (plain := plain_layout(rows)) is not None:
        names, pick, replaced = plain.names, plain.members, []
        _encode_tree(rows, plain, columns)
    else:
        replaced = _replaced(rows)
        extraction = Extraction(rows)
        links = _shown_links(rows, extraction, confine)
        layout = extraction.layout()
        names, pick = layout.names, layout.members
        _encode_tree(rows, layout, columns)
        _encode_hard_links(rows, extraction, layout, columns)
        _encode_links(links, layout, columns)
        if str(extraction.left_out):
            described["left_out"] = str(extraction.left_out)
        unshown = [rows.names[position] for position in extraction.unshown]
        _encode_blob("unshown", unshown, columns)
    described["rows"] = len(names)
    _encode_blob("replaced", replaced, columns)
    _encode_names(names, columns, described)
    _encode_places(rows, pick, columns, described)
    _encode_times_and_modes(rows, pick, columns, described)
    _encode_sparse(rows, pick, columns)
    packed = _picked(rows.packed, pick, 0)
    if rows.sums:
        _encode_sums(rows, pick, columns)
    if nested is not None:
        modes, stored = _modes(rows, pick).tolist(), (packed == 0).tolist()
        found = [r for r, name in enumerate(names) if stored[r] and nested(name, modes[r])]
        if found:
            columns["nested"] = smallest(np.array(found, dtype=np.int64))
    return pack(columns, described)


def _is_flat(rows: MemberRows) -> bool:
    """Whether nothing can lie in anything else, and each name is shown as it is: as in ImageNet's
    tars."""
    names = rows.names
    if rows.hardlinks or rows.links or rows.renamed or rows.refused or b"/" in b"".join(names):
        return False
    odd = not {b"", b".", b".."}.isdisjoint(names) or max(map(len, names), default=0) > NAME_MAX
    return not odd and not any(map(stat.S_ISDIR, set(rows.modes)))


def _encode_tree(rows: MemberRows, layout: Layout, columns: dict[str, Array]) -> None:
    """What lies in what, where there is any directory."""
    if len(layout.names) and (layout.parents.any() or _any_directory(rows, layout.members)):
        columns["parents"] = smallest(layout.parents)
        columns["below"] = smallest(layout.below)


def _any_directory(rows: MemberRows, pick: Array) -> bool:
    return bool((_modes(rows, pick) & 0o170000 == stat.S_IFDIR).any())


def _picked(column: list[int], pick: Array, implied: int) -> Array:
    """The values of a column in the order of the table; ``implied`` for directories without a
    member."""
    if not len(column):
        return np.full(len(pick), implied, dtype=np.int64)
    values = np.array(column, dtype=np.int64)[pick]
    values[pick < 0] = implied
    return values


def _modes(rows: MemberRows, pick: Array) -> Array:
    return _picked(rows.modes, pick, DIRECTORY_MODE)


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
    """The longest prefix and suffix that all of these names share, not overlapping in the
    shortest."""
    if not names:
        return b"", b""
    prefix = _common_prefix(min(names), max(names))
    shortest = min(map(len, names))
    suffix = names[0][max(len(prefix), len(names[0]) - shortest + len(prefix)) :]
    for name in names:
        while not name.endswith(suffix):
            suffix = suffix[1:]
    return prefix, suffix


def _encode_places(
    rows: MemberRows, pick: Array, columns: dict[str, Array], meta: dict[str, Any]
) -> None:
    """A directory that no member is has its header and its data at 0, where no member can have
    both."""
    offsets, headers = _picked(rows.offsets, pick, 0), _picked(rows.headers, pick, 0)
    meta["unit"] = 512 if not (offsets % 512).any() else 1
    columns["offsets"] = smallest(offsets // meta["unit"])
    columns["sizes"] = smallest(_picked(rows.sizes, pick, 0))
    if rows.sums:
        columns["leads"] = smallest(offsets - headers)
    elif (headers != np.maximum(offsets - 512, 0)).any():
        columns["headers"] = smallest(headers)


def _encode_times_and_modes(
    rows: MemberRows, pick: Array, columns: dict[str, Array], meta: dict[str, Any]
) -> None:
    mtimes = _picked(rows.mtimes, pick, 0)
    _fill_implied(mtimes, pick, columns)
    base = int(mtimes.min()) if len(mtimes) else 0
    tick = 1 if (mtimes % 1_000_000_000).any() else 1_000_000_000
    meta["mtime"], meta["tick"] = base, tick
    if len(mtimes) and (mtimes != base).any():
        columns["mtimes"] = smallest(
            (mtimes.astype(np.uint64) - np.uint64(base % (1 << 64))) // np.uint64(tick)
        )
    modes = _modes(rows, pick)
    meta["mode"] = int(modes[0]) if len(modes) else FILE_MODE
    if len(modes) and (modes != modes[0]).any():
        columns["modes"] = smallest(modes)


def _fill_implied(mtimes: Array, pick: Array, columns: dict[str, Array]) -> None:
    """A directory that no member is has the time of the youngest that lies in it."""
    implied = pick < 0
    if not implied.any():
        return
    mtimes[implied] = np.iinfo(np.int64).min
    parents = (columns["parents"].astype(np.int64) - 1).tolist()
    is_implied, times = implied.tolist(), mtimes.tolist()
    for row in range(len(times) - 1, -1, -1):
        parent = parents[row]
        if parent >= 0 and is_implied[parent]:
            times[parent] = max(times[parent], times[row])
    mtimes[:] = times
    mtimes[mtimes == np.iinfo(np.int64).min] = 0


def _encode_hard_links(
    rows: MemberRows, extraction: Extraction, layout: Layout, columns: dict[str, Array]
) -> None:
    """``hard``: rows that share their content with another, ``hard_owners``: the first row of each.

    And those that are left of a file whose own name was given to another, or whose name leads
    through a link: their header has another name.
    """
    owners = set(extraction.owners.values())
    if not owners and not rows.renamed:
        return
    sharing: dict[int, list[int]] = {}
    for row, position in enumerate(layout.members.tolist()):
        if position in owners or position in rows.renamed:
            sharing.setdefault(position, []).append(row)
    pairs = [
        (row, same[0])
        for position, same in sharing.items()
        if len(same) > 1
        or position in rows.renamed
        or extraction.name(int(layout.nodes[same[0]])) != sanitize_name(rows.names[position])
        for row in same
    ]
    if pairs:
        columns["hard"] = smallest(np.array([row for row, _ in pairs], dtype=np.int64))
        columns["hard_owners"] = smallest(np.array([first for _, first in pairs], dtype=np.int64))


def _shown_links(rows: MemberRows, extraction: Extraction, confine: bool) -> dict[int, bytes]:
    """Node -> target of the symbolic link, as it is shown. Links that none can be shown of are
    removed."""
    nodes = extraction.linked() if rows.links else []
    found = {node: rows.links[extraction.member(node)] for node in nodes}
    if not confine:
        return found
    targets = {extraction.name(node): target for node, target in found.items()}
    shown = {}
    for node, name in zip(found, list(targets), strict=True):
        target = confine_link(name, found[node], targets)
        if len(target) < PATH_MAX:
            shown[node] = target
        else:
            position = extraction.member(node)
            extraction.leave_out(NO_TARGET, position)
            extraction.remove(node)
    return shown


def _encode_links(links: dict[int, bytes], layout: Layout, columns: dict[str, Array]) -> None:
    if not links:
        return
    found = [(row, links[node]) for row, node in enumerate(layout.nodes.tolist()) if node in links]
    columns["linked"] = smallest(np.array([row for row, _ in found], dtype=np.int64))
    columns["link_ends"] = smallest(np.cumsum([len(target) for _, target in found]))
    columns["link_names"] = np.frombuffer(b"".join(t for _, t in found), dtype=np.uint8)


def _encode_sums(rows: MemberRows, pick: Array, columns: dict[str, Array]) -> None:
    """What is known of a zip's members alone."""
    columns["sums"] = _picked(rows.sums, pick, 0).astype(np.uint32)
    packed = _picked(rows.packed, pick, 0)
    if packed.any():
        columns["packed"] = smallest(packed)


def _replaced(rows: MemberRows) -> list[bytes]:
    """The files whose name a later one has too."""
    names = rows.names
    if any(b"/" in name or name == b"." for name in names):
        names = list(map(sanitize_name, names))
    if len(set(names)) == len(names):
        return []
    seen: set[bytes] = set()
    twice: list[bytes] = []
    for position in range(len(names) - 1, -1, -1):
        if position in rows.refused:
            continue
        name = names[position]
        if name in seen and stat.S_ISREG(rows.modes[position]):
            twice.append(name)
        seen.add(name)
    return twice[::-1]


def _encode_blob(name: str, names: list[bytes], columns: dict[str, Array]) -> None:
    """Names that are no rows, one after the other."""
    if names:
        columns[name] = np.frombuffer(b"".join(names), dtype=np.uint8)
        columns[name + "_ends"] = smallest(np.cumsum([len(each) for each in names]))


def _encode_sparse(rows: MemberRows, pick: Array, columns: dict[str, Array]) -> None:
    if not rows.sparse:
        return
    found = [(row, rows.sparse[p]) for row, p in enumerate(pick.tolist()) if p in rows.sparse]
    runs = [run for _, runs_of_row in found for run in runs_of_row]
    columns["sparse"] = smallest(np.array([row for row, _ in found], dtype=np.int64))
    columns["sparse_ends"] = smallest(np.cumsum([len(runs_of_row) for _, runs_of_row in found]))
    columns["sparse_starts"] = smallest(np.array([start for start, _ in runs], dtype=np.int64))
    columns["sparse_lengths"] = smallest(np.array([length for _, length in runs], dtype=np.int64))
