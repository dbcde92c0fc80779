"""What ImageNet looks like: versions, splits, classes, label files. Does no I/O of its own."""
