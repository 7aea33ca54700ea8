"""Records, jobs and checkpoints: SQLite and local files."""
