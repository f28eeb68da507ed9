"""Fixtures of the core's tests."""

from in_memory import tmp_path as tmp_path
