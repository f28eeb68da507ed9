"""The server as a whole: its options, its parts and their order, its state, and backups."""
