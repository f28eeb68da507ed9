"""Flow files and flow versions."""
