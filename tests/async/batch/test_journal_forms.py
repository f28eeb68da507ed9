"""A journal of each released form is read, and one of a later form is refused as it is."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lume_async import ConfigurationError, RunRequest
from lume_async._base.version import __version__
from lume_async._batch.entries import Entry, Kind, canonical
from lume_async._batch.journal import Journal
from lume_async._batch.journal_file import FORM

JOURNALS = {
    int(path.stem.rpartition("-")[2]): path for path in (Path(__file__).parent / "journals").iterdir()
}
"""As the releases have written them. Never change one: a new form needs a new one."""
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
