"""The journal: what is certain of an item after a crash at any point, and who may use the file."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lume_async import ConfigurationError, RunRequest
from lume_async._batch.journal import Journal

REQUEST = RunRequest("f:v1", "a.csv", {"n": 1}, force_rerun=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_the_state_of_an_item_is_its_newest_entry_and_survives(path: Path) -> None:
    journal = Journal.open(path)
    assert journal.begin(0, REQUEST, "key", 12.5) is None
    states = []
    for write in (
        lambda journal: None,
        lambda journal: journal.unsent(0, "refused"),
        lambda journal: journal.sending(0, REQUEST, "key", 99.0),
        lambda journal: journal.submitted(0, {"id": "run_1"}, reused=False),
        lambda journal: journal.ended(0, {"run": {"id": "run_1"}}),
    ):
        write(journal)
        journal.close()
        journal = Journal.open(path)
        entry = journal.begin(0, REQUEST, "another key", 50.0)
        assert entry is not None
        assert (entry.request, entry.key, entry.at) == (REQUEST, "key", 12.5)
        states.append(entry.state)
    assert states == ["sending", "unsent", "sending", "submitted", "ended"]
    assert journal.known_runs() == {"run_1"}
    journal.close()


def test_another_input_is_refused_with_what_changed(path: Path) -> None:
    journal = Journal.open(path)
    journal.begin(0, REQUEST, "key", 0.0)
    other = RunRequest("f:v2", "a.csv", {"n": 1}, force_rerun=True)
    with pytest.raises(ConfigurationError, match="item 1: flow_version 'f:v1' is now 'f:v2'"):
        journal.begin(0, other, "key", 0.0)
    journal.close()


def test_a_longer_or_shorter_input_is_refused(path: Path) -> None:
    journal = Journal.open(path)
    journal.complete(2)
    journal.complete(2)
    with pytest.raises(ConfigurationError, match="2 items, now it has more"):
        journal.begin(2, REQUEST, "key", 0.0)
    with pytest.raises(ConfigurationError, match="2 items, now it has 1"):
        journal.complete(1)
    journal.close()


def test_a_journal_in_use_is_refused_and_free_again_after_a_kill(path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from lume_async._batch.journal import Journal; j = Journal.open(sys.argv[1]);"
            "print('held', flush=True); sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="in use by another process"):
            Journal.open(path)
        holder.kill()
    Journal.open(path).close()


@pytest.mark.parametrize("content", [b"not a database, but text that is longer than a header " * 20, b"x"])
def test_a_file_of_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="no journal"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (a)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match="no journal"):
        Journal.open(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is its folder there"):
        Journal.open(tmp_path / "nowhere" / "state.db")
