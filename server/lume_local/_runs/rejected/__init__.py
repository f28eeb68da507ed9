"""Rejected rows: corrections, replays under the flow's own rules, and suggested repairs."""
