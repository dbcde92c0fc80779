"""The handlers: what they ask of the tree and the reader, and what they answer."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from typing import Any, cast

import pytest

from imagenetfs.counters import Counter
from imagenetfs.errors import (
    NoEntryError,
    SourceChangedError,
    SourceReadError,
    SourceRefusedError,
    SourceReplacedError,
    SourceUnreadableError,
)
from imagenetfs.fuse.attributes import KEEP_SECONDS
from imagenetfs.fuse.channel import Channel
from imagenetfs.fuse.operations import Operations
from imagenetfs.fuse.protocol import (
    ATTR,
    ATTR_HEAD,
    ENTRY_HEAD,
    OPEN_OUT,
    READ_IN,
    STATFS_OUT,
    XATTR_IN,
    XATTR_OUT,
    Opcode,
)
from imagenetfs.fuse.reply_pipe import SplicedReply
from imagenetfs.fuse.stats import REQUESTS, SharedStats
from imagenetfs.fuse.status_files import StatusFiles
from imagenetfs.index.archives import OUTER
from imagenetfs.read.access_guard import AccessGuard
from imagenetfs.read.backend import MIN_SPLICE_BYTES, FileExtent
from imagenetfs.read.reader import Reader
from imagenetfs.source.failures import FailureRegister
from imagenetfs.tree.inode import (
    ROOT,
    InodeKind,
    class_inode,
    inode,
    kind_of,
    live_handle,
)
from imagenetfs.tree.listing import DIRECTORY_MODE, FILE_MODE, Attributes, FixedListing
from imagenetfs.tree.node import DynamicFile, FixedFile, GeneratedFile
from imagenetfs.tree.tree import Tree

IMAGE = inode(InodeKind.FILE, 0, OUTER, 3)
CLASS = class_inode(2, 5)
LIVE, GENERATED = 8, 9
DATA = bytes(range(256)) * 200


class TreeOfOne:
    """A tree whose answers a test sets; what it was asked stands in ``asked``."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.names: dict[tuple[int, bytes], int] = {}
        self.error: Exception | None = None
        self.files: dict[int, object] = {}
        self.values: dict[bytes, bytes] = {}

    def _note(self, *what: object) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def lookup(self, parent: int, name: bytes) -> int:
        self._note("lookup", parent, name)
        if (parent, name) not in self.names:
            raise NoEntryError("nothing")
        return self.names[parent, name]

    def attributes(self, number: int) -> Attributes:
        self._note("attributes", number)
        mode = FILE_MODE if number in (IMAGE, LIVE, GENERATED) else DIRECTORY_MODE
        return Attributes(mode, 1234, 5_000_000_006, 2)

    def listing(self, number: int) -> FixedListing:
        self._note("listing", number)
        return FixedListing([(b"a", IMAGE), (b"b", GENERATED)], self.attributes)

    def live_file(self, number: int) -> object:
        return DynamicFile("status.json") if number == LIVE else None

    def class_of(self, number: int) -> tuple[int, int] | None:
        return (2, 5) if number == CLASS else None

    def file(self, number: int) -> object:
        return self.files.get(number)

    def link_target(self, number: int) -> bytes:
        self._note("link", number)
        return b"../target"

    def extended(self, number: int) -> dict[bytes, bytes]:
        return self.values

    def extended_value(self, number: int, name: bytes) -> bytes:
        self._note("xattr", number, name)
        return self.values[name]

    def bytes_of_archives(self) -> int:
        return 4096 * 10 + 1

    def archive_count(self) -> int:
        return 7


class ReaderOfOne:
    """Gives out what a test sets."""

    def __init__(self) -> None:
        self.found: FileExtent | bytes = b""
        self.asked: list[tuple[int, int, int]] = []

    def find(self, number: int, offset: int, length: int) -> FileExtent | bytes:
        self.asked.append((number, offset, length))
        return self.found


class FileOfOne:
    """An open file that holds DATA."""

    def read(self, offset: int, length: int) -> bytes:
        return DATA[offset : offset + length]

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        raise AssertionError("the channel alone pours")


class Piping:
    """A channel whose pipe notes what it is filled with, and takes it, or does not."""

    unique = 77

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.asked: list[tuple[object, ...]] = []

    @property
    def reply_pipe(self) -> Piping:
        return self

    def fill(self, *what: object) -> SplicedReply | None:
        self.asked.append(what)
        return SplicedReply(cast(int, what[3])) if self.works else None


class Texts:
    """The live files, each time another text."""

    def __init__(self) -> None:
        self.times = 0
        self.failures = FailureRegister()

    def contents(self, name: str) -> bytes:
        self.times += 1
        return b"%s, %d" % (name.encode(), self.times)


class Guard:
    """Refuses some inodes."""

    def __init__(self) -> None:
        self.refused: set[int] = set()
        self.refusals = [1]
        self.asked: list[int] = []

    def check(self, number: int) -> None:
        self.asked.append(number)
        if number in self.refused:
            raise SourceRefusedError("you may no longer read it.")


class Served:
    """Operations with all that stands behind them."""

    def __init__(self) -> None:
        self.tree, self.reader, self.texts, self.guard = (
            TreeOfOne(),
            ReaderOfOne(),
            Texts(),
            Guard(),
        )
        self.board = SharedStats()
        self.operations = Operations(
            cast(Tree, self.tree),
            cast(Reader, self.reader),
            cast(StatusFiles, self.texts),
            self.board,
            cast(AccessGuard, self.guard),
        )
        self.row = self.board.row(0)

    def ask(self, opcode: Opcode | int, number: int, arguments: bytes = b"") -> Any:
        answer = self.operations.answer(opcode, number, memoryview(arguments))
        assert self.row[Counter.BUSY_SINCE] == self.row[Counter.READ_SINCE] == 0
        return answer

    def count(self, kind: str) -> int:
        return self.row[Counter.FIRST_REQUEST + REQUESTS.index(kind)]


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.texts.failures.close()


def reading(offset: int, size: int) -> bytes:
    return READ_IN.pack(0, offset, size, 0, 0, 0, 0)


def attributes_of(answer: bytes) -> tuple[int, ...]:
    return ATTR.unpack(answer[-ATTR.size :])


# --- requests of any kind -------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [Opcode.FORGET, Opcode.BATCH_FORGET])
def test_forget_is_not_answered(served: Served, opcode: Opcode) -> None:
    assert served.ask(opcode, IMAGE) is None
    assert (served.count("forget"), served.count("other")) == (1, 0)


@pytest.mark.parametrize(
    ("opcode", "number"),
    [
        *((opcode, errno.EROFS) for opcode in (Opcode.WRITE, Opcode.UNLINK, Opcode.TMPFILE)),
        *((opcode, errno.ENOSYS) for opcode in (14, 27, 28, 4095, Opcode.INIT)),
    ],
)
def test_what_has_no_handler(served: Served, opcode: int, number: int) -> None:
    """OPEN (14) and OPENDIR (27) too: then the kernel stops to ask."""
    assert served.ask(opcode, IMAGE) == number
    assert served.count("other") == 1


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("directories", [False, True])
def test_kernels_that_want_an_answer(served: Served, files: bool, directories: bool) -> None:
    """Linux 4.2 to 5.0 asks for OPENDIR for good, and takes ENOSYS for an error."""
    served.operations.answer_opens(files, directories)
    opened, listed = served.ask(Opcode.OPEN, IMAGE), served.ask(Opcode.OPENDIR, CLASS)
    assert opened == (OPEN_OUT.pack(0, 2, 0) if files else errno.ENOSYS)
    assert listed == (OPEN_OUT.pack(0, 10, 0) if directories else errno.ENOSYS)
    assert served.ask(Opcode.RELEASE, IMAGE) == (b"" if files else errno.ENOSYS)
    assert served.ask(Opcode.RELEASEDIR, CLASS) == (b"" if directories else errno.ENOSYS)
    assert served.row[Counter.ERRORS] == 0


@pytest.mark.parametrize(
    ("length", "number"),
    [(255, errno.ENOENT), (256, errno.ENAMETOOLONG), (1023, errno.ENAMETOOLONG)],
)
def test_names_that_are_too_long(served: Served, length: int, number: int) -> None:
    """f_namelen is 255: what is longer is no name, and nothing is asked of the tree."""
    assert served.ask(Opcode.LOOKUP, CLASS, b"x" * length + b"\0") == number
    assert bool(served.tree.asked) is (number == errno.ENOENT)
    assert served.row[Counter.ERRORS] == 0


def test_the_last_word_is_answered(served: Served) -> None:
    assert served.ask(Opcode.DESTROY, 0) == b""


@pytest.mark.expects_log("readlink", "the reason")
@pytest.mark.parametrize(
    ("kind", "number", "counted", "logged"),
    [
        (NoEntryError, errno.ENOENT, 0, 0),
        (SourceReplacedError, errno.EIO, 1, 0),
        (SourceRefusedError, errno.EACCES, 1, 0),
        (SourceUnreadableError, errno.EACCES, 1, 1),
        (SourceReadError, errno.EIO, 1, 1),
        (ZeroDivisionError, errno.EIO, 1, 1),
        (KeyError, errno.EIO, 1, 1),
    ],
)
def test_an_error_is_an_errno_and_told_where_it_is_news(
    served: Served,
    caplog: pytest.LogCaptureFixture,
    kind: type[Exception],
    number: int,
    counted: int,
    logged: int,
) -> None:
    served.tree.error = kind("the reason")
    assert served.ask(Opcode.READLINK, IMAGE) == number
    assert served.row[Counter.ERRORS] == counted
    assert len(caplog.records) == logged
    if logged:
        assert f"readlink({IMAGE:#x})" in caplog.text
    assert ("Traceback" in caplog.text) is (kind in (ZeroDivisionError, KeyError))


@pytest.mark.expects_log("cannot read")
def test_a_file_that_fails_again_and_again_is_told_once_and_counted(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (b"a.tar", b"a.tar", b"b.tar"):
        served.tree.error = SourceReadError(f"cannot read {path.decode()}", path)
        assert served.ask(Opcode.READLINK, IMAGE) == errno.EIO
    assert len(caplog.records) == 2
    assert [failure.count for failure in served.texts.failures.all()] == [2, 1]


@pytest.mark.expects_log("answered with <class")
def test_an_answer_of_a_wrong_type_never_reaches_the_kernel(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.tree, "link_target", lambda number: "text")
    assert served.ask(Opcode.READLINK, IMAGE) == errno.EIO
    assert "answered with <class 'str'>" in caplog.text
    assert served.row[Counter.ERRORS] == 1


def test_a_worker_is_seen_to_be_busy_while_it_answers(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(number: int) -> bytes:
        seen.append((served.row[Counter.BUSY_SINCE], served.row[Counter.READ_SINCE]))
        return b"x"

    monkeypatch.setattr(served.tree, "link_target", look)
    served.ask(Opcode.READLINK, IMAGE)
    assert seen[0][0] > 0
    assert seen[0][1] == 0


def test_another_worker_counts_in_its_own_row(served: Served) -> None:
    served.operations.serve_as(3)
    served.ask(Opcode.READLINK, IMAGE)
    assert served.count("readlink") == 0
    served.row = served.board.row(3)
    assert served.count("readlink") == 1


# --- names and attributes -------------------------------------------------------------------------


def test_a_name_is_looked_up(served: Served) -> None:
    served.tree.names[CLASS, b"n1.JPEG"] = IMAGE
    answer = served.ask(Opcode.LOOKUP, CLASS, b"n1.JPEG\0")
    assert ENTRY_HEAD.unpack_from(answer) == (IMAGE, 0, KEEP_SECONDS, KEEP_SECONDS, 0, 0)
    assert attributes_of(answer)[:2] == (IMAGE, 1234)
    assert served.guard.asked == [CLASS, IMAGE]
    assert served.count("lookup") == 1


@pytest.mark.parametrize("refused", [CLASS, IMAGE])
def test_what_may_not_be_read_is_not_found_out_about(served: Served, refused: int) -> None:
    served.tree.names[CLASS, b"n1.JPEG"] = IMAGE
    served.guard.refused = {refused}
    assert served.ask(Opcode.LOOKUP, CLASS, b"n1.JPEG\0") == errno.EACCES
    assert ("attributes", IMAGE) not in served.tree.asked


def test_a_lookup_in_a_class_has_its_split_indexed(served: Served) -> None:
    """When the name has been looked up, and also where there is none: the class was asked for."""
    seen = []
    served.board.alarm = lambda: seen.append(list(served.tree.asked))
    assert served.ask(Opcode.LOOKUP, CLASS, b"nothing\0") == errno.ENOENT
    assert served.board.touched() == [2]
    assert seen == [[("lookup", CLASS, b"nothing")]]


def test_a_lookup_elsewhere_has_nothing_indexed(served: Served) -> None:
    served.tree.names[ROOT, b"x"] = 2
    served.ask(Opcode.LOOKUP, ROOT, b"x\0")
    assert served.board.touched() == []


def test_a_live_file_is_another_inode_each_time(served: Served) -> None:
    served.tree.names[ROOT, b"status.json"] = LIVE
    inodes = []
    for _ in range(2):
        answer = served.ask(Opcode.LOOKUP, ROOT, b"status.json\0")
        number, _, name, attributes, *_ = ENTRY_HEAD.unpack_from(answer)
        assert (name, attributes) == (0, 0)  # asked for again each time
        assert kind_of(number) == InodeKind.LIVE
        assert attributes_of(answer)[1] == len(b"status.json, 1")
        inodes.append(number)
    assert inodes[0] != inodes[1]
    texts = [served.ask(Opcode.READ, number, reading(0, 100)) for number in inodes]
    assert texts == [b"status.json, 1", b"status.json, 2"]
    assert served.ask(Opcode.READ, inodes[0], reading(7, 4)) == b"json"
    assert served.ask(Opcode.READ, inodes[0], reading(14, 4)) == b""


def test_a_live_file_s_attributes_are_those_of_its_text(served: Served) -> None:
    handle = served.board.keep_text(0, b"x" * 777)
    number = InodeKind.LIVE << 60 | handle
    assert live_handle(number) == handle
    answer = served.ask(Opcode.GETATTR, number)
    fields = attributes_of(answer)
    assert (fields[1], stat.S_ISREG(fields[9])) == (777, True)
    assert ("attributes", number) not in served.tree.asked


@pytest.mark.expects_log("this file was opened too long ago; open it")
def test_a_text_that_has_given_way(served: Served) -> None:
    assert served.ask(Opcode.READ, InodeKind.LIVE << 60 | 64, reading(0, 10)) == errno.EIO


@pytest.mark.parametrize(("number", "keep"), [(IMAGE, KEEP_SECONDS), (LIVE, 0)])
def test_attributes_are_kept_but_those_of_what_changes(
    served: Served, number: int, keep: int
) -> None:
    answer = served.ask(Opcode.GETATTR, number)
    assert ATTR_HEAD.unpack_from(answer)[0] == keep
    assert attributes_of(answer)[3] == 5


def test_a_link(served: Served) -> None:
    assert served.ask(Opcode.READLINK, IMAGE) == b"../target"


# --- directories ----------------------------------------------------------------------------------


def test_a_directory_is_listed_in_pieces(served: Served) -> None:
    first = served.ask(Opcode.READDIRPLUS, ROOT, reading(0, 160))
    rest = served.ask(Opcode.READDIRPLUS, ROOT, reading(1, 4096))
    assert bytes(first).rstrip(b"\0").endswith(b"a")
    assert bytes(rest).rstrip(b"\0").endswith(b"b")
    assert len(served.ask(Opcode.READDIRPLUS, ROOT, reading(2, 4096))) == 0
    assert served.count("readdir") == 3
    assert served.guard.asked == [ROOT] * 3


def test_a_class_is_touched_when_its_listing_begins(served: Served) -> None:
    served.ask(Opcode.READDIRPLUS, CLASS, reading(1, 4096))
    assert served.board.touched() == []
    served.ask(Opcode.READDIRPLUS, CLASS, reading(0, 4096))
    assert served.board.touched() == [2]


@pytest.mark.expects_log("readdirplus")
def test_a_class_whose_listing_fails_is_touched_too(served: Served) -> None:
    served.tree.error = SourceReadError("no")
    assert served.ask(Opcode.READDIRPLUS, CLASS, reading(0, 4096)) == errno.EIO
    assert served.board.touched() == [2]


def test_a_directory_that_may_not_be_read_is_not_listed(served: Served) -> None:
    served.guard.refused = {CLASS}
    assert served.ask(Opcode.READDIRPLUS, CLASS, reading(0, 4096)) == errno.EACCES
    assert served.tree.asked == []


# --- images ---------------------------------------------------------------------------------------


def test_an_image_is_read(served: Served) -> None:
    served.reader.found = b"jpeg"
    assert served.ask(Opcode.READ, IMAGE, reading(100, 4096)) == b"jpeg"
    assert served.reader.asked == [(IMAGE, 100, 4096)]
    assert served.row[Counter.BYTES] == 4
    assert served.row[Counter.IMAGES] == 0
    served.ask(Opcode.READ, IMAGE, reading(0, 4096))
    assert served.row[Counter.IMAGES] == 1


def test_an_image_that_may_not_be_read_is_not_looked_for(served: Served) -> None:
    served.guard.refused = {IMAGE}
    assert served.ask(Opcode.READ, IMAGE, reading(0, 4096)) == errno.EACCES
    assert served.reader.asked == []
    assert served.row[Counter.IMAGES] == 0


def extent(length: int) -> FileExtent:
    return FileExtent(FileOfOne(), 1024, length)


@pytest.mark.parametrize(("length", "piped"), [(MIN_SPLICE_BYTES - 1, 0), (MIN_SPLICE_BYTES, 1)])
def test_large_pieces_go_by_the_pipe(served: Served, length: int, piped: int) -> None:
    channel = Piping()
    served.operations.serve_as(0, cast(Channel, channel))
    served.reader.found = extent(length)
    answer = served.ask(Opcode.READ, IMAGE, reading(512, length))
    if piped:
        assert answer == SplicedReply(length)
        assert channel.asked == [(77, served.reader.found.file, 1024, length)]
    else:
        assert answer == DATA[1024 : 1024 + length]
        assert channel.asked == []
    assert served.row[Counter.BYTES] == length


def test_what_the_pipe_does_not_take_is_read(served: Served) -> None:
    served.operations.serve_as(0, cast(Channel, Piping(works=False)))
    served.reader.found = extent(MIN_SPLICE_BYTES)
    found = served.ask(Opcode.READ, IMAGE, reading(0, MIN_SPLICE_BYTES))
    assert found == DATA[1024 : 1024 + MIN_SPLICE_BYTES]
    assert served.row[Counter.BYTES] == MIN_SPLICE_BYTES


@pytest.mark.parametrize("length", [100, MIN_SPLICE_BYTES])
def test_a_wrong_header_fails_the_read(served: Served, length: int) -> None:
    class Replaced(FileOfOne):
        def read(self, offset: int, length: int) -> bytes:
            raise SourceReplacedError("another member stands there")

    served.operations.serve_as(0, cast(Channel, Piping(works=False)))
    served.reader.found = FileExtent(Replaced(), 1024, length)
    assert served.ask(Opcode.READ, IMAGE, reading(0, length)) == errno.EIO
    assert served.row[Counter.BYTES] == 0


# --- files that are made --------------------------------------------------------------------------


class Growing:
    """Contents that are not what their size says."""

    def size(self) -> int:
        return 10

    def read(self, offset: int, length: int) -> bytes:
        return b"123"


@pytest.mark.parametrize(
    ("offset", "size", "data"),
    [(0, 4096, b"0123456789"), (8, 4096, b"89"), (2, 3, b"234"), (10, 1, b"")],
)
def test_a_generated_file(served: Served, offset: int, size: int, data: bytes) -> None:
    served.tree.files[GENERATED] = FixedFile(GeneratedFile(lambda: b"0123456789"))
    assert served.ask(Opcode.READ, GENERATED, reading(offset, size)) == data
    assert served.row[Counter.BYTES] == len(data)
    assert served.row[Counter.IMAGES] == 0


@pytest.mark.expects_log("a generated file changed its length")
def test_a_generated_file_of_another_length_is_no_short_read(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.tree.files[GENERATED] = FixedFile(Growing())
    assert served.ask(Opcode.READ, GENERATED, reading(0, 4096)) == errno.EIO
    assert "changed its length" in caplog.text
    assert issubclass(SourceChangedError, SourceReadError)


@pytest.mark.expects_log("failed")
def test_a_live_file_is_never_read_by_its_fixed_inode(served: Served) -> None:
    served.tree.files[LIVE] = DynamicFile("status.json")
    assert served.ask(Opcode.READ, LIVE, reading(0, 4096)) == errno.EIO
    assert served.row[Counter.ERRORS] == 1


# --- the rest -------------------------------------------------------------------------------------


def test_statfs_counts_the_archives(served: Served) -> None:
    assert STATFS_OUT.unpack(served.ask(Opcode.STATFS, ROOT)) == (
        11,
        0,
        0,
        7,
        0,
        4096,
        255,
        4096,
        0,
    )


def xattr(room: int, name: bytes = b"") -> bytes:
    return XATTR_IN.pack(room, 0) + name + b"\0"


def test_an_attribute_s_value_and_its_size(served: Served) -> None:
    name = b"user.imagenetfs.archive"
    served.tree.values = {name: b"t.tar"}
    assert XATTR_OUT.unpack(served.ask(Opcode.GETXATTR, IMAGE, xattr(0, name))) == (5, 0)
    assert served.ask(Opcode.GETXATTR, IMAGE, xattr(5, name)) == b"t.tar"
    assert served.ask(Opcode.GETXATTR, IMAGE, xattr(4, name)) == errno.ERANGE
    assert served.tree.asked[-1] == ("xattr", IMAGE, name)
    assert served.row[Counter.ERRORS] == 0


def test_the_attributes_names(served: Served) -> None:
    served.tree.values = {b"user.a": b"1", b"user.bc": b"2"}
    text = b"user.a\0user.bc\0"
    assert served.ask(Opcode.LISTXATTR, IMAGE, XATTR_IN.pack(4096, 0)) == text
    assert XATTR_OUT.unpack(served.ask(Opcode.LISTXATTR, IMAGE, XATTR_IN.pack(0, 0))) == (15, 0)
    assert served.ask(Opcode.LISTXATTR, IMAGE, XATTR_IN.pack(14, 0)) == errno.ERANGE
    served.tree.values = {}
    assert served.ask(Opcode.LISTXATTR, IMAGE, XATTR_IN.pack(4096, 0)) == b""
