"""Which member is where: member tables, the shared arena, persisted index files."""
