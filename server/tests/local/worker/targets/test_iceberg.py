"""Runs into Iceberg tables: what each mode leaves, what is refused, and who wins."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow
import pytest
from local.loads import iceberg
from local.loads.lake_run import COLUMNS, execute, flow_of
from moto_server import BUCKET, Bucket
from pyiceberg.catalog import Catalog, load_catalog

from lume_local._flow.fields import FlowError
from lume_local._shared.commit import committed
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import iceberg_target, lake_target, target_kinds
from lume_local._worker.targets.iceberg_target import IcebergLake, IcebergTarget, IcebergTypes
from lume_local._worker.targets.target import TargetError

pytestmark = pytest.mark.timeout(300)
TABLE = {"iceberg": "s.people", "catalog": "prod", "create": True}
APPEND = TABLE | {"mode": "append"}
UPSERT = TABLE | {"mode": "upsert", "key": ["id"]}
BATCH = TABLE | {"mode": "replace_batch"}
HISTORY = UPSERT | {"history": "scd2"}


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    with iceberg.prod(tmp_path, monkeypatch) as catalog:
        yield catalog


def csv(*rows: tuple[Any, ...], names: str = "id,name") -> str:
    return "\n".join([names, *(",".join(map(str, row)) for row in rows)]) + "\n"


def foreign(catalog: Catalog, *rows: dict[str, Any]) -> None:
    """Another program appends rows."""
    table = catalog.load_table("s.people")
    table.append(pyarrow.Table.from_pylist(list(rows), schema=table.schema().as_arrow()))


def people(folder: Path, columns: str = "id, name") -> list[tuple[Any, ...]]:
    return iceberg.rows(folder, "s.people", columns)


def test_appended_rows_between_others(tmp_path: Path, catalog: Catalog) -> None:
    record = execute(flow_of(APPEND), tmp_path, csv((1, "Ada"), (2, "Bob")), "run_1")
    assert record["target_locations"]["mapped"] == "iceberg://prod/s.people"
    foreign(catalog, {"id": 1, "name": "other"})
    execute(flow_of(APPEND), tmp_path, csv((3, "")), "run_2")
    found = people(tmp_path, "id, name, _lume_run_id")
    assert found == [(1, "Ada", "run_1"), (1, "other", None), (2, "Bob", "run_1"), (3, None, "run_2")]
    assert iceberg.loads(tmp_path, "s.people") == ["run_1", "", "run_2"]


def test_an_upsert_keeps_one_row_for_a_key(tmp_path: Path, catalog: Catalog) -> None:
    execute(flow_of(UPSERT), tmp_path, csv((1, "a"), (2, "b"), (3, "c")), "run_1")
    foreign(catalog, {"id": 2, "name": "twice"}, {"id": 9, "name": "kept"})
    execute(flow_of(UPSERT), tmp_path, csv((2, "B"), (4, "d")), "run_2")
    assert people(tmp_path) == [(1, "a"), (2, "B"), (3, "c"), (4, "d"), (9, "kept")]
    assert people(tmp_path, "id, _lume_run_id")[1] == (2, "run_2")


def test_an_upsert_keeps_values_of_columns_that_the_flow_lacks(tmp_path: Path, catalog: Catalog) -> None:
    uuid_of, tags = {"type": "string", "format": "uuid", "sql": "other"}, {"sql": "name || '!'"}
    more = {**COLUMNS, "other": uuid_of, "tag": tags}
    rows = csv(*((n, "a", f"{uuid.UUID(int=n)}") for n in (1, 2)), names="id,name,other")
    execute(flow_of(UPSERT, more), tmp_path, rows, "run_1")
    execute(flow_of(UPSERT), tmp_path, csv((2, "B"), (3, "c")), "run_2")
    one, two = f"{uuid.UUID(int=1)}", f"{uuid.UUID(int=2)}"
    expected = [(1, "a", one, "a!"), (2, "B", two, "a!"), (3, "c", None, None)]
    assert people(tmp_path, "id, name, other, tag") == expected


def test_a_batch_replaces_the_rows_of_its_source_only(tmp_path: Path, catalog: Catalog) -> None:
    execute(flow_of(BATCH), tmp_path, csv((1, "a"), (2, "b")), "run_1", source="b1")
    execute(flow_of(BATCH), tmp_path, csv((3, "c")), "run_2", source="it's")
    catalog.load_table("s.people").maintenance.expire_snapshots().older_than(_now()).commit()
    foreign(catalog, {"id": 7, "name": "foreign"})
    execute(flow_of(BATCH), tmp_path, csv((5, "e")), "run_3", source="b1")
    assert people(tmp_path) == [(3, "c"), (5, "e"), (7, "foreign")]
    execute(flow_of(BATCH), tmp_path, csv((6, "f")), "run_4", source="it's")
    assert people(tmp_path) == [(5, "e"), (6, "f"), (7, "foreign")]


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def test_history(tmp_path: Path, catalog: Catalog) -> None:
    execute(
        flow_of(HISTORY), tmp_path, csv((1, "a"), (2, "b"), (3, "")), "run_1", at="2026-01-01T00:00:00+00:00"
    )
    execute(
        flow_of(HISTORY), tmp_path, csv((1, "a"), (2, "B"), (3, "")), "run_2", at="2026-01-02T00:00:00+00:00"
    )
    # Its clock is late, but a version never begins before the one that it closes.
    execute(flow_of(HISTORY), tmp_path, csv((2, "C"), (4, "d")), "run_3", at="2025-01-01T00:00:00+00:00")
    times = (
        "strftime(valid_from, '%Y-%m-%d %f'), strftime(valid_to, '%Y-%m-%d %f'), \"current\", _lume_run_id"
    )
    assert people(tmp_path, f"id, name, {times}") == [
        (1, "a", "2026-01-01 000000", None, True, "run_1"),
        (2, "B", "2026-01-02 000000", "2026-01-02 000001", False, "run_2"),
        (2, "C", "2026-01-02 000001", None, True, "run_3"),
        (2, "b", "2026-01-01 000000", "2026-01-02 000000", False, "run_1"),
        (3, None, "2026-01-01 000000", None, True, "run_1"),
        (4, "d", "2026-01-02 000001", None, True, "run_3"),
    ]


def test_a_repeated_publication_does_nothing(tmp_path: Path, catalog: Catalog) -> None:
    for run_id, mapped in (("run_1", APPEND), ("run_2", HISTORY | {"iceberg": "s.history"})):
        execute(flow_of(mapped), tmp_path, csv((1, "a")), run_id)
        record = committed(tmp_path / run_id / "run")
        assert record is not None
        for _ in range(2):
            target_kinds.publish(record, tmp_path / run_id / "run")
    assert people(tmp_path) == [(1, "a")]
    assert iceberg.loads(tmp_path, "s.people") == ["run_1"]
    assert iceberg.loads(tmp_path, "s.history") == ["run_2"]


def test_a_load_is_known_when_its_snapshot_has_expired(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A property of the table names the last loads; an older one is known by its rows."""
    monkeypatch.setattr(iceberg_target, "MOST_RECENT", 3)
    at = _now().isoformat()
    first = last_step(tmp_path, "run_1", at=at)
    empty = last_step(tmp_path, "run_2", csv(), at=at)
    last_step(tmp_path, "run_3", at=at)
    for n in (4, 5):
        catalog.load_table("s.people").maintenance.expire_snapshots().older_than(_now()).commit()
        assert not {"run_1", "run_2"} & set(iceberg.loads(tmp_path, "s.people"))
        for step in (first, empty):
            IcebergTarget.publish(step)
        assert len(people(tmp_path)) == n - 2
        last_step(tmp_path, f"run_{n}", at=_now().isoformat())
    properties = iceberg.metadata(tmp_path, "s.people")["properties"]
    assert len(properties["lume.recent-runs"].split()) == 3


def last_step(folder: Path, run_id: str, content: str = "", **more: Any) -> dict[str, Any]:
    """The published step of a run."""
    execute(flow_of(APPEND), folder, content or csv((1, run_id)), run_id, **more)
    record = committed(folder / run_id / "run")
    assert record is not None
    return next(step for step in record["steps"] if step["kind"] == "iceberg")


@pytest.mark.parametrize(
    "mapped",
    [pytest.param(APPEND, marks=pytest.mark.thorough), UPSERT, BATCH, HISTORY],
    ids=["append", "upsert", "batch", "history"],
)
def test_a_commit_of_another_in_between(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, mapped: dict[str, Any]
) -> None:
    """Rows that another writer commits between the reading and the commit are seen by the next attempt."""
    execute(flow_of(mapped), tmp_path, csv((1, "a"), (2, "b")), "run_1")
    commits = []

    def commit(work: Any, lake: Any) -> None:
        if not commits:
            foreign(catalog, {"id": 1, "name": "between", "current": True, "valid_from": _now()})
        commits.append(lake)
        original(work, lake)

    original = iceberg_target._Work.commit
    monkeypatch.setattr(iceberg_target._Work, "commit", commit)
    monkeypatch.setattr(lake_target.time, "sleep", lambda seconds: None)
    execute(flow_of(mapped), tmp_path, csv((1, "new"), (3, "c")), "run_2")
    assert len(commits) == 2
    found = people(tmp_path)
    if mapped is UPSERT:
        assert found == [(1, "new"), (2, "b"), (3, "c")]
    elif mapped is BATCH:
        assert found == [(1, "between"), (1, "new"), (3, "c")]
    elif mapped is HISTORY:
        assert iceberg.rows(tmp_path, "s.people", "id, name, current") == [
            *((1, "a", False), (1, "between", False), (1, "new", True), (2, "b", True), (3, "c", True))
        ]
    else:
        assert found == [(1, "a"), (1, "between"), (1, "new"), (2, "b"), (3, "c")]
    assert sorted(iceberg.loads(tmp_path, "s.people")) == ["", "run_1", "run_2"]


def test_two_processes_that_publish_one_load_at_the_same_instant(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is stalled between its look and its commit, while a second one takes over."""
    execute(flow_of(APPEND), tmp_path, csv((0, "z")), "run_0")
    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(IcebergTarget, "publish", staticmethod(steps.append))
        execute(flow_of(APPEND), tmp_path, csv((1, "a")), "run_1")
    original = iceberg_target._Work.commit

    def stalled(work: Any, lake: Any) -> None:
        monkeypatch.setattr(iceberg_target._Work, "commit", original)
        IcebergTarget.publish(steps[0])
        original(work, lake)

    monkeypatch.setattr(iceberg_target._Work, "commit", stalled)
    IcebergTarget.publish(steps[0])
    assert people(tmp_path) == [(0, "z"), (1, "a")]
    assert iceberg.loads(tmp_path, "s.people") == ["run_0", "run_1"]


def test_an_overtaken_load(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(IcebergTarget, "publish", staticmethod(steps.append))
        execute(flow_of(UPSERT), tmp_path, csv((1, "old")), "run_1")
    execute(flow_of(UPSERT), tmp_path, csv((1, "new")), "run_2")
    with pytest.raises(TargetError, match="a later run"):
        IcebergTarget.publish(steps[0] | {"overtaken": "a later run has replaced it"})
    assert people(tmp_path) == [(1, "new")]


def test_columns_that_the_table_lacks(tmp_path: Path, catalog: Catalog) -> None:
    execute(flow_of(UPSERT), tmp_path, csv((1, "a"), (2, "b")), "run_1")
    wider = COLUMNS | {"age": {"sql": '"age"', "type": "integer"}}
    content = csv((1, "A", 30), names="id,name,age")
    with pytest.raises(
        RunFailed, match=r"target\.mapped: s\.people does not have the columns of the flow: age long"
    ):
        execute(flow_of(UPSERT, wider), tmp_path, content, "run_2")
    execute(flow_of(UPSERT | {"evolve": "add"}, wider), tmp_path, content, "run_3")
    assert people(tmp_path, "id, name, age") == [(1, "A", 30), (2, "b", None)]
    found = iceberg.metadata(tmp_path, "s.people")
    assert [len(one["fields"]) for one in found["schemas"]] == [3, 4]
    assert iceberg.loads(tmp_path, "s.people") == ["run_1", "run_3"]
    # The narrower flow still loads: the column is nullable.
    execute(flow_of(UPSERT), tmp_path, csv((3, "c")), "run_4")
    assert people(tmp_path, "id, age")[-1] == (3, None)


PARTITIONED = [
    pytest.param(["name"], ["name=a", "name=b"], marks=pytest.mark.thorough),
    (["bucket(4, id)"], ["id_bucket=0", "id_bucket=2", "id_bucket=3"]),
    (["month(day)", "name"], ["day_month=2024-01/name=a", "day_month=2024-02/name=b"]),
    pytest.param(["truncate(1, name)"], ["name_truncate=a", "name_truncate=b"], marks=pytest.mark.thorough),
]


@pytest.mark.parametrize(("by", "folders"), PARTITIONED, ids=lambda by: "-".join(by))
def test_partitions(tmp_path: Path, catalog: Catalog, by: list[str], folders: list[str]) -> None:
    columns = COLUMNS | {"day": {"sql": '"day"', "type": "string", "sql_type": "DATE"}}
    flow = flow_of(UPSERT | {"partition_by": by}, columns)
    rows = [(1, "a", "2024-01-01"), (2, "b", "2024-02-03"), (3, "b", "2024-02-04"), (4, "b", "2024-02-05")]
    execute(flow, tmp_path, csv(*rows, names="id,name,day"), "run_1")
    data = tmp_path / "warehouse/s/people/data"
    assert sorted({str(one.parent.relative_to(data)) for one in data.rglob("*.parquet")}) == folders
    execute(flow, tmp_path, csv((2, "a", "2024-01-09"), names="id,name,day"), "run_2")
    expected = [(1, "a"), (2, "a"), (3, "b"), (4, "b")]
    assert people(tmp_path) == expected
    table = catalog.load_table("s.people")
    # A reader that skips files by their partitions finds the same rows.
    for n, name in expected:
        found = table.scan(f"id = {n} and name = '{name}'").to_arrow()
        assert found["id"].to_pylist() == [n]


TYPES = {
    "TINYINT": ("int", "-128", -128),
    "UTINYINT": ("int", "255", 255),
    "SMALLINT": ("int", "-32768", -32768),
    "USMALLINT": ("int", "65535", 65535),
    "INTEGER": ("int", "-2147483648", -(2**31)),
    "UINTEGER": ("long", "4294967295", 2**32 - 1),
    "BIGINT": ("long", "-9223372036854775808", -(2**63)),
    "UBIGINT": ("decimal(20, 0)", "18446744073709551615", Decimal(2**64 - 1)),
    "HUGEINT": ("decimal(38, 0)", "9" * 38, Decimal("9" * 38)),
    "FLOAT": ("float", "0.5", 0.5),
    "DOUBLE": ("double", "0.1", 0.1),
    "DECIMAL(38,10)": ("decimal(38, 10)", "1.0000000001", Decimal("1.0000000001")),
    "BOOLEAN": ("boolean", "true", True),
    "VARCHAR": ("string", "a'b", "a'b"),
    "UUID": ("uuid", "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678" + "12345678" * 3)),
    "DATE": ("date", "9999-12-31", date(9999, 12, 31)),
    "TIME": ("time", "23:59:59.999999", "23:59:59.999999"),
    "TIMESTAMP": ("timestamp", "0001-01-01 00:00:00.000001", "0001-01-01 00:00:00.000001"),
    "TIMESTAMPTZ": ("timestamptz", "2024-02-29 12:00:00+02", "2024-02-29 10:00:00+00"),
}


def test_every_type(tmp_path: Path, catalog: Catalog) -> None:
    """The value at the limit of each type, and NULL, as an independent reader reads them."""
    columns: dict[str, Any] = {"n": {"sql": '"n"', "type": "integer", "required": True, "unique": True}}
    names = [f"c{n}" for n, _ in enumerate(TYPES)]
    for name, sql_type in zip(names, TYPES, strict=True):
        kind = "boolean" if sql_type == "BOOLEAN" else "string" if sql_type in ("VARCHAR", "UUID") else None
        kind = kind or ("string" if sql_type.startswith(("DATE", "TIME")) else "number")
        kind = "integer" if sql_type.endswith("INT") or sql_type == "INTEGER" else kind
        columns[name] = {"sql": f'"{name}"', "type": kind, "sql_type": sql_type}
    row = [1, *(text for _, text, _ in TYPES.values())]
    content = csv(row, [2, *("" for _ in TYPES)], names=",".join(["n", *names]))
    mapped = UPSERT | {"key": ["n"]}
    for run_id in ("run_1", "run_2"):  # the second one replaces all rows
        record = execute(flow_of(mapped, columns), tmp_path, content, run_id)
        assert record["metrics"]["rows_mapped"] == 2, record["metrics"]
    fields = {
        one["name"]: one["type"] for one in iceberg.metadata(tmp_path, "s.people")["schemas"][0]["fields"]
    }
    assert [fields[name] for name in names] == [kind for kind, _, _ in TYPES.values()]
    text = [f"{name}::VARCHAR" if kind in ("time", "timestamp", "timestamptz") else name
            for name, (kind, *_) in zip(names, TYPES.values(), strict=True)]  # fmt: skip
    first, second = iceberg.rows(tmp_path, "s.people", ", ".join(["n", *text]), "n")
    assert list(first) == [1, *(value for *_, value in TYPES.values())]
    assert list(second) == [2, *(None for _ in TYPES)]


FITTING = [
    ("long", "INTEGER", True),
    ("int", "BIGINT", False),
    ("int", "UINTEGER", False),
    ("double", "FLOAT", True),
    ("float", "DOUBLE", False),
    ("decimal(38, 0)", "HUGEINT", True),
    ("decimal(38, 0)", "BIGINT", True),
    ("decimal(10, 0)", "BIGINT", False),
    ("decimal(12, 2)", "DECIMAL(10,2)", True),
    ("decimal(12, 2)", "DECIMAL(12,1)", False),
    ("string", "UUID", True),
    ("string", "JSONB", True),
    ("uuid", "VARCHAR", False),
    ("string", "BIGINT", False),
    ("timestamp", "TIMESTAMPTZ", False),
    ("timestamptz", "TIMESTAMP", False),
    ("fixed[16]", "UUID", False),
    ("list<string>", "VARCHAR", False),
]


@pytest.mark.parametrize(("given", "sql_type", "fits"), FITTING)
def test_types_that_fit(given: str, sql_type: str, fits: bool) -> None:
    assert IcebergTypes().fits(given, sql_type) is fits


def test_what_is_refused_before_anything_is_read(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(mapped: dict[str, Any], columns: Any = None) -> str:
        with pytest.raises(RunFailed) as caught:
            execute(flow_of(mapped, columns), tmp_path, csv((1, "a")), f"run_{uuid.uuid4()}")
        return str(caught.value)

    missing = refused(APPEND | {"create": False})
    assert missing.startswith("target.mapped: there is no table s.people: set create = true in target.mapped")
    assert 'CREATE TABLE s.people ("id" long, "name" string, "_lume_run_id" string) USING iceberg' in missing
    assert "pyiceberg --catalog prod create namespace other" in refused(APPEND | {"iceberg": "other.people"})
    assert "set PYICEBERG_CATALOG__NONE__URI" in refused(APPEND | {"catalog": "none"})
    execute(flow_of(APPEND), tmp_path, csv((1, "a")), "run_1")
    texts = {"id": COLUMNS["id"] | {"type": "string"}, "nome": {"sql": '"name"', "type": "string"}}
    words = refused(APPEND, texts)
    assert "id is long, not string; nome string is missing (there is name)" in words
    assert "is partitioned by no column" in refused(APPEND | {"partition_by": ["name"]})
    assert "valid_from timestamptz is missing" in refused(HISTORY)
    catalog.create_table("s.strict", pyarrow.schema([pyarrow.field("id", "int64", False),
                                                     pyarrow.field("name", "string", False)]))  # fmt: skip
    assert "name of s.strict needs a value" in refused(APPEND | {"iceberg": "s.strict"})
    catalog.create_table("s.old", pyarrow.schema([("id", "int64")]), properties={"format-version": "1"})
    assert "has the format version 1" in refused(APPEND | {"iceberg": "s.old"})
    monkeypatch.setenv("PYICEBERG_CATALOG__DOWN__URI", "http://user:s3cret@127.0.0.1:1/iceberg")
    monkeypatch.setenv("PYICEBERG_CATALOG__DOWN__TOKEN", "t0ken")
    words = refused(APPEND | {"catalog": "down"})
    assert "the catalog down can't be used" in words
    assert "s3cret" not in words
    assert "t0ken" not in words
    assert people(tmp_path) == [(1, "a")]


SETTINGS = [
    ({"iceberg": "people"}, "write namespace.table"),
    ({"catalog": "../x"}, "target.mapped.catalog"),
    ({"mode": "merge"}, "target.mapped.mode"),
    ({"partition_by": ["day(nope)"]}, "'nope' is not a column of this flow"),
    ({"partition_by": ["bucket(4, id)", "id"]}, "names a column twice"),
    ({"delta": "/x"}, "names a table of each format"),
    ({"on_violation": "reject"}, "target.mapped.on_violation"),
    ({"evolve": "drop"}, "target.mapped.evolve"),
    ({"history": "scd2"}, 'needs mode = "upsert"'),
]


@pytest.mark.parametrize(("change", "words"), SETTINGS, ids=lambda one: str(one)[:30])
def test_settings_that_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FlowError) as caught:
        flow_of(APPEND | change)
    assert words in str(caught.value)


def test_rejects_as_a_table(tmp_path: Path, catalog: Catalog) -> None:
    rejects = {"iceberg": "s.rejects", "catalog": "prod", "create": True}
    execute(flow_of(APPEND, rejects=rejects), tmp_path, csv((1, "a"), ("x", "b")), "run_1")
    record = committed(tmp_path / "run_1/run")
    assert record is not None
    target_kinds.publish(record, tmp_path / "run_1/run")
    columns = "_lume_reject, _lume_source, _lume_row, _lume_reasons, _lume_values, _lume_run_id"
    (row,) = iceberg.rows(tmp_path, "s.rejects", columns)
    assert row[:3] == (1, "b1", 2)
    assert "id" in row[3]
    assert row[4:] == ('{"id":"x","name":"b"}', "run_1")
    assert iceberg.loads(tmp_path, "s.rejects") == ["run_1/rejects"]


@pytest.mark.thorough
def test_polars_and_pyiceberg_read_the_same(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    execute(flow_of(UPSERT), tmp_path, csv(*((n, f"a{n}") for n in range(1000))), "run_1")
    execute(flow_of(UPSERT), tmp_path, csv(*((n, f"b{n}") for n in range(500, 1500))), "run_2")
    table = catalog.load_table("s.people")
    by_polars = polars.scan_iceberg(table).select("id", "name").sort("id").collect().rows()
    assert by_polars == people(tmp_path)
    assert (
        sorted(zip(*(table.scan().to_arrow()[name].to_pylist() for name in ("id", "name")), strict=True))
        == by_polars
    )


@pytest.mark.thorough
def test_many_small_loads_leave_few_manifests(tmp_path: Path, catalog: Catalog, monkeypatch: Any) -> None:
    """Each commit lists all manifests: without merging them a commit would cost more with every load."""
    execute(flow_of(APPEND), tmp_path, csv((1, "a")), "run_1")
    with catalog.load_table("s.people").transaction() as transaction:
        transaction.set_properties({"commit.manifest.min-count-to-merge": "2"})
    for n in range(2, 5):
        execute(flow_of(APPEND), tmp_path, csv((n, "a")), f"run_{n}")
    table = catalog.load_table("s.people")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(table.io)) < 3
    assert len(people(tmp_path)) == 4


def test_a_warehouse_in_s3(
    tmp_path: Path, catalog: Catalog, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server's own settings of the store; files are read back by another client."""
    monkeypatch.setenv(f"{iceberg.VARIABLE}WAREHOUSE", f"s3://{BUCKET}/lake")
    execute(flow_of(APPEND), tmp_path, csv((1, "a"), (2, "b")), "run_1")
    execute(flow_of(UPSERT), tmp_path, csv((2, "B"), (3, "c")), "run_2")
    settings = {"uri": iceberg.settings_of(tmp_path)["uri"], "s3.endpoint": bucket.url}
    keys = {"s3.access-key-id": "testing", "s3.secret-access-key": "s3cret", "s3.region": "eu-west-1"}
    with closing(load_catalog(iceberg.NAME, **settings, **keys)) as other:
        plan = other.load_table("s.people").scan().plan_files()
    prefix = f"s3://{BUCKET}/"
    files = [bucket.get(task.file.file_path.removeprefix(prefix)) for task in plan]
    found = [row for file in files for row in polars.read_parquet(file).select("id", "name").rows()]
    assert sorted(found) == [(1, "a"), (2, "B"), (3, "c")]
    with bucket.guarded("s3:CreateBucket") as given:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(RunFailed, match="ACCESS_DENIED") as no:
            execute(flow_of(UPSERT), tmp_path, csv((1, "x")), "run_3")
        # Its metadata can't be written, after the commit of the run: a repetition would not help.
        with pytest.raises(RunFailed, match=r"ACCESS_DENIED.*None of its rows") as at_publish:
            execute(flow_of(UPSERT | {"iceberg": "s.new"}), tmp_path, csv((1, "x")), "run_4")
        record = committed(tmp_path / "run_4/run")
        assert record is not None
        with pytest.raises(TargetError, match="ACCESS_DENIED") as refused:
            target_kinds.publish(record, tmp_path / "run_4/run")
        assert not refused.value.may_pass
    assert given["AWS_SECRET_ACCESS_KEY"] not in f"{no.value} {at_publish.value}"


def test_keys_of_earlier_runs(tmp_path: Path, catalog: Catalog) -> None:
    """What a resubmitted reject is compared with."""
    execute(flow_of(APPEND), tmp_path, csv((1, "a"), (2, "b")), "run_1")
    execute(flow_of(APPEND), tmp_path, csv((3, "c")), "run_2")
    target = IcebergTarget(
        "mapped", {**_place(flow_of(APPEND)), "columns": [], "flow": "f", "source_path": "b"}, "run_3"
    )
    lake = IcebergLake.open(target._load)
    assert lake is not None
    with duckdb.connect() as connection:
        connection.register("_rows", lake.scan(["id", "_lume_run_id"], ["run_2", "run_9"]))
        assert connection.execute("SELECT id FROM _rows").fetchall() == [(3,)]


def _place(flow: Any) -> dict[str, Any]:
    from attrs import asdict

    return asdict(flow.mapped)
