"""The versions of ImageNet: a module for each knows what its source looks like."""
