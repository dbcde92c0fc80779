"""The cache is bypassed for some seconds after an error of its disk."""

from __future__ import annotations

import errno

import pytest

from imagenetfs.cache.bypass import BYPASS_SECONDS, Bypass
from imagenetfs.counters import BYPASS_UNTIL, TROUBLE
from tests.helpers.clocks import FakeClock


def test_it_ends_after_some_seconds() -> None:
    clock, sought = FakeClock(), list[bool]()
    bypass = Bypass(lambda: sought.append(True), clock)
    assert not bypass.is_on
    bypass.check()
    bypass.begin(OSError(errno.ENOSPC, "full"))
    assert bypass.is_on
    assert bypass.meter[TROUBLE] == errno.ENOSPC
    assert bypass.meter[BYPASS_UNTIL] == int((clock.monotonic() + BYPASS_SECONDS) * 1e9)
    with pytest.raises(OSError) as raised:
        bypass.check()
    assert raised.value.errno == errno.ENOSPC
    clock.advance(BYPASS_SECONDS)
    assert not bypass.is_on
    bypass.check()
    assert sought == []


def test_a_directory_that_has_gone_is_sought() -> None:
    sought = list[bool]()
    bypass = Bypass(lambda: sought.append(True), FakeClock())
    bypass.begin(OSError(errno.ENOENT, "gone"))
    assert sought == [True]
    bypass.begin(OSError("without a number"))
    assert bypass.meter[TROUBLE] == errno.EIO
