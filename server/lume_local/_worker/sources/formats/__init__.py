"""Converts the bytes of a source to rows, by format."""
