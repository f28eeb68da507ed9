"""Flow versions: the settings of their files."""
