"""A node's own mount for all users: an account with access mounts, the kernel lets
in whom the source would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.bench import Bench, until
from tests.helpers.users import GROUP, USERS, Elsewhere

pytestmark = pytest.mark.timeout(120)

CLOSED, OTHERS = 24100, 24200
"""The group that has access to the one closed archive; groups that mean nothing."""


@pytest.fixture
def elsewhere(tmp_path: Path, sample: Path) -> Iterator[Elsewhere]:
    for closed in (tmp_path, tmp_path.parent, sample.parent):
        closed.chmod(0o755)
    elsewhere = Elsewhere(tmp_path / "scratch")
    try:
        yield elsewhere
    finally:
        elsewhere.close()


@pytest.fixture
def at(at: Bench, elsewhere: Elsewhere, tmp_path: Path) -> Iterator[Bench]:
    """The bench of an account that has access, where ``/etc/fuse.conf`` allows others."""
    account = USERS["ben"]
    # `ben` is the account: of the group that has access, as nobody who reads here.
    at.before = as_user(elsewhere, account, GROUP, CLOSED)
    at.identity = elsewhere.identity_of(account, GROUP, CLOSED)
    for name in ("home", "mnt", "run"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, account, GROUP)
    (tmp_path / "site.toml").touch()
    at.surroundings = {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "home"),
        "IMAGENETFS_SITE_CONFIG": str(tmp_path / "site.toml"),
    }
    for name in ("CACHE", "STATE", "CONFIG"):
        at.surroundings[f"XDG_{name}_HOME"] = str(tmp_path / "home" / name)
    conf = tmp_path / "fuse.conf"
    conf.write_text("user_allow_other\n")
    conf.chmod(0o644)
    bind = ["mount", "--bind", str(conf), "/etc/fuse.conf"]
    subprocess.run([*elsewhere.front("root"), *bind], check=True, timeout=30)
    try:
        yield at
    finally:
        subprocess.run(
            [*elsewhere.front("root"), "umount", "--lazy", str(tmp_path / "mnt")],
            check=False,
            stderr=subprocess.DEVNULL,
            timeout=30,
        )


def as_user(elsewhere: Elsewhere, uid: int, gid: int, *groups: int) -> list[str]:
    which = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return [*elsewhere.front("root"), "setpriv", f"--reuid={uid}", f"--regid={gid}", which]


@pytest.fixture
def source(sample: Path, tmp_path: Path) -> Path:
    """val's archive for the group CLOSED alone, train's for everybody."""
    copy = tmp_path / "imagenet"
    shutil.copytree(sample / "ILSVRC2012", copy / "ILSVRC2012", symlinks=True)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    closed = next((copy / "ILSVRC2012").glob("*img_val*.tar"))
    os.chown(closed, 0, CLOSED)
    closed.chmod(0o640)
    return copy


Can = Callable[..., bool]


def reading(at: Bench, elsewhere: Elsewhere, mountpoint: Path) -> Can:
    """Whether somebody of these groups can read an image of a split, below a directory of the
    mount.
    """

    def can_read(split: str, uid: int, gid: int, *groups: int) -> bool:
        top = mountpoint / "ILSVRC2012" / split
        script = f"cat $(find {top} -name '*.JPEG' | head -1) < /dev/null | head -c 9 | wc -c"
        done = subprocess.run(
            [*as_user(elsewhere, uid, gid, *groups), "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert int(done.stdout) == 9 or "Permission denied" in done.stderr, done
        return int(done.stdout) == 9

    return can_read


def test_each_user_reads_what_the_sources_modes_let_him(
    at: Bench, elsewhere: Elsewhere, source: Path
) -> None:
    mountpoint = at.directory / "mnt"
    done = at.call("mount", "-o", "allow_other", source, mountpoint)
    assert done.returncode == 0, done.stderr
    can_read = reading(at, elsewhere, mountpoint)
    many = range(OTHERS, OTHERS + 40)
    ana = (USERS["ana"], GROUP)
    assert not can_read("val", *ana)
    assert not can_read("val", *ana, *many)
    assert not can_read("val", USERS["ben"], GROUP), "nor the account itself, without its group"
    assert can_read("val", *ana, CLOSED)
    assert can_read("val", *ana, *many, CLOSED), "the kernel knows all of a caller's groups"
    assert can_read("val", USERS["ana"], CLOSED)
    assert can_read("val", 0, 0), "root, as on any file system"
    assert can_read("train", *ana), "another archive's rights are its own"
    assert at.call("umount", mountpoint).returncode == 0
    assert until(lambda: "fuse.imagenetfs" not in own_mounts(elsewhere, at.directory))


def test_what_is_open_to_all_is_shown_to_all(at: Bench, elsewhere: Elsewhere, sample: Path) -> None:
    mountpoint = at.directory / "mnt"
    assert at.call("mount", "-o", "allow_other", sample, mountpoint).returncode == 0
    words = [*as_user(elsewhere, USERS["ana"], GROUP), "ls", str(mountpoint / "ILSVRC2012")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert "train" in done.stdout
    assert at.call("umount", mountpoint).returncode == 0


def test_where_users_may_not_let_others_in(at: Bench, sample: Path) -> None:
    (at.directory / "fuse.conf").write_text("# user_allow_other\n")
    done = at.call("mount", "-o", "allow_other", sample, at.directory / "mnt")
    assert done.returncode == 31
    assert "an administrator has added the line user_allow_other to /etc/fuse.conf" in done.stderr
    assert "/dev/fuse" not in done.stderr


def test_archives_with_rights_of_their_own(at: Bench, elsewhere: Elsewhere, source: Path) -> None:
    """S14: each for whom its own archive is, below a closed directory too; new rights count in
    time.
    """
    train = next((source / "ILSVRC2012").glob("*img_train.tar"))
    val = next((source / "ILSVRC2012").glob("*img_val.tar"))
    os.chown(train, USERS["ben"], OTHERS)
    train.chmod(0o640)
    mountpoint = at.directory / "mnt"
    done = at.call("mount", "-o", "allow_other", "--revalidate", "1s", source, mountpoint)
    assert done.returncode == 0, done.stderr
    can_read, ana = reading(at, elsewhere, mountpoint), (USERS["ana"], GROUP)
    reads = {
        groups: (can_read("train", *ana, *groups), can_read("val", *ana, *groups))
        for groups in ((), (CLOSED,), (OTHERS,), (CLOSED, OTHERS))
    }
    assert reads == {
        (): (False, False),
        (CLOSED,): (False, True),
        (OTHERS,): (True, False),
        (CLOSED, OTHERS): (True, True),
    }
    os.chown(val, 0, OTHERS)
    assert until(lambda: not can_read("val", *ana, CLOSED), 5.0)
    assert not can_read("val", *ana, CLOSED, OTHERS), "nor may the account itself any more"
    val.chmod(0o644)
    assert until(lambda: can_read("val", *ana), 5.0)
    # Behind a directory that is closed to all but one group, both must be passed.
    val.parent.chmod(0o750)
    os.chown(val.parent, 0, CLOSED)
    assert until(lambda: not can_read("val", *ana), 5.0)
    assert can_read("val", *ana, CLOSED)
    assert not can_read("train", *ana, CLOSED, OTHERS), "one node of the tree has one group"
    assert at.call("umount", mountpoint).returncode == 0


def _shown(at: Bench, elsewhere: Elsewhere, script: str, *who: int) -> str:
    """What a script of somebody else sees in the mount."""
    words = [*as_user(elsewhere, *who), "sh", "-c", f"cd {at.directory / 'mnt'} && {script}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def _tells(at: Bench, elsewhere: Elsewhere, path: str, *who: int) -> bool:
    """Whether somebody reads a file, or the names in a directory, of the mount."""
    script = f"if [ -d {path} ]; then ls {path}; else cat {path}; fi | wc -c"
    return int(_shown(at, elsewhere, script, *who)) > 0


VERSION_FILES = ("words.txt", "labels.txt", "LOC_synset_mapping.txt", "imagenet_class_index.json")


def _close(path: Path, mode: int = 0o640) -> None:
    os.chown(path, 0, CLOSED)
    path.chmod(mode)


def test_what_is_made_of_closed_files_is_closed(
    at: Bench, elsewhere: Elsewhere, sample: Path
) -> None:
    """S14: lists of images and of labels, and directories of classes from the first call on."""
    copy = at.directory / "imagenet"
    shutil.copytree(sample, copy, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    _close(next((copy / "ILSVRC2012").glob("*img_val.tar")))
    _close(next((copy / "ILSVRC2012").glob("*img_train.tar")))
    _close(next((copy / "ILSVRC2012").glob("*devkit_t12")), 0o750)
    _close(copy / "tiny-imagenet-200", 0o750)
    npz = next(path for path in copy.rglob("*32_train*") if path.is_dir())
    _close(npz, 0o750)
    tars = sorted((copy / "winter21_whole").rglob("n*.tar"))
    _close(tars[0])
    mountpoint = at.directory / "mnt"
    done = at.call("mount", "-o", "allow_other", "--revalidate", "30m", copy, mountpoint)
    assert done.returncode == 0, done.stderr
    ana, member = (USERS["ana"], GROUP), (USERS["ana"], GROUP, CLOSED)
    classes = {
        split: sorted(_shown(at, elsewhere, f"ls {split}", *ana).split())
        for split in ("ILSVRC2012/train", "ILSVRC2012/val", "Imagenet32/train")
    }
    tiny = sorted(_shown(at, elsewhere, "ls tiny-imagenet-200/train", *ana).split())
    assert tiny
    top = "winter21_whole/train"
    made = [
        f"{top}/{tars[0].stem}",
        "winter21_whole/meta/train.txt",
        *(f"ILSVRC2012/{name}" for name in (*VERSION_FILES, "meta.bin")),
        "ILSVRC2012/meta/train.txt",
        "ILSVRC2012/meta/val.txt",
        "Imagenet32/meta/train.txt",
        "tiny-imagenet-200/meta/train.txt",
        "tiny-imagenet-200/meta/val.txt",
        *(f"{split}/{names[0]}" for split, names in classes.items()),
        f"tiny-imagenet-200/train/{tiny[0]}",
    ]
    assert {path: _tells(at, elsewhere, path, *ana) for path in made} == dict.fromkeys(made, False)
    assert {path: _tells(at, elsewhere, path, *member) for path in made} == dict.fromkeys(
        made, True
    )
    beside = f"{top}/{tars[1].stem}"
    assert _tells(at, elsewhere, beside, *ana)
    assert _tells(at, elsewhere, "winter21_whole/wnids.txt", *ana), "names of classes may be seen"
    ask = "import os, sys; print(os.getxattr(sys.argv[1], 'user.imagenetfs.' + sys.argv[2]))"
    said = [
        _shown(at, elsewhere, f'/usr/bin/python3 -c "{ask}" {beside} {what}', *ana)
        for what in ("wnid", "words")
    ]
    assert said == [f"{tars[1].stem.encode()!r}\n", ""], "the words are the closed devkit's"
    assert at.call("umount", mountpoint).returncode == 0


def own_mounts(elsewhere: Elsewhere, directory: Path) -> str:
    table = elsewhere.mount_table().splitlines()
    return "\n".join(line for line in table if str(directory) in line)


def test_nobody_else_without_being_asked_in(at: Bench, elsewhere: Elsewhere, source: Path) -> None:
    mountpoint = at.directory / "mnt"
    assert at.call("mount", source, mountpoint).returncode == 0
    for uid, gid in ((USERS["ana"], GROUP), (0, 0)):
        words = [*as_user(elsewhere, uid, gid), "ls", str(mountpoint)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert "Permission denied" in done.stderr
    assert at.call("umount", mountpoint).returncode == 0
