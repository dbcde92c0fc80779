"""A directory as a slow, faulty source: a FUSE pass-through in a process of its own,
for tests and benchmarks.

    with slow_source(directory, latency=0.001, bandwidth=1e9) as source:
        ...  # source.path shows the directory; each request takes its time
        source.fault("EIO", paths="*.tar", rate=0.1)
        source.counters()["read"]

From a shell: ``python -m tests.helpers.passthrough DIR MNT --latency 1ms``. It behaves as an NFSv3
server would where that matters here: what is read is not cached (but what is spliced goes through
the page cache), so that each read is a request; the caller's groups are cut to sixteen; a file that
was replaced is stale on the descriptors that still hold it.
"""

from tests.helpers.passthrough.client import SlowSource, slow_source

__all__ = ["SlowSource", "slow_source"]
