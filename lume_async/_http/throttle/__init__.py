"""Limits how fast a client may send after refusals, and queues its requests."""
