"""A journal of each released form is read and continued, and one of a later form is refused as it is."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fake_service import Service, client_of

from lume_async import ConfigurationError, InvalidRequestError, RunRequest
from lume_async._base.version import __version__
from lume_async._batch.entries import Entry, Kind, canonical
from lume_async._batch.journal import Journal
from lume_async._batch.journal_file import FORM

HERE = Path(__file__).parent
JOURNALS = {int(path.stem.rpartition("-")[2]): path for path in (HERE / "journals").iterdir()}
"""As the releases have written them. Never change one: a new form needs a new one."""
BATCH_1 = HERE / "batches" / "form-1.sql"
"""A batch of 20 that was left, begun again with `retry_failed`, and killed; written by the last release of form 1.

The first 14 items had ended, four were followed, and two were not submitted.
"""
LATER = "9.8.7"


def written(form: int, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(JOURNALS[form].read_text())
    return path


def request(item: int) -> RunRequest:
    return RunRequest("people:v1", f"{item}.csv", {"n": item, "name": "Zoë"}, force_rerun=item == 4)


def test_there_is_a_journal_of_each_form() -> None:
    assert sorted(JOURNALS) == list(range(1, FORM + 1))


@pytest.mark.parametrize("form", JOURNALS)
def test_a_journal_of_a_released_form(form: int, tmp_path: Path) -> None:
    journal = Journal.open(written(form, tmp_path / "batch.journal"))
    try:
        rows = journal.rows(0, 5)
        entries = [journal.entry(item, request(item), rows[item]) for item in range(5)]
        assert journal.count == 5
    finally:
        journal.close()
    sent = [(f"key-{n}", 1000.5 + n, n % 2 == 0, canonical(request(n))) for n in range(5)]
    ended = {
        **{"id": "run_0", "flow_version": "people:v1", "source_path": "0.csv"},
        **{"status": "SUCCEEDED", "metadata": {"rows": 3}},
    }
    refused = {"kind": "ApiError", "status_code": 422, "message": "no such flow"}
    assert entries == [
        Entry(*sent[0], Kind.ENDED, "run_0", body=ended),
        Entry(*sent[1], Kind.SUBMITTED, f"run_{'0af' * 10}12", reused=True),
        Entry(*sent[2], Kind.SENDING),
        Entry(*sent[3], Kind.UNSENT),
        Entry(*sent[4], Kind.REFUSED, body=refused),
    ]


async def test_a_batch_that_form_1_has_begun_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "batch.journal"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(BATCH_1.read_text())
    wanted = [
        RunRequest(
            "people:v1",
            f"2026/{n:03}.csv",
            {"batch": n, "name": "Zoë"},
            force_rerun=n % 2 == 0,
            idempotency_key="mine-1" if n == 1 else None,
        )
        for n in range(20)
    ]
    service = Service()
    service.created = [f"run_{n}" for n in range(18)]
    sources: list[int | None] = [0, 1, 11, 3, None, *range(4, 11), *range(12, 18)]
    for n, run in enumerate(sources):
        if run is not None:
            service.begun[f"run_{run}"] = 1.0
            service.sources[f"run_{run}"] = {"source_path": f"2026/{n:03}.csv"}
    for again in range(2):
        service.log.clear()
        outcomes = [outcome async for outcome in client_of(service).run_many(wanted, journal=path)]
        found = sorted(outcomes, key=lambda it: it.request.source_path if it.request else "")
        assert [outcome.run_id for outcome in found] == [
            None if run is None else f"run_{run}" for run in [*sources, 18, 19]
        ]
        assert [outcome.request for outcome in found] == wanted
        assert [outcome.remembered for outcome in found] == [again or n < 14 for n in range(20)]
        for n, outcome in enumerate(found):
            if n == 4:
                assert isinstance(outcome.error, InvalidRequestError)
                assert outcome.error.status_code == 422
            else:
                run = outcome.result()
                assert run.status == ("PARTIAL_FAILED" if n == 7 else "SUCCEEDED")
                assert (run.source_path, run.metadata.metrics.rows_read) == (f"2026/{n:03}.csv", 10)
                assert run.idempotency_key == "mine-1" if n == 1 else len(run.idempotency_key or "") == 32
        if again:
            assert not service.log
    assert len(service.created) == 20
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2 * (FORM - 1),)


def test_a_journal_of_form_1_that_lost_its_log_is_damaged(tmp_path: Path) -> None:
    path = written(1, tmp_path / "batch.journal")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(ConfigurationError, match="its -wal file is missing"):
        Journal.open(path)


@pytest.mark.parametrize("in_use", [0, 1], ids=["complete", "in use"])
def test_a_journal_of_a_later_form_is_refused_with_both_versions(tmp_path: Path, in_use: int) -> None:
    path = written(FORM, tmp_path / "batch.journal")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA user_version = {2 * FORM + in_use}")
        db.execute("UPDATE facts SET value = ?", [LATER])
    before = path.read_bytes()
    said = (
        f"was written by lume-client {LATER}, in form {FORM + 1} of journals; this is lume-client {__version__}, "
        f"which uses form {FORM}: finish with the version that wrote it"
    )
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        Journal.open(path)
    assert path.read_bytes() == before


def test_a_later_form_without_that_table(tmp_path: Path) -> None:
    path = written(FORM, tmp_path / "batch.journal")
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("DROP TABLE facts; DROP TABLE entries; CREATE TABLE other (a)")
        db.execute(f"PRAGMA user_version = {2 * FORM}")
    with pytest.raises(ConfigurationError, match=f"of a later version, in form {FORM + 1} of journals"):
        Journal.open(path)


def test_who_wrote_it_last_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "batch.journal"
    for _ in range(2):
        Journal.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM facts").fetchall() == [("written_by", __version__)]
        assert db.execute("PRAGMA user_version").fetchone() == (2 * (FORM - 1),)
