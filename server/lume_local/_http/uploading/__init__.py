"""Uploads, which can be resumed after an interruption."""
