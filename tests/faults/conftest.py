"""Fixtures of the tests of faults."""

from in_memory import tmp_path as tmp_path
