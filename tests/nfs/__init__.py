"""At home on NFSv3: groups, faults, change underneath, on a source that
behaves as a server does.
"""
