"""Which bytes are local. Knows nothing of FUSE or of ImageNet's layout."""
