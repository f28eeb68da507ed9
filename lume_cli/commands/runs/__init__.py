"""Runs: start them, wait for them, look at them."""
