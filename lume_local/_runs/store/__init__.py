"""What the server keeps: the records, and the operations that a database must have. No SQL."""
