"""What a flow may say of a Delta table, and the statements that name it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local.loads.lake_run import COLUMNS, flow_of, job_of

from lume_local._flow.fields import FlowError
from lume_local._runs.forget import Forgetter, Search
from lume_local._runs.sources.paths import PathRefused
from lume_local._trials.ddl import table_ddl


def into(place: str) -> dict[str, Any]:
    return {"delta": place, "mode": "append", "create": True}


@pytest.mark.parametrize(
    ("mapped", "columns", "place", "words"),
    [
        (
            {"mode": "append", "on_violation": "reject"},
            {},
            "target.mapped.on_violation",
            "belongs to a database",
        ),
        ({"mode": "append", "url_env": "X"}, {}, "target.mapped.url_env", "this table is found by delta"),
        ({"mode": "append", "iceberg": "a.b"}, {}, "target.mapped", "of each format"),
        ({}, {}, "target.mapped.mode", "is missing"),
        ({"mode": "append", "key": ["id"]}, {}, "target.mapped.key", 'with mode = "upsert", and only there'),
        ({"mode": "upsert"}, {}, "target.mapped.key", 'is required with mode = "upsert"'),
        ({"mode": "upsert", "key": ["name"]}, {}, "target.mapped.key", "can be NULL"),
        ({"mode": "upsert", "key": ["no"]}, {}, "target.mapped.key", "is not a column of this flow"),
        ({"mode": "append", "history": "scd2"}, {}, "target.mapped.history", 'needs mode = "upsert"'),
        ({"mode": "append", "evolve": "all"}, {}, "target.mapped.evolve", "is not one of add"),
        ({"mode": "append", "partition_by": ["no"]}, {}, "target.mapped.partition_by", "is not a column"),
        *(
            (
                {"mode": "append", "partition_by": ["n"]},
                {"n": {"sql": "n", "type": "number", "sql_type": kind}},
                "target.mapped.partition_by",
                "whose values can't divide files: choose",
            )
            for kind in ("DOUBLE", "DECIMAL(10,3)")
        ),
        (
            {"mode": "append", "partition_by": ["id", "id"]},
            {},
            "target.mapped.partition_by",
            "names a column twice",
        ),
        (
            {"mode": "append", "partition_by": ["id", "name"]},
            {},
            "target.mapped.partition_by",
            "has all columns",
        ),
        ({"mode": "append", "catalog": "x"}, {}, "target.mapped.catalog", "is not a known key"),
        (
            {"mode": "append", "delta": "lake/{run_id}"},
            {},
            "target.mapped.delta",
            "another table for each run",
        ),
        ({"mode": "append", "delta": "~/lake"}, {}, "target.mapped.delta", "only a shell expands"),
        ({"mode": "append", "delta": "s3://lake/"}, {}, "target.mapped.delta", "is a whole bucket"),
        (
            {"mode": "append", "delta": "hdfs://lake/x"},
            {},
            "target.mapped.delta",
            "must be a folder, or a URL",
        ),
        (
            {"mode": "append", "delta": "s3://lake/a/../b"},
            {},
            "target.mapped.delta",
            "has a part that is empty",
        ),
        ({"mode": "append"}, {"id": {"type": "integer", "unique": "ever"}}, "columns.id.unique", "set true"),
        (
            {"mode": "upsert", "key": ["id"], "history": "scd2"},
            {**COLUMNS, "Current": {"sql": "1"}},
            "columns.Current",
            'history = "scd2" writes',
        ),
    ],
)
def test_refused_when_a_flow_is_registered(
    mapped: dict[str, Any], columns: Any, place: str, words: str
) -> None:
    with pytest.raises(FlowError, match=words) as refused:
        flow_of({"delta": "lake/people", **mapped}, columns or None)
    assert refused.value.place == place


def test_one_table_for_both() -> None:
    with pytest.raises(FlowError, match=r"target\.rejects\.delta: is the table of target\.mapped"):
        flow_of(into("lake/people/"), rejects={"delta": "lake/people"})


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/elsewhere/lake", "lies outside of the folders"),
        (".", "has a root of this server in it"),
        ("{data}", "has a root of this server in it"),
        ("{data}/state/x", "is the server's own state"),
        ("{data}/uploads/x", "lies among the uploads"),
        ("a/../b", "contains a '..' part"),
        ("s3://other/lake", "lies outside of the buckets"),
    ],
)
def test_places_that_the_server_may_not_use(tmp_path: Path, place: str, words: str) -> None:
    with pytest.raises(PathRefused, match=words):
        job_of(flow_of(into(place)), tmp_path, "id,name\n1,a\n", "run_1")


def test_places_with_placeholders(tmp_path: Path) -> None:
    for place, there in {
        "lake/{flow}": f"{tmp_path}/lake/people",
        "{data}/out/{flow}_{version}/": f"{tmp_path}/.lume/out/people_v1",
        "s3://warehouse/{flow}/t/": "s3://warehouse/people/t",
    }.items():
        job = job_of(flow_of(into(place)), tmp_path, "id,name\n1,a\n", f"run_{len(place)}")
        assert job.mapped["table"] == there


def test_ddl() -> None:
    with pytest.raises(FlowError, match="is a table of delta, which postgresql does not create"):
        table_ddl(flow_of(into("lake/x")).definition, "postgresql")


def test_forget_names_the_table_with_a_statement() -> None:
    search = Search({"name": "o'x"}, False, True, "me")
    flow = flow_of(into("lake/x"), rejects={"delta": "lake/r"})
    flows: Any = SimpleNamespace(all=lambda: [SimpleNamespace(ref="x")], parsed=lambda ref: flow)
    nobody: Any = SimpleNamespace(state=Path())
    forgetter = Forgetter(nobody, flows, nobody, nobody, nobody, nobody, None)
    assert forgetter._tables(search) == {}
    assert search.left == {
        "table lake/r of delta": "may have rejects of the person: look there",
        "table lake/x of delta": """run there: DELETE FROM delta.`lake/x` WHERE (`name` = 'o''x')""",
    }
