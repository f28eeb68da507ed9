"""The cleaners of flow expressions: SQL macros and their tables."""
