"""The journal: what is certain of an item after a crash at any point."""

from pathlib import Path

import pytest

from lume_async import ConfigurationError, RunRequest
from lume_async._batch.entries import Entry
from lume_async._batch.journal import Journal

REQUEST = RunRequest("f:v1", "a.csv", {"n": 1}, force_rerun=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def entry_of(journal: Journal, item: int = 0, request: RunRequest = REQUEST) -> Entry | None:
    return journal.entry(item, request, journal.rows(item, 1).get(item, []))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (RunRequest("f:v2", "a.csv", {"n": 1}, force_rerun=True), "flow_version 'f:v1' is now 'f:v2'"),
        (RunRequest("f:v1", "b.csv", {"n": 1}, force_rerun=True), "source_path 'a.csv' is now 'b.csv'"),
        (RunRequest("f:v1", "a.csv", None, force_rerun=True), "run_metadata {'n': 1} is now None"),
        (RunRequest("f:v1", "a.csv", {"n": 1}), "force_rerun True is now False"),
    ],
)
def test_another_input_is_refused_with_what_changed(path: Path, now: RunRequest, said: str) -> None:
    journal = Journal.open(path)
    journal.sending(6, REQUEST, "key", 0.0)
    with pytest.raises(ConfigurationError, match=f"item 7: {said}[)]"):
        entry_of(journal, 6, now)
    journal.close()


@pytest.mark.parametrize("metadata", [{"b": 2, "a": 1}, {"a": 1.0, "b": True + 1}])
def test_what_is_equal_has_not_changed(path: Path, metadata: dict[str, object]) -> None:
    journal = Journal.open(path)
    journal.sending(0, RunRequest("f:v1", "a.csv", {"a": 1, "b": 2}), "key", 0.0)
    assert entry_of(journal, 0, RunRequest("f:v1", "a.csv", metadata)) is not None
    journal.close()


def test_a_longer_or_shorter_input_is_refused(path: Path) -> None:
    journal = Journal.open(path)
    journal.complete(2)
    journal.complete(2)
    journal.close()
    journal = Journal.open(path)
    with pytest.raises(ConfigurationError, match="2 items, now there are more"):
        entry_of(journal, 2)
    with pytest.raises(ConfigurationError, match="2 items, now it has 1"):
        journal.complete(1)
    journal.close()


@pytest.mark.parametrize("count", [0, 2])
def test_so_is_one_that_ends_before_what_was_begun_and_its_end_is_not_recorded(
    path: Path, count: int
) -> None:
    journal = Journal.open(path)
    for item in range(3):
        journal.sending(item, REQUEST, "key", 0.0)
    with pytest.raises(ConfigurationError, match=f"3 items or more, now it has {count}"):
        journal.complete(count)
    assert journal.count is None
    journal.complete(5)
    journal.close()
