"""The HTTP front of the embedded server."""
