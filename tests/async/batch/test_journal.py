"""The journal: what is certain of an item after a crash at any point."""

from pathlib import Path

import pytest

from lume_async import ConfigurationError, RunRequest
from lume_async._batch.entries import Entry, Kind, canonical
from lume_async._batch.journal import Journal

REQUEST = RunRequest("f:v1", "a.csv", {"n": 1}, force_rerun=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def entry_of(journal: Journal, item: int = 0, request: RunRequest = REQUEST) -> Entry | None:
    return journal.entry(item, request, journal.rows(item, 1).get(item, []))


def test_the_state_of_an_item_is_its_newest_entry_and_survives(path: Path) -> None:
    journal = Journal.open(path)
    assert entry_of(journal) is None
    journal.sending(0, REQUEST, "key", 12.5, by_server=True)
    states, runs = [], []
    for write in (
        lambda journal: None,
        lambda journal: journal.unsent(0, "refused"),
        lambda journal: journal.sending(0, REQUEST, "key", 99.0),
        lambda journal: journal.submitted(0, "run_1", reused=False),
        lambda journal: journal.ended(0, {"id": "run_1"}),
        lambda journal: journal.refused(0, {"kind": "ApiError"}),
    ):
        write(journal)
        journal.close()
        journal = Journal.open(path)
        entry = entry_of(journal)
        assert entry is not None
        assert (entry.key, entry.at, entry.by_server) == ("key", 12.5, True)
        states.append(entry.state)
        runs.append((entry.run_id, entry.body))
    assert states == [Kind.SENDING, Kind.UNSENT, Kind.SENDING, Kind.SUBMITTED, Kind.ENDED, Kind.REFUSED]
    assert runs[2:] == [
        (None, None),
        ("run_1", None),
        ("run_1", {"id": "run_1"}),
        ("run_1", {"kind": "ApiError"}),
    ]
    journal.close()


def test_a_second_try_has_its_own_key_time_and_run(path: Path) -> None:
    journal = Journal.open(path)
    journal.sending(0, REQUEST, "key", 12.5, by_server=True)
    journal.submitted(0, "run_1", reused=True)
    journal.ended(0, {"id": "run_1", "status": "FAILED"})
    journal.sending(0, REQUEST, "other", 50.0)
    assert entry_of(journal) == Entry("other", 50.0, False, canonical(REQUEST), Kind.SENDING)
    journal.close()


def test_many_items_are_read_in_one_call(path: Path) -> None:
    journal = Journal.open(path)
    for item in (0, 1, 3, 300):
        journal.sending(item, REQUEST, "key", 1.0)
    journal.unsent(1, "refused")
    journal.complete(301)
    found = journal.rows(1, 299)
    assert {item: len(rows) for item, rows in found.items()} == {1: 2, 3: 1}
    journal.close()


def test_the_runs_that_items_have_started(path: Path) -> None:
    journal = Journal.open(path)
    for item, run in enumerate(["run_1", f"run_{'0af' * 10}12", "other-1"]):
        journal.sending(item, REQUEST, "key", 1.0)
        journal.submitted(item, run, reused=False)
    journal.submitted(0, "run_of_somebody_else", reused=True)
    assert journal.under_way() == []
    assert journal.known_runs() == {"run_1", f"run_{'0af' * 10}12", "other-1"}
    journal.close()


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


def test_an_empty_input_is_one(path: Path) -> None:
    journal = Journal.open(path)
    journal.complete(0)
    assert journal.count == 0
    journal.close()


def test_only_what_is_about_to_be_sent_under_that_key_is_withdrawn(path: Path) -> None:
    journal = Journal.open(path)
    journal.withdraw(0, "key")
    journal.sending(0, REQUEST, "key", 1.0)
    journal.withdraw(0, "another")
    assert entry_of(journal) == Entry("key", 1.0, False, canonical(REQUEST), Kind.SENDING)
    journal.withdraw(0, "key")
    assert entry_of(journal) == Entry("key", 1.0, False, canonical(REQUEST), Kind.UNSENT)
    journal.close()
