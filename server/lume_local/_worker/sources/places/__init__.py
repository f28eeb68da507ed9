"""The places from which the bytes of a source come."""
