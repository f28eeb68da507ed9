"""The state in PostgreSQL, which survives the loss of a server's machine."""
