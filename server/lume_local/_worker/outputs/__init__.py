"""Reads the rows of what runs have written, page by page."""
