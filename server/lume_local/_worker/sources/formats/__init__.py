"""How the bytes of a source become rows."""
