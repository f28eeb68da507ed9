"""What the commands do: `commands` has the options of `lume NAME`, and `NAME.py` here its work."""
