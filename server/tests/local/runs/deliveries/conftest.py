from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lume_local._runs.sqlite.sqlite_store import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A state file: what these tests are about is the same in each kind of store."""
    with closing(SqliteStore(tmp_path / "runs.sqlite")) as store:
        yield store
