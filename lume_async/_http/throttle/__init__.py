"""How fast a client may send after refusals, and where its requests wait."""
