"""Anything may happen to a folder, in any order: the runs are the distinct contents of each path, by a model."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from local.arrivals.site import Site, arrival_of

from lume_local._runs.store.records import NewRun

QUIET = 10.0
NAMES = st.sampled_from(["a.csv", "b.csv"])
CONTENTS = st.sampled_from(["no\n1\n", "no\n2\n"])
ENDED_WELL = ("SUCCEEDED", "PARTIAL_FAILED")


class Folder(RuleBasedStateMachine):
    """What is in the folder, and what was submitted of it."""

    changed, moves = "rerun", False

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.folder = self.home / "in"
        self.folder.mkdir()
        self.runner = asyncio.Runner()
        after = '{ move = "done/" }' if self.moves else '"leave"'
        arrival = arrival_of(ready='{ quiet = "10s" }', changed=f'"{self.changed}"', after=after)
        self.site = Site(self.home, arrival)
        self.do(self.site.open)
        self.files: dict[str, str] = {}
        self.changed_at: dict[str, float] = {}
        self.runs: dict[str, tuple[str, str]] = {}
        """The name and the content that each run was made of."""
        self.last: dict[str, str] = {}
        """The status of the latest run of each name."""
        self.ended: dict[tuple[str, str], str] = {}
        """The status of the run of each name and content, once it has ended."""
        self.moved: list[str] = []

    def do(self, call: Callable[..., Coroutine[Any, Any, Any]], *values: Any) -> Any:
        return self.runner.run(call(*values))

    def teardown(self) -> None:
        if hasattr(self, "site"):
            self.settle()
            self.do(self.site.close)
            self.runner.close()
            shutil.rmtree(self.home)

    # -- what happens to files

    def _is(self, name: str, content: str | None) -> None:
        self.changed_at[name] = self.site.time
        if content is None:
            self.files.pop(name, None)
        else:
            self.files[name] = content

    @rule(name=NAMES, content=CONTENTS)
    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)
        self._is(name, content)

    @rule(name=NAMES)
    def write_more(self, name: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write("9\n")
        self._is(name, (self.folder / name).read_text())

    @rule(name=NAMES, content=CONTENTS)
    def rename_into_place(self, name: str, content: str) -> None:
        draft = self.folder / f".{name}.draft"
        draft.write_text(content)
        os.replace(draft, self.folder / name)
        self._is(name, content)

    @rule(name=NAMES, to=NAMES)
    def rename(self, name: str, to: str) -> None:
        if name in self.files and name != to:
            os.replace(self.folder / name, self.folder / to)
            self._is(to, self.files[name])
            self._is(name, None)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self._is(name, None)

    @rule(name=NAMES, seconds=st.sampled_from([-86400, 86400]))
    def touch(self, name: str, seconds: float) -> None:
        """By a clock that is a day wrong."""
        if name in self.files:
            now = (self.folder / name).stat().st_mtime
            os.utime(self.folder / name, (now + seconds, now + seconds))
            self.changed_at[name] = self.site.time

    # -- what the server does

    @rule()
    def compare(self) -> None:
        self.do(self.site.compare)
        self._look()

    @rule(name=NAMES)
    def hint(self, name: str) -> None:
        self.do(self.site.watcher.found, self.site.place, [f"in/{name}"])
        self._look()

    @rule(seconds=st.sampled_from([4.0, 7.0, QUIET]))
    def time_passes(self, seconds: float) -> None:
        self.do(self.site.after, seconds)
        self._look()
        self.compare()

    @rule()
    def restart(self) -> None:
        self.do(self.site.restart)

    @rule(status=st.sampled_from([*ENDED_WELL, "FAILED"]))
    def runs_end(self, status: str) -> None:
        for run in self.do(self.site.runs):
            if run.status == "CREATED":
                self.do(self.site.end, run, status)
                self.last[run.source_path.removeprefix("in/")] = status
                self.ended[self.runs[run.run_id]] = status
        self.do(self.site.after, 0.0)
        self._look()

    @rule(name=NAMES)
    def rerun(self, name: str) -> None:
        """A person repeats a run that failed, while the file is as it was."""
        runs = [run for run in self.do(self.site.runs) if run.source_path == f"in/{name}"]
        if (
            not runs
            or self.last[name] != "FAILED"
            or self.runs[runs[-1].run_id] != (name, self.files.get(name))
        ):
            return
        before = runs[-1]
        again = NewRun(before.flow_version, before.source_path, before.source_key, None, False, None, "x")
        run, _ = self.do(self.site.store.create, again)
        self.runs[run.run_id], self.last[name] = self.runs[before.run_id], "CREATED"
        assert run.arrival == "acme"
        assert self.do(self.site.store.require, before.run_id).arrival is None

    @rule()
    def settle(self) -> None:
        """Two looks with stillness in between decide about everything that is there."""
        self.compare()
        self.time_passes(QUIET)
        submitted, refused = set(self.runs.values()), self.do(self.site.refused)
        for name, content in self.files.items():
            is_refused = f"in/{name}" in refused
            if (name, content) in submitted:
                assert not is_refused
                assert not (self.moves and self.ended.get((name, content)) in ENDED_WELL), "it is moved"
            elif self.last[name] == "CREATED":
                assert "has not ended" in self.site.waiting()[f"in/{name}"]
            else:
                assert self.last[name] in ENDED_WELL, "else there would be a run"
                assert self.changed != "rerun"
                assert is_refused == (self.changed == "refuse")
        assert {path.removeprefix("in/") for path in refused} <= set(self.files), "none that is gone"

    def _look(self) -> None:
        """Note new runs and moved files. Nothing is submitted twice, or before it was still."""
        for run in self.do(self.site.runs):
            if run.run_id not in self.runs:
                name = run.source_path.removeprefix("in/")
                made_of = name, self.files[name]
                assert made_of not in self.runs.values()
                assert self.site.time - self.changed_at[name] >= QUIET
                assert self.last.get(name) != "CREATED"
                self.runs[run.run_id], self.last[name] = made_of, "CREATED"
        there = {path.name for path in self.folder.glob("*.csv")}
        for name in set(self.files) - there:
            assert self.moves
            assert self.ended[name, self.files[name]] in ENDED_WELL, "never before its run has ended well"
            self.moved.append(self.files.pop(name))
        done = self.folder / "done"
        assert (
            sorted(path.read_text() for path in done.iterdir()) == sorted(self.moved) if self.moved else True
        )
        for name, content in self.files.items():
            assert (self.folder / name).read_text() == content, "and never lost"


@pytest.mark.thorough
@pytest.mark.timeout(300)  # a thread for each look at the folder: it depends on how busy the machine is
@pytest.mark.parametrize(("changed", "moves"), [("rerun", True), ("refuse", False), ("ignore", True)])
def test_runs_are_the_distinct_contents(changed: str, moves: bool) -> None:
    kind = type("Folder", (Folder,), {"changed": changed, "moves": moves})
    run_state_machine_as_test(kind, settings=settings(max_examples=15, stateful_step_count=40, deadline=None))
