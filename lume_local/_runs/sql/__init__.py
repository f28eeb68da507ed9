"""What stores over SQLite and PostgreSQL have in common: their tables, and the operations on them."""
