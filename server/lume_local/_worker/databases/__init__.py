"""Databases as sources and targets: one file per kind, behind the protocols in `database`."""
