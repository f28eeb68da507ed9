"""Iceberg tables of a REST catalog: conflicts, lost answers, and an overloaded catalog."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.loads import iceberg
from local.loads.iceberg_rest import TOKEN, Rest, serving
from local.loads.lake_run import execute, flow_of

from lume_local._shared.commit import committed
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import iceberg_target, target_kinds
from lume_local._worker.targets.target import TargetError

UPSERT = {"iceberg": "s.t", "catalog": "lake", "mode": "upsert", "key": ["id"], "create": True}


@pytest.fixture
def rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rest]:
    with iceberg.opened(tmp_path) as catalog:
        catalog.create_namespace("s")
    with serving(tmp_path) as rest:
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", rest.url)
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__TOKEN", TOKEN)
        yield rest
        iceberg.forget()


def rows(folder: Path) -> list[tuple[Any, ...]]:
    return iceberg.rows(folder, "s.t", "id, name")


def test_loads_by_rest(tmp_path: Path, rest: Rest) -> None:
    execute(flow_of(UPSERT), tmp_path, "id,name\n1,a\n2,b\n", "run_1")
    execute(flow_of(UPSERT), tmp_path, "id,name\n2,B\n3,c\n", "run_2")
    assert rows(tmp_path) == [(1, "a"), (2, "B"), (3, "c")]
    assert iceberg.loads(tmp_path, "s.t") == ["run_1", "run_2"]
    with pytest.raises(RunFailed, match="there is no namespace x in the catalog lake"):
        execute(flow_of(UPSERT | {"iceberg": "x.t"}), tmp_path, "id,name\n", "run_3")


def test_another_commit_in_between(tmp_path: Path, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(flow_of(UPSERT), tmp_path, "id,name\n1,a\n", "run_1")
    original = iceberg_target._Work.commit

    def late(work: Any, lake: Any) -> None:
        monkeypatch.setattr(iceberg_target._Work, "commit", original)
        execute(flow_of(UPSERT), tmp_path, "id,name\n2,between\n", "run_2")
        original(work, lake)

    monkeypatch.setattr(iceberg_target._Work, "commit", late)
    execute(flow_of(UPSERT), tmp_path, "id,name\n2,b\n", "run_3")
    assert rest.commits == [200, 200, 409, 200]
    assert rows(tmp_path) == [(1, "a"), (2, "b")]
    assert iceberg.loads(tmp_path, "s.t") == ["run_1", "run_2", "run_3"]


@pytest.mark.parametrize("failure", ["lost", "busy"])
def test_an_answer_that_says_nothing_about_the_commit(tmp_path: Path, rest: Rest, failure: str) -> None:
    execute(flow_of(UPSERT), tmp_path, "id,name\n1,a\n", "run_1")
    setattr(rest, failure, 1)
    with pytest.raises(RunFailed, match="the catalog lake can't be used"):
        execute(flow_of(UPSERT), tmp_path, "id,name\n1,b\n", "run_2")
    record = committed(tmp_path / "run_2/run")
    assert record is not None
    for _ in range(2):
        target_kinds.publish(record, tmp_path / "run_2/run")
    assert rows(tmp_path) == [(1, "b")]
    assert iceberg.loads(tmp_path, "s.t") == ["run_1", "run_2"]


def test_whether_it_may_pass(tmp_path: Path, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(flow_of(UPSERT), tmp_path, "id,name\n1,a\n", "run_1")
    record = committed(tmp_path / "run_1/run")
    assert record is not None
    step = record["steps"][-1] | {"load": record["steps"][-1]["load"] | {"run_id": "run_2"}}
    for value, may_pass in (("wr0ng", False), (TOKEN, True)):
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__TOKEN", value)
        rest.busy = 1
        with pytest.raises(TargetError) as caught:
            target_kinds.publish({"steps": [step]}, tmp_path)
        assert caught.value.may_pass is may_pass
        assert value not in str(caught.value)
    assert rows(tmp_path) == [(1, "a")]


@pytest.mark.parametrize("silent", ["all", "commits"])
def test_a_catalog_that_never_answers(
    tmp_path: Path, rest: Rest, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    execute(flow_of(UPSERT), tmp_path, "id,name\n1,a\n", "run_1")
    if silent == "all":
        iceberg.forget()  # its first request comes before any other setting
    rest.silent = silent
    with monkeypatch.context() as patch:
        # what it does answer may take a while on a busy machine
        patch.setattr(iceberg_target, "_ANSWER", 2.0)
        with pytest.raises(RunFailed, match=r"ReadTimeout|Read timed out"):
            execute(flow_of(UPSERT), tmp_path, "id,name\n1,b\n", "run_2")
    rest.silent = ""
    rest.released.set()
    if record := committed(tmp_path / "run_2/run"):
        target_kinds.publish(record, tmp_path / "run_2/run")
    assert (silent, rows(tmp_path)) in (("all", [(1, "a")]), ("commits", [(1, "b")]))
    assert iceberg.loads(tmp_path, "s.t") == ["run_1", "run_2"][: 1 + (silent == "commits")]


def test_a_catalog_that_goes_away_during_a_commit(tmp_path: Path, rest: Rest) -> None:
    execute(flow_of(UPSERT), tmp_path, "id,name\n1,a\n", "run_1")
    rest.silent = "closed"
    with pytest.raises(RunFailed, match="can't be used: ConnectionError"):
        execute(flow_of(UPSERT), tmp_path, "id,name\n1,b\n", "run_2")
    rest.silent = ""
    record = committed(tmp_path / "run_2/run")
    assert record is not None
    target_kinds.publish(record, tmp_path / "run_2/run")
    assert rows(tmp_path) == [(1, "b")]
    assert iceberg.loads(tmp_path, "s.t") == ["run_1", "run_2"]
