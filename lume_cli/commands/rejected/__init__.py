"""Rejected rows: look at them, correct, replay or discard them."""
