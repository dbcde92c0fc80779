"""The long forms: what a change need not wait for, and a release should have seen.

``make prove`` (``python -m tests.prove``) runs each exercise as a process of its own, with a limit,
and ends with one table: what, how much, result, seconds.
"""
