"""Temporary folders whose files are in memory, where the system has such a place: no journal waits for the disk."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in place of pytest's, which is removed after the test."""
    with tempfile.TemporaryDirectory(dir=PLACE, ignore_cleanup_errors=True) as folder:
        yield Path(os.path.realpath(folder))
