"""What the kernel keeps and what it asks again: counted by the server's own counters."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.mounts import Mounted


def counters(one: Mounted) -> dict[str, Any]:
    requests: dict[str, Any] = one.status()["counters"]["requests"]
    return requests


@pytest.fixture
def images(sample_mount: Mounted) -> list[Path]:
    found = sorted((sample_mount.root / "train").rglob("*.JPEG"))
    assert len(found) > 20
    return found


def read_plainly(path: Path) -> bytes:
    """Without Python's own open(), which asks whether a file is a terminal: an
    ioctl, and so a request.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1 << 24)
    finally:
        os.close(fd)


def test_a_second_reading_asks_the_server_nothing(
    sample_mount: Mounted, images: list[Path]
) -> None:
    first = [read_plainly(path) for path in images]
    sample_mount.status()
    before = counters(sample_mount)
    assert [read_plainly(path) for path in images] == first
    after = counters(sample_mount)
    of_status = {"lookup", "getattr", "read", "forget", "other"}
    assert {name for name in after if after[name] != before[name]} <= of_status
    assert sum(after.values()) - sum(before.values()) < 10


def test_a_second_listing_asks_the_server_nothing(sample_mount: Mounted) -> None:
    train = sample_mount.root / "train"
    first = sorted((d, sorted(files)) for d, _, files in os.walk(train))
    before = counters(sample_mount)
    assert sorted((d, sorted(files)) for d, _, files in os.walk(train)) == first
    assert counters(sample_mount)["readdir"] == before["readdir"]


def test_status_is_new_at_every_open_and_stands_still_for_its_reader(
    sample_mount: Mounted, images: list[Path]
) -> None:
    path = sample_mount.mountpoint / ".imagenetfs" / "status.json"
    with path.open("rb", buffering=0) as file:
        pieces = [file.read(100)]
        for at in range(20):
            images[at].read_bytes()
            sample_mount.status()
            pieces.append(file.read(100))
        while piece := file.read(100):
            pieces.append(piece)
    text = b"".join(pieces)
    assert len(text) == len(text.strip()) + 1
    early = json.loads(text)["counters"]["requests"]["lookup"]
    assert sample_mount.status()["counters"]["requests"]["lookup"] > early


def test_status_read_by_many_at_once(sample_mount: Mounted) -> None:
    path = sample_mount.mountpoint / ".imagenetfs" / "status.json"
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(50):
                json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert failures == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set how far the kernel reads ahead")
def test_an_image_is_one_request(sample_mount: Mounted) -> None:
    device = os.stat(sample_mount.mountpoint).st_dev
    bdi = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    assert bdi.read_text() == "256\n"
