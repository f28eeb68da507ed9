"""Sample files, read with the engine: for `flow init`, `flow try` and proposals."""
