"""Any sequence of entries, openings and kills: the journal says of each item what a plain model says."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from in_memory import PLACE

from lume_async import ConfigurationError, RunRequest
from lume_async._batch.entries import Entry, Kind, canonical
from lume_async._batch.journal import Journal

REQUESTS = [RunRequest("f:v1", f"s{n}", {"n": n} if n % 2 else None, force_rerun=n > 2) for n in range(5)]
items = st.integers(0, len(REQUESTS) - 1)
keys = st.sampled_from(["a-key", "0" * 32, "f" * 32])
runs = st.sampled_from(["run_1", f"run_{'ab' * 16}", "x" * 128])


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=PLACE))
        self.known: dict[int, Entry] = {}
        self.own_runs: set[str] = set()
        self.count: int | None = None
        self.at = 0.0
        self.open("0.db")

    def open(self, name: str) -> None:
        self.path = self.folder / name
        self.journal = Journal.open(self.path)

    @rule(item=items, key=keys, by_server=st.booleans())
    def sending(self, item: int, key: str, by_server: bool) -> None:
        if self.count is not None and item >= self.count:
            return
        self.at += 1.0
        self.journal.sending(item, REQUESTS[item], key, self.at, by_server=by_server)
        before = self.known.get(item)
        at, by = (before.at, before.by_server) if before and before.key == key else (self.at, by_server)
        self.known[item] = Entry(key, at, by, canonical(REQUESTS[item]))

    @rule(item=items, run=runs, reused=st.booleans())
    def submitted(self, item: int, run: str, reused: bool) -> None:
        if item in self.known:
            self.journal.submitted(item, run, reused=reused)
            self.own_runs |= set() if reused else {run}
            self.change(item, Kind.SUBMITTED, run_id=run, reused=reused)

    @rule(item=items)
    def unsent(self, item: int) -> None:
        if item in self.known:
            self.journal.unsent(item, "é refused")
            self.change(item, Kind.UNSENT)

    @rule(item=items, key=keys)
    def withdraw(self, item: int, key: str) -> None:
        self.journal.withdraw(item, key)
        entry = self.known.get(item)
        if entry is not None and (entry.state, entry.key) == (Kind.SENDING, key):
            self.change(item, Kind.UNSENT)

    @rule(item=items, kind=st.sampled_from([Kind.ENDED, Kind.REFUSED]), what=st.text(max_size=5))
    def outcome(self, item: int, kind: Kind, what: str) -> None:
        if item in self.known:
            body = {"id": what, "status": "FAILED"}
            (self.journal.ended if kind is Kind.ENDED else self.journal.refused)(item, body)
            self.change(item, kind, stored=body)

    @rule(count=st.integers(0, len(REQUESTS) + 1))
    def complete(self, count: int) -> None:
        if self.count == count or (self.count is None and all(item < count for item in self.known)):
            self.journal.complete(count)
            self.count = count
        else:
            with pytest.raises(ConfigurationError, match=r"items?( or more)?, now it has"):
                self.journal.complete(count)

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.open(self.path.name)

    @rule()
    def killed(self) -> None:
        """What is on disk at this moment is all that the next process finds."""
        name = f"{int(self.path.stem) + 1}.db"
        for end in ("", "-wal"):
            shutil.copy(f"{self.path}{end}", self.folder / f"{name}{end}")
        self.journal.close()
        self.open(name)

    def change(self, item: int, kind: Kind, **fields: Any) -> None:
        entry = self.known[item]
        entry.state, entry.stored = kind, None
        for name, value in fields.items():
            setattr(entry, name, value)

    @invariant()
    def says_the_same(self) -> None:
        found = self.journal.rows(0, 10)
        said = {item: self.journal.entry(item, REQUESTS[item], rows) for item, rows in found.items()}
        assert said == self.known
        assert self.journal.known_runs() == self.own_runs
        sending = [entry.request for entry in self.known.values() if entry.state is Kind.SENDING]
        assert sorted(map(canonical, self.journal.under_way())) == sorted(sending)
        assert self.journal.count == self.count

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


TestJournal = Model.TestCase
TestJournal.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
