"""What may keep a mount from working, or from being fast, on this node and
for this user: a line each.
"""
