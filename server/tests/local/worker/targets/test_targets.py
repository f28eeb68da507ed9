"""What is promised to a kind of target: every step is told before it is needed, and undone or carried out."""

from pathlib import Path
from typing import Any

import pytest
from local.one_run import carried_out, compiled, job_of

from lume_local._shared.commit import begin, begun, committed
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import target_kinds
from lume_local._worker.targets.target import Begin, Step, TargetError


class Shelf:
    """A target that tells what is asked of it."""

    told: list[Any]
    refuses = ""

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self.suffix, self.location, self.place = ".csv", f"shelf:{part}", part
        self._part = part

    def check(self) -> None:
        self.told.append(("check", self._part))

    def prepare(self, built: Path, begin: Begin) -> Step:
        begin({"kind": "shelf", "draft": self._part})
        self.told.append(("prepare", self._part, built.read_text()))
        if self.refuses == self._part:
            raise TargetError(f"no room for {self._part}")
        return {"kind": "shelf", "part": self._part}

    @staticmethod
    def publish(step: Step) -> None:
        Shelf.told.append(("publish", step["part"]))

    @staticmethod
    def abandon(step: Step) -> None:
        Shelf.told.append(("abandon", step["draft"]))


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    events: list[Any] = []
    monkeypatch.setattr(Shelf, "told", events, raising=False)
    monkeypatch.setitem(target_kinds.KINDS, "shelf", Shelf)
    return events


def run(folder: Path) -> dict[str, Any]:
    source, work = folder / "source", folder / "run"
    source.write_text("id\n1\nx\n")
    work.mkdir()
    with connect() as connection:
        job = job_of(compiled(), work, [source], folder / "mapped.csv", folder / "rejects.csv")
        job.mapped["kind"] = job.rejects["kind"] = "shelf"
        return carried_out(connection, job)


def test_the_rejects_first_and_nothing_before_the_commit(tmp_path: Path, told: list[Any]) -> None:
    record = run(tmp_path)
    steps = [{"kind": "shelf", "part": "rejects"}, {"kind": "shelf", "part": "mapped"}]
    assert record["steps"] == steps
    assert record["target_locations"] == {"mapped": "shelf:mapped", "rejects": "shelf:rejects"}
    assert [event[:2] for event in told] == [
        *(("check", "mapped"), ("check", "rejects")),
        *(("prepare", "rejects"), ("prepare", "mapped")),
        *(("publish", "rejects"), ("publish", "mapped")),
    ]
    assert told[3][2] == "id\n1\n"
    told.clear()
    assert target_kinds.finish(tmp_path / "run") == record, "by another process, after a kill"
    assert told == [("publish", "rejects"), ("publish", "mapped")]


def test_what_was_begun_is_abandoned(
    tmp_path: Path, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shelf, "refuses", "mapped")
    with pytest.raises(RunFailed, match="no room for mapped"):
        run(tmp_path)
    assert told[-2:] == [("abandon", "rejects"), ("abandon", "mapped")]
    assert committed(tmp_path / "run") is None
    told.clear()
    assert begun(tmp_path / "run") == []
    for part in ("rejects", "mapped"):
        begin(tmp_path / "run", {"kind": "shelf", "draft": part})
    assert target_kinds.finish(tmp_path / "run") is None, "by another process, after a kill"
    assert told == [("abandon", "rejects"), ("abandon", "mapped")]
