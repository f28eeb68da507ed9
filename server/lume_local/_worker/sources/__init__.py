"""Source files, read so strictly that DuckDB meets only what it reads without a doubt."""
