"""Any history of a journal, with a byte of its files changed or their end cut off: all of it is read, or an error."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from in_memory import PLACE

from lume_async import ConfigurationError, JournalError, RunRequest
from lume_async._batch import entries
from lume_async._batch.entries import Entry, Kind
from lume_async._batch.journal import Journal

ITEMS = 12
STATUSES = ["SUCCEEDED", "FAILED", "PARTIAL_FAILED", "LATER"]
Known = tuple[dict[int, Entry | None], set[str], int | None]

steps = st.tuples(st.sampled_from(["send", "submit", "fail", "end", "refuse"]), st.integers(0, ITEMS - 1))
histories = st.lists(steps, min_size=1, max_size=25)
places = st.floats(0, 1, exclude_max=True)
harms = st.sampled_from(["flip", "cut", "zero"])


def request(item: int) -> RunRequest:
    return RunRequest(
        "people:v1", f"2026/{item}.csv", {"n": item, "é": "x" * item * 20}, force_rerun=item == 3
    )


def run(item: int, status: str) -> dict[str, Any]:
    counts = {"rows_read": item * 977, "rows_mapped": item * 975, "warnings": {"w" * item * 9: item}}
    return {"id": f"run_{item:032x}", "status": status, "metadata": {"metrics": counts}}


def write(journal: Journal, history: list[tuple[str, int]]) -> None:
    """Do the steps that are possible."""
    states: dict[int, str] = {}
    for n, (step, item) in enumerate(history):
        before = states.get(item)
        if step == "send":
            journal.sending(item, request(item), f"{n:032x}" if n % 3 else "my-key", n, by_server=n % 2 == 0)
        elif before is None:
            continue
        elif step == "submit":
            journal.submitted(item, f"run_{item:032x}" if n % 4 else "another-run", reused=n % 5 == 0)
        elif step == "fail":
            journal.unsent(item, "no room")
        elif step == "end":
            journal.ended(item, run(item, STATUSES[n % len(STATUSES)]))
        else:
            journal.refused(
                item, {"kind": "ApiError", "message": f"no {item}", "facts": {"status_code": 422}}
            )
        states[item] = step


def known(path: Path) -> Known:
    """Read everything, with the outcomes."""
    journal = Journal.open(path)
    try:
        found = {item: journal.entry(item, request(item), rows) for item, rows in journal.rows(0, 99).items()}
        for entry in found.values():
            assert entry is not None
            entry.stored = entry.body
        return found, journal.known_runs(), journal.count
    finally:
        journal.close()


def harm(file: Path, how: str, place: float, bit: int) -> None:
    content = bytearray(file.read_bytes())
    at = int(place * len(content))
    if how == "cut":
        del content[max(at, 1) :]  # an empty file is a new one
    elif how == "zero":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif content:  # a log is empty if no step was possible
        content[at] ^= 1 << bit
    file.write_bytes(content)


def read_or_refused(path: Path, truth: Known) -> None:
    try:
        found = known(path)
    except (ConfigurationError, JournalError) as error:
        said = str(error)
    else:
        assert found == truth
        return
    assert path.name in said


def with_harm(history: list[tuple[str, int]], closed: bool, act: Callable[[Path, Known], None]) -> None:
    """Call `act` with the files of the history, as a kill or a complete end leaves them."""
    with tempfile.TemporaryDirectory(dir=PLACE) as folder:
        path, copy = Path(folder, "whole.db"), Path(folder, "copy", "batch.db")
        copy.parent.mkdir()
        half = len(history) // 2
        journal = Journal.open(path)
        write(journal, history[:half])
        journal.close()
        journal = Journal.open(path)
        write(journal, [*[("send", item) for _, item in history[:half]], *history[half:]])
        if closed:
            journal.complete(ITEMS)
            journal.close()
        for end in ("", "-wal", "-mark"):
            if os.path.exists(f"{path}{end}"):
                shutil.copy(f"{path}{end}", f"{copy}{end}")
        if not closed:
            journal.close()
        act(copy, known(path))


@examples(100)
@given(histories, places, harms, st.integers(0, 7))
def test_a_file_that_was_closed(history: list[tuple[str, int]], place: float, how: str, bit: int) -> None:
    def act(path: Path, truth: Known) -> None:
        harm(path, how, place, bit)
        read_or_refused(path, truth)

    with_harm(history, True, act)


@examples(100)
@given(histories, st.sampled_from(["", "-wal", "-mark"]), places, harms, st.integers(0, 7))
def test_the_files_of_a_batch_that_was_killed(
    history: list[tuple[str, int]], end: str, place: float, how: str, bit: int
) -> None:
    def act(path: Path, truth: Known) -> None:
        harm(Path(f"{path}{end}"), how, place, bit)
        read_or_refused(path, truth)

    with_harm(history, False, act)


@pytest.mark.thorough
def test_every_byte_of_a_small_file() -> None:
    def act(path: Path, truth: Known) -> None:
        whole = path.read_bytes()
        for place in range(len(whole)):
            if whole[place : place + 1] == b"\0" and whole[place - 16 : place + 16] == bytes(32):
                continue  # free space
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            read_or_refused(path, truth)

    with_harm([("send", 1), ("submit", 1), ("end", 1)], True, act)


@given(st.integers(0, 2), st.integers(0, 30), st.integers(0, 7))
def test_a_sample_is_part_of_what_it_inflates(which: int, place: int, bit: int) -> None:
    with tempfile.TemporaryDirectory(dir=PLACE) as folder:
        path = Path(folder, "batch.db")
        journal = Journal.open(path)
        write(journal, [(step, item) for item in range(4) for step in ("send", "submit", "end")])
        journal.close()
        db = sqlite3.connect(path)
        samples = db.execute("SELECT seq, body FROM entries WHERE kind = ?", [Kind.SAMPLE]).fetchall()
        seq, body = samples[which]
        changed = bytearray(body)
        changed[place] ^= 1 << bit
        db.execute("UPDATE entries SET body = ? WHERE item = -1 AND seq = ?", [bytes(changed), seq])
        db.commit()
        db.close()
        with pytest.raises(ConfigurationError, match=r"damaged \(an entry of the input\)"):
            Journal.open(path)


def test_a_sample_that_is_missing_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "batch.db"
    journal = Journal.open(path)
    write(journal, [(step, item) for item in range(4) for step in ("send", "submit", "end")])
    journal.close()
    for topic in (entries.REQUESTS, 1):
        copy = tmp_path / f"{topic}.db"
        shutil.copy(path, copy)
        db = sqlite3.connect(copy)
        rows = db.execute("SELECT seq, body FROM entries WHERE kind = ?", [Kind.SAMPLE]).fetchall()
        (seq,) = [seq for seq, body in rows if body[4] == topic] or [None]
        db.execute("DELETE FROM entries WHERE item = -1 AND seq = ?", [seq])
        db.commit()
        db.close()
        with pytest.raises((ConfigurationError, JournalError), match=r"damaged \(an entry of item"):
            known(copy)
