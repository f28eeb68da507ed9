"""Databases as sources and targets: one file for each kind, behind the protocols in `database`."""
