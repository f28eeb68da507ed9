"""Formats whose records a flow describes: columns by position, and records by a path."""
