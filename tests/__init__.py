"""The tests, by layer. Run them with ``make test``."""
