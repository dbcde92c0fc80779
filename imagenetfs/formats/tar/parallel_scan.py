"""The header walk with many requests under way: for sources where a read is a round trip.

In a tar each header says where the next one is, so over a network each hop waits for the one
before. A walk with nothing to do therefore takes the second half of what is left of the longest
range that is being walked. There it searches for a block whose checksum holds, and hops on from it:
a speculative range. The confirmed walk starts at the archive's first header. Once it reaches a
header that a speculative range visited too, with no extended header pending, both visit the same
headers from there on, and the range's members are adopted. Bytes within an image that look like a
header can cost time, and never correctness.

- A hop depends on nothing but its offset, unless a global pax header came before. So a range that
  meets one that matters gives nothing, and the confirmed walk goes on alone behind one.
- Errors come from the confirmed walk alone: a range that fails stops, and the confirmed walk goes
  there itself.
- The confirmed walk waits for a range only if that range is confirmed, and walks other ranges until
  it is done; it never waits for a range that may be wrong, but hops on. So this is never much
  slower than ``scan``.

:class:`.merge.ScanMerger` is the engine; it has two back-ends. One thread takes turns over all
walks where the source's file system heeds read-ahead hints (readahead_scanner.py); elsewhere each
walk has a thread of its own (threaded_scanner.py; why, says docs/decisions/0008). Those are plain
threads, joined before anything returns: the caller may fork afterwards. (trio keeps its threads for
ten seconds, and cannot be run within a trio that runs already.)
"""

from __future__ import annotations

from imagenetfs.formats.tar.concurrency import CEILING, AdaptiveConcurrency, FixedConcurrency
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.merge import OnOffset
from imagenetfs.formats.tar.readahead_scanner import ReadaheadScanner, readahead_works
from imagenetfs.formats.tar.speculation import LARGE, PROBE, SplitPolicy, probe
from imagenetfs.formats.tar.threaded_scanner import BEARABLE, ThreadedScanner
from imagenetfs.formats.tar.walk import Hint, MemberColumns, ReadAt, Walk, check_length

MINIMUM = 8 << 20
"""Bytes of an archive below which speculative ranges are not worth their threads."""

_AGAIN = 256  # hops after which latency is measured again, while ranges are not worth it
_SLOW = 100e-6  # seconds a read: below that threads take longer than they save
_INTERRUPT_SECONDS = 1.0  # that an interrupt waits for reads that do not return


def scan_parallel(
    read_at: ReadAt,
    start: int,
    end: int,
    into: MemberColumns,
    hint: Hint | None = None,
    *,
    in_flight: int | None = None,
    progress: OnOffset | None = None,
) -> int:
    """Do what ``tar.scan`` does, with the same result and errors, keeping many reads under way.

    ``hint`` announces a read; without it, and where that does not help, ``read_at`` is called from
    several threads at once. ``in_flight`` is the number of reads under way at most; None lets it
    follow the latency, from 4 to 64, or to 16 threads. Archives of fewer bytes than MINIMUM, of
    few or of very large members, and sources that answer at once, are walked one header after the
    other. ``progress`` is called from the calling thread, with the bytes walked so far.
    """
    check_length(start, end)
    report = progress or (lambda done: None)
    walk = Walk(read_at, end, into)
    position, ended = start, False
    alone = in_flight == 1 or end - start < MINIMUM
    while not ended and not alone:
        probed = position
        position, ended, latency = probe(walk, position)
        span = max(BLOCK, (position - probed) // PROBE)
        remaining = (end - position) // span
        if ended or walk.overrides or remaining < 4 * PROBE:
            break
        if latency > _SLOW and span < LARGE:
            if hint is not None and readahead_works(read_at, hint, position, end):
                walk.hint = hint
            most = BEARABLE if walk.hint is None else CEILING
            concurrency = (
                AdaptiveConcurrency(latency, most)
                if in_flight is None
                else FixedConcurrency(in_flight)
            )
            position = scan_in_ranges(
                walk,
                position,
                SplitPolicy(span),
                concurrency,
                lambda offset: report(offset - start),
            )
            report(position - start)
            return position
        position, ended = walk.until(position, position + _AGAIN * span)
        report(position - start)
    if not ended:
        position, _ = walk.until(position, end)
    report(position - start)
    return position


def scan_in_ranges(
    walk: Walk,
    position: int,
    split_policy: SplitPolicy,
    concurrency: AdaptiveConcurrency,
    progress: OnOffset = lambda offset: None,
) -> int:
    """Bring ``walk`` from the header at ``position`` to the end of the archive, by
    speculative ranges.

    Returns what ``tar.scan`` returns and raises what it raises. ``progress`` is called with the
    offset up to which the members are known. One thread does it where the walk gives hints.
    """
    if walk.hint is not None:
        return ReadaheadScanner(concurrency).merge(walk, position, split_policy, progress)
    scanner = ThreadedScanner(concurrency)
    try:
        scanner.fill()
        landed = scanner.merge(walk, position, split_policy, progress)
    except Exception:
        scanner.close(None)
        raise
    except BaseException:
        # An interrupt does not wait for a server that does not answer: the threads are daemons.
        scanner.close(_INTERRUPT_SECONDS)
        raise
    scanner.close(None)
    return landed
