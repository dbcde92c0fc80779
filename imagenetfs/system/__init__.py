"""The operating system as we ask it: processes and the mount table.

Knows nothing of what is above.
"""
