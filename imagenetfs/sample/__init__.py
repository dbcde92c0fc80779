"""The miniature source tree, and the full-size one with holes for data."""
