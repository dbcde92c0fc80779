"""A state machine over a source, its library and its mount, against a model of our own.

What may be answered is what the model says. Of a file of the source that has changed since a face
was opened, EIO may be the answer too; of one that is closed, EACCES; of all others nothing but what
the model says, with every byte of it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from PIL import Image

from tests.prove import reference, world
from tests.prove.faces import REVALIDATE, Face, Library, Mount
from tests.prove.reference import FILE, LINK, Node

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
"""It ends a hang."""

STEPS: dict[str, int] = {}
"""How often each rule has been run, in this process."""

_numbers = itertools.count()
_picks = st.integers(0, 2**32 - 1)


class View:
    """One face, and what it is to show: the source as it was when it was opened."""

    def __init__(self, face: Face, nodes: reference.Nodes) -> None:
        self.face = face
        self.nodes = nodes
        self.names = reference.children(nodes)
        self.files = sorted(p for p, n in nodes.items() if n.kind == FILE)
        self.paths = sorted(nodes)
        self.changed: set[str] = set()
        self.gone: set[str] = set()
        self.closed: set[str] = set()
        self.opened: set[str] = set()
        """May be read again; each process finds that out at its own next look."""
        self.first: dict[str, bytes] = {}
        """Of what the model does not say the bytes: those of the first reading."""

    def _answer(self, of: set[str], question: Callable[[], T]) -> T:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                return question()
            except PermissionError:
                if not of & self.opened or of & self.closed or time.monotonic() > deadline:
                    raise
            time.sleep(REVALIDATE / 4)

    def ask(self, of: set[str], question: Callable[[], T], path: str = "") -> T | None:
        """The answer; None for an error that what has happened to ``of`` allows. ``path``: what is
        asked for. A directory of archives/ is read when it is first listed: what has gone before
        that is not in it.
        """
        try:
            return self._answer(of, question)
        except OSError as error:
            allowed = set()
            if of & self.changed or self.is_lost(path):
                allowed.add(errno.EIO)
            if of & self.closed:
                allowed.add(errno.EACCES)
            if of & self.gone and path.startswith("archives/"):
                allowed.add(errno.ENOENT)
            if error.errno not in allowed:
                raise AssertionError(
                    f"{type(self.face).__name__}: {error!r}; allowed: {sorted(allowed)} "
                    f"(of {sorted(of)}, changed {self.changed}, closed {self.closed})"
                ) from error
            return None

    def is_lost(self, path: str) -> bool:
        """Whether it fails for want of anything whole."""
        return path in self.nodes and self.nodes[path].lost

    def whole(self, path: str, node: Node) -> bytes | None:
        """All bytes of a file, as the model or the first reading has them."""
        if node.pixels is None and not node.opaque:
            return node.data
        if path not in self.first:
            size = self.ask(node.of, lambda: self.face.stat(path).size, path)
            if size is None:
                return None
            data = self.ask(node.of, lambda: self.face.read(path, 0, size + 1), path)
            if data is None:
                return None
            assert len(data) == size, path
            if node.pixels is not None:
                with Image.open(io.BytesIO(data)) as image:
                    assert image.convert("RGB").tobytes() == node.pixels, path
            self.first[path] = data
        return self.first[path]


class Machine(RuleBasedStateMachine):
    """``faces``: which of them a run may have.

    No rule has a precondition: what is drawn must not depend on what the system answered.
    """

    faces: tuple[str, ...] = ("library", "mount", "both")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="machine-"))
        self.directory.chmod(0o755)
        self.views: list[View] = []
        self.closed: set[str] = set()

    @initialize(seed=_picks)
    def begin(self, seed: int) -> None:
        """A source, a cache or none, and the faces of this run."""
        choose = random.Random(seed)
        self.source = world.write(self.directory / "source", seed % 1000)
        self.cache = self.directory / "cache" if choose.random() < 0.5 else None
        kind = self.faces[seed % len(self.faces)]
        self.kinds = ["library", "mount"] if kind == "both" else [kind]
        if self.cache:
            from imagenetfs.cache.directory import prepare

            prepare(self.cache)
        self.views = [self._open(name) for name in self.kinds]

    def _open(self, kind: str) -> View:
        nodes = reference.tree_of(self.source)
        # A file of archives/ that is no tar or zip is known from its directory's first listing on.
        if (self.source / world.ARRAY).exists():
            nodes[f"archives/{world.ARRAY}"] = Node(FILE, of={world.ARRAY}, opaque=True)
        if kind == "library":
            return View(Library(self.source, self.cache), nodes)
        mountpoint = self.directory / f"mnt{next(_numbers)}"
        return View(Mount(self.source, mountpoint, self.cache), nodes)

    def teardown(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory)
            for view in self.views:
                stack.callback(view.face.close)

    def _chosen(self, pick: int, name: str) -> tuple[random.Random, View]:
        STEPS[name] = STEPS.get(name, 0) + 1
        choose = random.Random(pick)
        return choose, choose.choice(self.views)

    # --- what is asked ----------------------------------------------------------------------------

    @rule(pick=_picks)
    def read(self, pick: int) -> None:
        """A range at random, beyond the end too, or the whole."""
        choose, view = self._chosen(pick, "read")
        for path in choose.sample(view.files, 3):
            node = view.nodes[path]
            data = view.whole(path, node)
            if data is None:
                continue
            offset = choose.choice([0, 0, choose.randrange(len(data) + 600)])
            length = choose.choice([len(data) + 1, choose.randrange(1, 8192), 1, 131_072])
            got = view.ask(node.of, partial(view.face.read, path, offset, length), path)
            assert got is None or got == data[offset : offset + length], (path, offset, length)

    @rule(pick=_picks)
    def map(self, pick: int) -> None:
        """A mapped file: of what has changed a fault would end this process."""
        import mmap

        choose, view = self._chosen(pick, "map")
        path = choose.choice(view.files)
        node = view.nodes[path]
        if not isinstance(view.face, Mount) or node.of & (view.changed | view.closed):
            return
        data = view.whole(path, node)
        if not data:
            return
        with open(view.face.one.mountpoint / path, "rb") as file:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                for _ in range(3):
                    at = choose.randrange(len(data))
                    assert mapped[at : at + 5000] == data[at : at + 5000], (path, at)

    @rule(pick=_picks)
    def list(self, pick: int) -> None:
        """The names of a directory, by buffers of any size and from any place."""
        choose, view = self._chosen(pick, "list")
        path = choose.choice(sorted(view.names))
        found = view.ask(view.nodes[path].of, lambda: view.face.names(path, choose), path)
        if found is not None:
            assert not view.is_lost(path), path
            missing = view.names[path] - set(found)
            may_miss = {name for name in missing if f"{path}/{name}"[9:] in view.gone}
            assert len(found) == len(set(found)), path
            assert set(found) | may_miss == view.names[path], path

    @rule(pick=_picks)
    def stat(self, pick: int) -> None:
        """Kind, size, time, and the target of a link."""
        choose, view = self._chosen(pick, "stat")
        for path in choose.sample(view.paths, 5):
            node = view.nodes[path]
            seen = view.ask(node.of, partial(view.face.stat, path), path)
            if seen is None:
                continue
            assert seen.kind == node.kind, (path, seen)
            if node.kind == FILE and node.pixels is None and not node.opaque:
                assert seen.size == len(node.data), (path, seen)
            if node.mtime is not None and node.kind == FILE:
                assert seen.mtime == node.mtime, (path, seen)
            if node.kind == LINK:
                assert view.face.link(path) in (None, node.data), path

    @rule(pick=_picks)
    def miss(self, pick: int) -> None:
        """A name that is not there."""
        choose, view = self._chosen(pick, "miss")
        above = choose.choice(sorted(view.names))
        name = choose.choice(["nothing", "n99999999", "x" * 255, "a\nb", "-", "\udcff"])
        try:
            view.face.stat(f"{above}/{name}" if above else name)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            view.ask(view.nodes[above].of, lambda: view.face.stat(f"{above}/{name}"), above)
        else:
            raise AssertionError(f"{above}/{name} is there")

    @rule(pick=_picks)
    def attributes(self, pick: int) -> None:
        """Where an image stands: there it is, byte for byte."""
        choose, view = self._chosen(pick, "attributes")
        path = choose.choice(view.files)
        node = view.nodes[path]
        found = view.ask(node.of, lambda: view.face.attributes(path), path)
        if not found:
            return
        (source,) = node.of
        assert found["source"] == source.encode(), path
        parts = path.split("/")
        if parts[0] != "archives":
            assert found["wnid"] == parts[2].encode(), path
            wnids = sorted(wnid.decode() for wnid in world.WNIDS)
            assert found["label"] == b"%d" % wnids.index(parts[2]), path
        if "offset" in found and node.pixels is None and source not in view.changed:
            at = int(found["offset"])
            stored = (self.source / source).read_bytes()[at : at + len(node.data)]
            assert stored == node.data, path

    # --- what happens -----------------------------------------------------------------------------

    @rule(pick=_picks)
    def forget(self, pick: int) -> None:
        """The kernel lets go of a file's pages."""
        choose, view = self._chosen(pick, "forget")
        path = choose.choice(view.files)
        view.ask(view.nodes[path].of, lambda: view.face.forget(path), path)

    @rule(pick=_picks)
    def evict(self, pick: int) -> None:
        """Files of the read cache go, or are cut, or a byte of them is another."""
        choose, _ = self._chosen(pick, "evict")
        if self.cache:
            with contextlib.suppress(FileNotFoundError):  # a server evicts, too
                self._evict(self.cache, choose)

    @staticmethod
    def _evict(cache: Path, choose: random.Random) -> None:
        files = sorted(p for p in cache.rglob("*") if p.is_file() and p.stat().st_size > 4096)
        for path in choose.sample(files, min(2, len(files))):
            match choose.randrange(3):
                case 0:
                    path.unlink()
                case 1:
                    os.truncate(path, choose.randrange(path.stat().st_size))
                case 2:
                    with path.open("r+b") as file:
                        file.seek(choose.randrange(path.stat().st_blocks * 512 or 1))
                        file.write(choose.randbytes(choose.choice([1, 4096])))

    @rule(pick=_picks)
    def kill(self, pick: int) -> None:
        """A worker is killed while it has no request."""
        choose, view = self._chosen(pick, "kill")
        view.face.kill(choose)

    @rule(pick=_picks)
    def anew(self, pick: int) -> None:
        """A face is closed and opened again: it shows the source as it is now."""
        choose, view = self._chosen(pick, "anew")
        if self.closed or choose.random() < 0.85:  # it is the dearest of all
            return
        for path in (world.ZIP, world.ARRAY):  # a zip that is cut has no directory
            if (self.source / path).exists() and path in view.changed:
                self._change(path, partial(world.replace, self.source, path, pick))
        splits = ("ILSVRC2012/train/", "ILSVRC2012/val/", "Imagenet8/val/")
        if not any(there.startswith(splits) for there in reference.tree_of(self.source)):
            return  # a source of no version is refused
        at = self.views.index(view)
        view.face.close()
        self.views[at] = self._open(self.kinds[at])

    # --- what happens to the source ---------------------------------------------------------------

    def _change(self, path: str, how: Callable[[], object]) -> None:
        """Each face has met the archive by then: before that, what stands there is what it is."""
        for view in self.views:
            for version in ("archives/", "I") if path not in view.changed else ():
                found = [
                    f for f in view.files if view.nodes[f].of == {path} and f.startswith(version)
                ]
                for file in found[:1]:
                    view.ask({path}, partial(view.face.stat, file), file)
        how()
        for view in self.views:
            view.changed.add(path)
            view.first.pop(f"archives/{path}", None)
            if not (self.source / path).exists():
                view.gone.add(path)

    def _there(self, choose: random.Random) -> str | None:
        return choose.choice([p for p in world.ARCHIVES if (self.source / p).exists()] or [None])

    @rule(pick=_picks)
    def touch(self, pick: int) -> None:
        """Nothing changes (S7): a time, a mode, an owner, another inode with the same contents."""
        choose, _ = self._chosen(pick, "touch")
        path = self._there(choose)
        if path is None or path in self.closed:
            return
        file = self.source / path
        match choose.randrange(4):
            case 0:
                os.utime(file, (1, choose.randrange(10**9)))
            case 1:
                file.chmod(choose.choice([0o400, 0o644, 0o777]))
            case 2:
                os.chown(file, -1, 4242 if os.geteuid() == 0 else -1)
            case 3:
                world.same_anew(self.source, path)

    def _one_to_harm(self, choose: random.Random) -> str | None:
        """An archive that is there and open; half of the time none, or little would be left."""
        path = self._there(choose)
        is_spared = path is None or path in self.closed or choose.random() < 0.5
        return None if is_spared else path

    @rule(pick=_picks)
    def change(self, pick: int) -> None:
        """An archive is replaced, cut or removed (S4)."""
        choose, _ = self._chosen(pick, "change")
        path = self._one_to_harm(choose)
        if path is None:
            return
        file = self.source / path
        match choose.randrange(3):
            case 0:
                self._change(path, lambda: world.replace(self.source, path, pick))
            case 1:
                cut = choose.randrange(file.stat().st_size)
                self._change(path, lambda: os.truncate(file, cut))
            case 2:
                self._change(path, file.unlink)

    @rule(pick=_picks)
    def close_archive(self, pick: int) -> None:
        """An archive may not be read any more: after a while nothing of it is given out (S8)."""
        choose, _ = self._chosen(pick, "close")
        path = self._one_to_harm(choose)
        if path is None:
            return
        self.closed.add(path)
        for view in self.views:
            view.closed.add(path)
        (self.source / path).chmod(0)
        for view in self.views:
            self._until(view, path, refused=True)

    @rule(pick=_picks)
    def open_archive(self, pick: int) -> None:
        """It may be read again, and all is as before."""
        choose, _ = self._chosen(pick, "open")
        if not self.closed:
            return
        path = choose.choice(sorted(self.closed))
        self.closed.remove(path)
        (self.source / path).chmod(0o644)
        for view in self.views:
            if self._until(view, path, refused=False):
                view.closed.discard(path)
                view.opened.add(path)

    def _until(self, view: View, path: str, *, refused: bool) -> bool:
        """Wait until a file of an archive is refused, or is not; False where that tells nothing."""
        found = ((f, view.nodes[f]) for f in view.files)
        # In the library a file that is made stays as it is.
        files = [f for f, n in found if n.of == {path} and (n.pixels or (n.mtime and n.data))]
        if path in view.changed or not files:
            return False
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            data = view.ask({path}, lambda: view.face.read(files[0], 0, 1))
            if (data is None) is refused:
                return True
            assert time.monotonic() < deadline, (path, "refused" if refused else "readable")
            time.sleep(REVALIDATE / 4)
