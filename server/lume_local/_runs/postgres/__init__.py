"""The state in PostgreSQL, which survives the machine of a server."""
