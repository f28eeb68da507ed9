"""Source files, read so strictly that DuckDB gets only unambiguous input."""
