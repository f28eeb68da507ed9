"""The work of the commands: `commands` has the options of `lume NAME`, and `NAME.py` here its work."""
