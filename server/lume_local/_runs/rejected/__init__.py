"""Rejected rows: mended, replayed with the flow's own rules, and what would repair them."""
