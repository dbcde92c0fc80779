"""The processes of a mount: the supervisor, its workers, and its background tasks."""
