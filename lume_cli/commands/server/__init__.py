"""A server: run it, look after it, receive what it sends."""
