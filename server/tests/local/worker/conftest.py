"""What many tests of runs in this process share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from local.loads import table_run
from local.shards.twice import Here

from lume_local._shards import coordinator


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs over shards whose engine is `here` do their tasks in this process."""
    executor_of = coordinator.executor_of
    monkeypatch.setattr(coordinator, "executor_of", lambda url: Here() if url == "here" else executor_of(url))


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[table_run.Database]:
    """An empty file of SQLite, whose URL is in the environment."""
    with table_run.sqlite(tmp_path, monkeypatch) as database:
        yield database
