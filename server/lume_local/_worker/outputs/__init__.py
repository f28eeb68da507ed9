"""Reads the output rows of runs, page by page."""
