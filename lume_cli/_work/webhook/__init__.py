"""The work of `lume webhook`."""
