"""Zip archives (PKWARE's APPNOTE 6.3.10): the central directory, local headers, deflated data."""
