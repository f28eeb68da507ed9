"""The store of one server: everything in one SQLite file. Only these modules know SQLite."""
