"""The project's benchmarks: `python -m tests.benchmarks`, or `make bench`. See docs/benchmarks.md.

Nothing here is a test: a timer never fails anything. What fails is what is
wrong, such as a byte too few.
"""
