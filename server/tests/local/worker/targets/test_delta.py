"""Delta tables as targets: types, modes, history, refusals, conflicts, object stores."""

import json
import threading
from pathlib import Path
from typing import Any

import depth
import duckdb
import polars
import pytest
from attrs import asdict
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType
from hypothesis import given
from hypothesis import strategies as st
from local.loads.delta_log import commits_of, rows_of
from local.loads.lake_run import AT, COLUMNS, execute, flow_of
from moto_server import Bucket
from store_servers import Place

from lume_local._shared.commit import committed
from lume_local._worker import object_stores
from lume_local._worker.engine import RunFailed
from lume_local._worker.object_stores import options_for_delta
from lume_local._worker.targets import lake_target, target_kinds
from lume_local._worker.targets.delta_target import DeltaLake, DeltaTarget, DeltaTypes
from lume_local._worker.targets.target import TargetError

TWO = "id,name\n1,a\n2,\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "lake/people"


def into(table: object, mode: str = "append", **more: Any) -> dict[str, Any]:
    return {"delta": str(table), "mode": mode, "create": True, **more}


def upsert(table: object, **more: Any) -> dict[str, Any]:
    return into(table, "upsert", key=["id"], **more)


def seen(table: Path, *names: str) -> list[tuple[Any, ...]]:
    """The rows by the log, in order."""
    rows = (tuple(row[name] for name in names or ("id", "name")) for row in rows_of(table))
    return sorted(rows, key=lambda row: tuple(map(str, row)))


TYPES = [
    ("integer", "TINYINT", "byte", "-128", -128),
    ("integer", "UTINYINT", "short", "255", 255),
    ("integer", "SMALLINT", "short", "-32768", -32768),
    ("integer", "USMALLINT", "integer", "65535", 65535),
    ("integer", "INTEGER", "integer", "-2147483648", -2147483648),
    ("integer", "UINTEGER", "long", "4294967295", 4294967295),
    ("integer", "BIGINT", "long", "-9223372036854775808", -(2**63)),
    ("integer", "UBIGINT", "decimal(20,0)", "18446744073709551615", 2**64 - 1),
    ("integer", "HUGEINT", "string", "9" * 38, "9" * 38),
    ("number", "FLOAT", "float", "0.5", 0.5),
    ("number", "DOUBLE", "double", "1e300", 1e300),
    ("number", "DECIMAL(4,2)", "decimal(4,2)", "-99.99", -99.99),
    ("number", "DECIMAL(38,10)", "decimal(38,10)", "1234567890123456789012345678.0123456789", None),
    ("boolean", "BOOLEAN", "boolean", "true", True),
    ("string", "VARCHAR", "string", "ü \N{SNOWMAN}", "ü \N{SNOWMAN}"),
    (
        "string",
        "UUID",
        "string",
        "123e4567-e89b-12d3-a456-426614174000",
        "123e4567-e89b-12d3-a456-426614174000",
    ),
    ("string", "DATE", "date", "0001-01-01", "0001-01-01"),
    ("string", "TIME", "string", "23:59:59.999999", "23:59:59.999999"),
    ("string", "TIMESTAMP", "timestamp_ntz", "2024-02-29 23:59:59.123456", "2024-02-29 23:59:59.123456"),
    ("string", "TIMESTAMPTZ", "timestamp", "2024-03-31 03:00:00.5+02", "2024-03-31 01:00:00.500000+00:00"),
]


@pytest.mark.parametrize(("partitioned"), [False, True])
def test_every_type_is_written_and_read_back(table: Path, tmp_path: Path, partitioned: bool) -> None:
    columns: dict[str, Any] = {"id": COLUMNS["id"]}
    for n, (kind, sql_type, *_) in enumerate(TYPES):
        columns[f"c{n}"] = {"sql": f'"c{n}"', "type": kind, "sql_type": sql_type}
    names = list(columns)
    by = [f"c{n}" for n, (_, kind, *_) in enumerate(TYPES) if kind in ("VARCHAR", "DATE", "BIGINT")]
    csv = ",".join(names) + "\n1," + ",".join(one[3] for one in TYPES) + "\n2" + "," * len(TYPES) + "\n"
    flow = flow_of(into(table, **({"partition_by": by} if partitioned else {})), columns)
    metrics = execute(flow, tmp_path, csv)["metrics"]
    assert metrics["reject_reasons"] == {}
    schema = {field.name: str(field.type.type) for field in DeltaTable(str(table)).schema().fields}
    assert [schema[f"c{n}"] for n in range(len(TYPES))] == [one[2] for one in TYPES]
    full, empty = sorted(polars.read_delta(str(table)).to_dicts(), key=lambda row: row["id"])
    assert {empty[f"c{n}"] for n in range(len(TYPES))} == {None}
    for n, (*_, text, value) in enumerate(TYPES):
        found = full[f"c{n}"]
        is_same = (
            found == value if isinstance(value, int | float) and n != 11 else str(found) == str(value or text)
        )
        assert is_same, (TYPES[n], found)
    # As the next run compares it, too: the same rows change nothing.
    assert execute(flow, tmp_path, csv, "run_2")["status"] == "SUCCEEDED"
    assert len(rows_of(table)) == 4


def test_which_types_fit() -> None:
    types = DeltaTypes()
    for _, sql_type, best, *_ in TYPES:
        assert (types.best(sql_type), types.fits(best, sql_type)) == (best, True)
    for there, sql_type, fits in [
        ("long", "INTEGER", True),
        ("integer", "BIGINT", False),
        ("decimal(20,4)", "DECIMAL(10,2)", True),
        ("decimal(10,2)", "DECIMAL(10,4)", False),
        ("decimal(10,4)", "DECIMAL(10,2)", False),
        ("timestamp", "TIMESTAMP", False),
        ("timestamp_ntz", "TIMESTAMPTZ", False),
        ("string", "DATE", False),
        ("double", "FLOAT", True),
        ("struct", "VARCHAR", False),
        ("string", "JSONB", True),
    ]:
        assert types.fits(there, sql_type) is fits, (there, sql_type)


def test_modes(table: Path, tmp_path: Path) -> None:
    flow = flow_of(into(table, "replace_batch"))
    execute(flow, tmp_path, TWO, "run_1", source="it's")
    execute(flow, tmp_path, "id,name\n3,c\n", "run_2", source="b2")
    assert seen(table) == [(1, "a"), (2, None), (3, "c")]
    execute(flow, tmp_path, "id,name\n4,d\n", "run_3", source="it's")
    assert seen(table) == [(3, "c"), (4, "d")]
    execute(flow, tmp_path, "id,name\n", "run_4", source="it's")
    assert seen(table) == [(3, "c")], "no rows replace the earlier ones, too"
    execute(flow_of(into(table)), tmp_path, "id,name\n", "run_5")
    execute(flow_of(upsert(table)), tmp_path, "id,name\n", "run_6")
    execute(flow_of(upsert(table)), tmp_path, "id,name\n3,z\n5,\n", "run_7")
    assert seen(table, "id", "name", "_lume_run_id") == [(3, "z", "run_7"), (5, None, "run_7")]


def test_an_empty_run_creates_an_empty_table(table: Path, tmp_path: Path) -> None:
    execute(flow_of(into(table, partition_by=["name"])), tmp_path, "id,name\n")
    assert rows_of(table) == []
    assert DeltaTable(str(table)).metadata().partition_columns == ["name"]


@pytest.mark.parametrize("required", [False, True])
def test_an_empty_text_divides_no_files(table: Path, tmp_path: Path, required: bool) -> None:
    """A table of deltalake whose column refuses NULL could not be opened any more."""
    country = {"type": "string", "sql": "coalesce(name, '')", "required": required}
    columns = {**COLUMNS, "country": country}
    with pytest.raises(
        RunFailed, match="mapped: country divides the files of the table, and is an empty text"
    ):
        execute(flow_of(into(table, partition_by=["country"]), columns), tmp_path, TWO)
    assert not table.exists()
    execute(flow_of(into(table, partition_by=["country"]), columns), tmp_path, "id,name\n1,a\n", "run_2")
    with pytest.raises(RunFailed, match="is an empty text"):  # also if only the table says by which columns
        execute(flow_of(upsert(table), columns), tmp_path, TWO, "run_3")
    assert seen(table, "id", "country") == [(1, "a")]


def test_rejects_are_a_table(table: Path, tmp_path: Path) -> None:
    rejects = {"delta": str(tmp_path / "lake/rejects"), "create": True}
    record = execute(flow_of(into(table), rejects=rejects), tmp_path, "id,name\n1,a\nx,b\n1,c\n")
    assert record["target_locations"]["rejects_table"] == f"delta+{(tmp_path / 'lake/rejects').as_uri()}"
    assert seen(tmp_path / "lake/rejects", "_lume_reject", "_lume_values", "_lume_run_id") == [
        (1, '{"id":"x","name":"b"}', "run_1"),
        (2, '{"id":"1","name":"c"}', "run_1"),
    ]


@pytest.mark.parametrize("history", ["", pytest.param("scd2", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    ("kind", "sql_type", "keys"),
    [
        ("integer", "UBIGINT", ["18446744073709551615", "1"]),
        ("integer", "HUGEINT", ["9" * 38, "10", "9"]),
        ("integer", "SMALLINT", ["-5", "1"]),
        ("number", "DECIMAL(10,3)", ["-0.001", "1.5", "10"]),
        ("string", "VARCHAR", ["a", "A", "\u00e4", "a\u0308", " a", "\U0010ffff" * 40]),
        ("string", "DATE", ["0001-01-01", "9999-12-31"]),
        ("string", "TIMESTAMPTZ", ["2024-03-31 03:00:00.5+02", "2024-01-01 00:00:00.000001+00"]),
    ],
)
def test_keys_of_each_type_are_found_again(
    table: Path, tmp_path: Path, kind: str, sql_type: str, keys: list[str], history: str
) -> None:
    key = {"sql": "k", "type": kind, "sql_type": sql_type, "required": True, "unique": True}
    columns = {"differs": key, "v": {"sql": "v", "type": "string"}}
    more = {"history": history} if history else {}
    flow = flow_of(into(table, mode="upsert", key=["differs"], **more), columns)
    for n in range(2):
        csv = "k,v\n" + "".join(f'"{one}",{n}\n' for one in keys)
        execute(flow, tmp_path, csv, f"run_{n}", at=f"2026-01-0{n + 1}T00:00:00+00:00")
    rows = polars.read_delta(str(table)).to_dicts()
    assert [row["v"] for row in rows if not history or row["current"]] == ["1"] * len(keys)
    assert len(rows) == len(keys) * (2 if history else 1)


def test_history(table: Path, tmp_path: Path) -> None:
    flow = flow_of(upsert(table, history="scd2"))
    execute(flow, tmp_path, TWO, "run_1", at="2026-03-01T10:00:00+00:00")
    execute(flow, tmp_path, TWO, "run_2", at="2026-03-01T11:00:00+00:00")
    assert len(rows_of(table)) == 2, "the same values, NULL too, are the same version"
    named = [one["txn"]["appId"] for actions in commits_of(table).values() for one in actions if "txn" in one]
    assert named == ["lume/run_1", "lume/run_2"], "a load that changes nothing is noted"
    execute(flow, tmp_path, "id,name\n1,b\n2,b\n3,c\n", "run_3", at="2026-03-01T12:00:00+00:00")
    # Submitted before the versions that it closes.
    execute(flow, tmp_path, "id,name\n1,\n", "run_4", at="2026-03-01T09:00:00+00:00")
    names = "id", "valid_from", "name", "valid_to", "current", "_lume_run_id"
    found = [(number, name, since, *rest) for number, since, name, *rest in seen(table, *names)]
    spelled = [
        (one[0], one[1], *(value and str(value)[11:26] for value in one[2:4]), *one[4:]) for one in found
    ]
    assert spelled == [
        (1, "a", "10:00:00+00:00", "12:00:00+00:00", False, "run_1"),
        (1, "b", "12:00:00+00:00", "12:00:00.000001", False, "run_3"),
        (1, None, "12:00:00.000001", None, True, "run_4"),
        (2, None, "10:00:00+00:00", "12:00:00+00:00", False, "run_1"),
        (2, "b", "12:00:00+00:00", None, True, "run_3"),
        (3, "c", "12:00:00+00:00", None, True, "run_3"),
    ]


def test_every_current_version_of_a_key_is_closed(table: Path, tmp_path: Path) -> None:
    flow = flow_of(upsert(table, history="scd2"))
    execute(flow, tmp_path, TWO, "run_1")
    names = "name, NULL::TIMESTAMPTZ AS valid_to, true AS current, NULL::VARCHAR AS _lume_run_id"
    foreign = f"SELECT 1::BIGINT AS id, 'between' AS {names}, '{AT}'::TIMESTAMPTZ AS valid_from"
    write_deltalake(str(table), duckdb.sql(foreign), mode="append")
    execute(flow, tmp_path, "id,name\n1,new\n", "run_2")
    assert seen(table, "id", "name", "current") == [
        *((1, "a", False), (1, "between", False), (1, "new", True), (2, None, True))
    ]


def test_columns_that_the_table_lacks(table: Path, tmp_path: Path) -> None:
    execute(flow_of(into(table, partition_by=["name"])), tmp_path, TWO)
    large = {"sql": "1", "sql_type": "UBIGINT", "type": "integer"}
    more = {**COLUMNS, "city": {"sql": "'x'", "type": "string"}, "n": large}
    with pytest.raises(RunFailed, match=r"city string is missing; n decimal\(20,0\) is missing\. Change"):
        execute(flow_of(into(table), more), tmp_path, TWO, "run_2")
    execute(flow_of(upsert(table, evolve="add"), more), tmp_path, TWO, "run_3")
    assert seen(table, "id", "city", "n") == [(1, "x", 1), (2, "x", 1)]
    fields = {field.name: field.nullable for field in DeltaTable(str(table)).schema().fields}
    assert fields == {"id": False, "name": True, "_lume_run_id": True, "city": True, "n": True}
    # A flow without them leaves them alone.
    execute(flow_of(upsert(table)), tmp_path, "id,name\n1,b\n4,b\n", "run_4")
    assert seen(table, "id", "name", "city") == [(1, "b", "x"), (2, None, "x"), (4, "b", None)]
    execute(flow_of(into(table)), tmp_path, "id,name\n5,\n", "run_5")
    assert seen(table, "id", "city")[-1] == (5, None)


def made(table: Path, *fields: tuple[str, str, bool], **more: Any) -> None:
    DeltaTable.create(
        str(table),
        Schema([Field(name, PrimitiveType(kind), nullable=null) for name, kind, null in fields]),
        **more,
    )


ID, NAME = ("id", "long", True), ("name", "string", True)


@pytest.mark.parametrize(
    ("fields", "more", "words"),
    [
        ([ID, ("name", "date", True)], {}, "name is date, not string"),
        ([("id", "integer", True), NAME], {}, "id is integer, not long"),
        ([ID, ("Name", "string", True)], {}, r"name string is missing \(there is Name\)"),
        ([ID, ("Name", "string", True)], {"evolve": "add"}, r"name string is missing \(there is Name\)"),
        ([ID, NAME, ("x", "long", False)], {}, "x must have a value, but the flow has none"),
        (
            [ID, NAME],
            {"partition_by": ["name"]},
            r"is partitioned by no column, and the flow says .*\['name'\]",
        ),
        (
            [ID, NAME],
            {"mode": "replace_batch"},
            "_lume_flow string is missing; _lume_source string is missing",
        ),
        ([ID, NAME], {"mode": "upsert", "key": ["id"], "history": "scd2"}, "valid_from timestamp is missing"),
        (
            [ID, NAME],
            {"mode": "upsert", "key": ["id"], "history": "scd2", "evolve": "add"},
            "valid_from timestamp is missing; valid_to timestamp is missing; current boolean is missing. Change",
        ),
    ],
)
def test_a_table_that_does_not_fit(
    table: Path, tmp_path: Path, fields: Any, more: dict[str, Any], words: str
) -> None:
    made(table, *fields)
    with pytest.raises(RunFailed, match=f"target.mapped: .*{words}"):
        execute(flow_of(into(table, **{"mode": "append", **more})), tmp_path, TWO)
    assert not list((tmp_path / "run_1/run").iterdir()), "before anything is read"
    assert len(commits_of(table)) == 1


REFUSED = [
    ("append", {"delta.columnMapping.mode": "name"}, {}, "delta.columnMapping.mode = name, with which"),
    ("append", {"delta.enableDeletionVectors": "true"}, {}, "delta.enableDeletionVectors = true, with which"),
    ("upsert", {"delta.appendOnly": "true"}, {}, 'appendOnly = true, with which mode = "upsert" is not'),
    ("append", {"delta.appendOnly": "true"}, {}, ""),
    ("append", {}, {"delta.identity.start": 1}, "id is generated by the database"),
]


@pytest.mark.parametrize(("mode", "properties", "about", "words"), REFUSED)
def test_tables_of_spark_that_are_refused(
    table: Path, tmp_path: Path, mode: str, properties: dict[str, str], about: dict[str, Any], words: str
) -> None:
    names = ("id", "long"), ("name", "string")
    DeltaTable.create(table, Schema([Field(name, PrimitiveType(kind)) for name, kind in names]))
    change_log(table, lambda fields: fields[0]["metadata"].update(about), properties)
    flow = flow_of(upsert(table) if mode == "upsert" else into(table))
    if words:
        with pytest.raises(RunFailed, match=words):
            execute(flow, tmp_path, TWO)
    else:
        execute(flow, tmp_path, TWO)
        assert seen(table) == [(1, "a"), (2, None)]


def change_log(table: Path, change: Any, properties: dict[str, str], features: tuple[str, ...] = ()) -> None:
    """Rewrite a table's first commit as another engine would have written it."""
    log = table / f"_delta_log/{0:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if about := line.get("metaData"):
            schema = json.loads(about["schemaString"])
            change(schema["fields"])
            about |= {"configuration": properties, "schemaString": json.dumps(schema)}
        if "protocol" in line and features:
            line["protocol"] = {
                "minReaderVersion": 1,
                "minWriterVersion": 7,
                "writerFeatures": list(features),
            }
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_feature_that_the_library_lacks_is_no_conflict(table: Path, tmp_path: Path) -> None:
    DeltaTable.create(
        table, Schema([Field("id", PrimitiveType("long")), Field("name", PrimitiveType("string"))])
    )
    change_log(table, lambda fields: None, {}, ("frobnicate",))
    with pytest.raises(RunFailed, match=r"Unsupported table features.*None of its rows"):
        execute(flow_of(into(table)), tmp_path, TWO)


def test_append_only_between_check_and_commit(table: Path, tmp_path: Path, monkeypatch: Any) -> None:
    execute(flow_of(upsert(table)), tmp_path, TWO)
    DeltaTable(table).alter.set_table_properties({"delta.appendOnly": "true"})
    monkeypatch.setattr(DeltaLake, "check", lambda self, load: None)
    with pytest.raises(RunFailed, match=r"append-only.*None of its rows"):
        execute(flow_of(upsert(table)), tmp_path, TWO, "run_2")


def test_a_table_that_is_missing_or_is_none(table: Path, tmp_path: Path) -> None:
    flow = flow_of(into(table, create=False, partition_by=["name"]))
    with pytest.raises(
        RunFailed, match=r"set create = true in target\.mapped, or create it, for example CREATE"
    ) as no:
        execute(flow, tmp_path, TWO)
    assert str(no.value).endswith(
        "(`id` BIGINT NOT NULL, `name` STRING, `_lume_run_id` STRING) USING DELTA PARTITIONED BY (name)"
    )
    table.mkdir(parents=True)
    (table / "mine.txt").write_text("x")
    with pytest.raises(RunFailed, match="has files, and is not a Delta table: name another folder"):
        execute(flow_of(into(table)), tmp_path, TWO, "run_2")


def test_without_the_extra(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeltaLake, "module", "deltalake_that_nobody_has")
    with pytest.raises(RunFailed, match=r"target.mapped: a table of delta needs deltalake.*: .*\[delta\]"):
        execute(flow_of(into(table)), tmp_path, TWO)


def step_of(table: Path, tmp_path: Path, mapped: dict[str, Any], csv: str, run_id: str) -> Path:
    """The folder of a run that has committed and not published."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeltaTarget, "publish", classmethod(lambda cls, step: None))
        execute(flow_of(mapped), tmp_path, csv, run_id)
    folder = tmp_path / run_id / "run"
    assert committed(folder) is not None
    return folder


@pytest.mark.parametrize("mode", ["append", "replace_batch", "upsert", "scd2"])
def test_two_processes_publish_at_the_same_instant(
    table: Path, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stalled one has read the table and looked the load up before the other one commits."""
    mapped = {
        "upsert": upsert(table),
        "scd2": upsert(table, history="scd2"),
    }.get(mode) or into(table, mode)
    execute(flow_of(mapped), tmp_path, "id,name\n9,x\n", "run_0", source="other")
    folder = step_of(table, tmp_path, mapped, TWO, "run_1")
    load, pauses = DeltaLake.load, list[float]()

    def stalled(self: DeltaLake, *arguments: Any) -> None:
        if threading.current_thread() is threading.main_thread() and not pauses:
            pauses.append(0.0)
            other = threading.Thread(target=target_kinds.finish, args=(folder,))
            other.start()
            other.join()
        load(self, *arguments)

    monkeypatch.setattr(DeltaLake, "load", stalled)
    monkeypatch.setattr(lake_target.time, "sleep", pauses.append)
    target_kinds.finish(folder)
    assert len(pauses) == 2, "one conflict, and the other's load is found"
    assert seen(table) == [(1, "a"), (2, None), (9, "x")]


def test_a_later_run_is_not_replaced(table: Path, tmp_path: Path) -> None:
    folder = step_of(table, tmp_path, upsert(table), TWO, "run_1")
    step = (committed(folder) or {})["steps"][-1] | {"overtaken": "run_2 was later"}
    with pytest.raises(TargetError, match="run_2 was later"):
        DeltaTarget.publish(step)
    assert not table.exists()
    target_kinds.finish(folder)
    DeltaTarget.publish(step)
    assert len(rows_of(table)) == 2


def test_a_load_whose_name_the_table_has_forgotten(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = step_of(table, tmp_path, into(table), TWO, "run_1")
    target_kinds.finish(folder)
    DeltaTable(str(table)).optimize.compact()
    monkeypatch.setattr(DeltaLake, "is_loaded", lambda self, load: False)
    target_kinds.finish(folder)
    assert len(rows_of(table)) == 2, "its rows are there"


def test_conflicts_are_bounded(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(flow_of(into(table)), tmp_path, TWO, "run_1")
    folder, pauses = step_of(table, tmp_path, upsert(table), TWO, "run_2"), list[float]()
    load = DeltaLake.load

    def overtaken(self: DeltaLake, *arguments: Any) -> None:
        row = duckdb.sql("SELECT 1::BIGINT AS id, 'z' AS name, NULL::VARCHAR AS _lume_run_id")
        write_deltalake(str(table), row, mode="append")
        load(self, *arguments)

    monkeypatch.setattr(DeltaLake, "load", overtaken)
    monkeypatch.setattr(lake_target, "_ATTEMPTS", 4)
    monkeypatch.setattr(lake_target.time, "sleep", pauses.append)
    with pytest.raises(TargetError, match="came first 4 times: the load is tried again later") as caught:
        target_kinds.finish(folder)
    assert caught.value.may_pass
    assert len(pauses) == 4
    monkeypatch.setattr(DeltaLake, "load", load)
    target_kinds.finish(folder)
    assert (2, None) in seen(table)


def test_identifiers_are_forgotten(table: Path, tmp_path: Path) -> None:
    """Else a table would have an entry for each run that ever wrote to it, and each commit would cost more."""
    execute(flow_of(into(table)), tmp_path, TWO)
    delta = DeltaTable(str(table))
    assert delta.transaction_version("lume/run_1") == 1
    assert delta.metadata().configuration == {"delta.setTransactionRetentionDuration": "interval 30 days"}


@pytest.mark.parametrize(
    "target", ["azurite", pytest.param("moto", marks=pytest.mark.thorough), "s3"], indirect=True
)
def test_stores(target: Place, tmp_path: Path) -> None:
    url = f"{target.url}/lake/people"
    options: Any = options_for_delta(url) | {"max_retries": 2}  # polars wants a number
    rejects = {"delta": f"{target.url}/lake/rejects", "create": True}
    flow = flow_of(upsert(url, partition_by=["name"]), rejects=rejects)
    record = execute(flow, tmp_path, "id,name\n1,a\n2,b\nx,\n")
    assert record["target_locations"]["mapped"] == f"delta+{url}"
    assert len(polars.read_delta(f"{target.url}/lake/rejects", storage_options=options)) == 1
    if url.startswith(
        "az://"
    ):  # Azurite ignores `startFrom` of a listing, without which no later version is found
        assert polars.read_delta(url, storage_options=options).height == 2
        return
    execute(flow, tmp_path, "id,name\n2,c\n", "run_2")
    target_kinds.finish(tmp_path / "run_2/run")
    found = polars.read_delta(url, storage_options=options).sort("id")
    assert found.select("id", "name", "_lume_run_id").rows() == [(1, "a", "run_1"), (2, "c", "run_2")]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wr0ng/s3cret"}, "the signature is wrong: check AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "the access key is not known there"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "it can't be reached: check the network"),
    ],
)
def test_a_store_that_refuses(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(object_stores, "_TIMES", 1)
    with bucket.guarded("s3:CreateBucket") as keys:
        for name, value in (keys | changed).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            RunFailed, match=f"target.mapped: s3://warehouse/lake/t can't be read: .*{words}"
        ) as no:
            execute(flow_of(into("s3://warehouse/lake/t")), tmp_path, TWO)
    assert "s3cret" not in str(no.value)
    assert "\n" not in str(no.value)


RESERVED = "_lume_", "rowid", "file_row_number"
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(
    lambda name: name.strip() and not name.lower().startswith(RESERVED) and name.lower() != "id"
)


@depth.examples(40)
@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | st.text(max_size=9)), max_size=6), NAMES
)
def test_any_values_and_names(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str | None]], name: str
) -> None:
    table = tmp_path_factory.mktemp("any") / "t"
    rows = list({key: (key, None if text is None else text.replace("\0", "")) for key, text in rows}.values())
    place = asdict(flow_of(upsert(table)).mapped) | {
        **{"columns": [["id", "BIGINT"], [name, "VARCHAR"]], "required": ["id"], "at": AT},
        **{"flow": "f", "source_path": "it's", "history": ""},
    }
    built = table.parent / "built.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (id BIGINT, v VARCHAR)")
        for row in rows:
            connection.execute("INSERT INTO t VALUES (?, ?)", row)
        quoted = '"' + name.replace('"', '""') + '"'
        connection.execute(f"COPY (SELECT id, v AS {quoted} FROM t) TO '{built}' (FORMAT parquet)")
    for run_id in ("run_1", "run_2"):
        target = DeltaTarget("mapped", place, run_id)
        DeltaTarget.publish(target.prepare(built, lambda step: None))
    assert seen(table, "id", name) == sorted(rows, key=lambda row: tuple(map(str, row)))
