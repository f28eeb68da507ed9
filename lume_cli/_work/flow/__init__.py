"""The work of `lume flow`."""
