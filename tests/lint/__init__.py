"""Rules for the repository's own text that no public linter knows."""
