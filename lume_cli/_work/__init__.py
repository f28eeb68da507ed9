"""What the commands do: `commands/NAME.py` has the options of `lume NAME`, and `NAME.py` here its work."""
