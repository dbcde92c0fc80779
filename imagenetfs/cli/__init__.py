"""The commands, one module each. What a person types ends here; nothing below knows of it."""
