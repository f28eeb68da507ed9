"""`target.rejects` as a table: the rejects besides their file, each once, whatever is killed."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.flows import people
from local.loads.table_run import ENV, Database, job_of, sqlite
from local.one_run import carried_out

from lume_local._flow.databases import REJECTS_TABLE
from lume_local._flow.definition import Flow, read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.connection import connect
from lume_local._worker.databases.database import DatabaseTrouble
from lume_local._worker.databases.sqlite import SqliteLoader
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import database_target, target_kinds
from lume_local._worker.targets.database_target import DatabaseTarget

REJECTS: dict[str, Any] = {"url_env": ENV, "table": "bad", "create": True}
TABLE: dict[str, Any] = {"url_env": ENV, "table": "good", "mode": "append", "create": True}
COLUMNS: dict[str, Any] = {"id": {"type": "integer", "unique": True}, "t": {"enum": ["a; b", "ok"]}}
CSV = 'id,t\n1,ok\nx,"a; c"\n1,ok\n2\n3,nö\n'
NAMES = ", ".join(name for name, _ in REJECTS_TABLE)


def flow_of(**changes: Any) -> Flow:
    return read_definition(people(**{"columns": COLUMNS, "target": {"rejects": REJECTS}, **changes}))


def execute(
    flow: Flow, folder: Path, content: str | bytes, run_id: str = "run_1", suffix: str = ".csv"
) -> dict[str, Any]:
    """Run it over a file; what its commit records."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{run_id}.source"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    source = {"kind": "files", "files": [{"path": str(file), "shown": "source"}], "looked_up": ""}
    job = job_of(flow, folder / run_id, run_id, source=source)
    job.rejects["path"] = str(Path(job.rejects["path"]).with_suffix(suffix))
    Path(job.folder).mkdir()
    with connect() as connection:
        return carried_out(connection, job)


def rejected(database: Database) -> list[tuple[Any, ...]]:
    """The rows of the table, without the flow and the source: with the reasons and values in Python."""
    rows = database.execute(f"SELECT _lume_run_id, {NAMES} FROM bad ORDER BY _lume_run_id, _lume_reject")
    loaded = ((run, *rest[:5], *map(_plain, rest[5:])) for run, *rest in rows)
    return [(run, *row[:1], *row[3:]) for run, *row in loaded]


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_rejects_are_rows_with_reasons_and_values(tmp_path: Path, database: Database, encoding: str) -> None:
    flow = flow_of(source={"csv": {"encoding": encoding}})
    record = execute(flow, tmp_path, CSV.encode(encoding))
    assert rejected(database) == [
        ("run_1", 1, 2, 3, ["id: is not a valid integer", ENUM], {"id": "x", "t": "a; c"}),
        ("run_1", 2, 3, 4, ["id: repeats the value of an earlier row"], {"id": "1", "t": "ok"}),
        ("run_1", 3, 4, 6, [ENUM], {"id": "3", "t": "nö"}),
        ("run_1", 4, None, 5, ["malformed line: too few columns"], {"id": None, "t": None, "_lume_raw": "2"}),
    ]
    ((name, source),) = set(database.execute("SELECT _lume_flow, _lume_source FROM bad"))
    assert (name, source) == ("people:v1", "b1")
    assert record["target_locations"]["rejects_table"] == f"{database.shown}?table=bad"
    assert Path(record["target_locations"]["rejects"]).read_bytes(), "what the server reads them from"
    loads = database.execute("SELECT run_id, source_path, target FROM _lume_loads")
    assert loads == [("run_1/rejects", "b1", "bad")]


ENUM = "t: is not one of a; b, ok"


@pytest.mark.parametrize("suffix", [".ndjson", ".csv"])
def test_of_objects(tmp_path: Path, database: Database, suffix: str) -> None:
    """What JSON allows and jsonb does not: the text of the values stays as it is."""
    line = r'{"id": "x", "t": "ok", "n": 1.50, "o": {"nul": "\u0000"}}'
    flow = flow_of(source={"format": "ndjson"})
    execute(flow, tmp_path, f'{{"id": 1, "t": "ok"}}\n{line}\nnope\n', suffix=suffix)
    values = [
        text
        for (text,) in database.execute("SELECT CAST(_lume_values AS text) FROM bad ORDER BY _lume_reject")
    ]
    if suffix == ".ndjson":
        assert json.loads(values[0]) == json.loads(line)
        assert "1.50" in values[0]
    else:
        assert json.loads(json.loads(values[0])["_lume_object"]) == json.loads(line)
    assert json.loads(values[1])["_lume_raw"] == "nope"


def test_without_rejects_nothing_is_loaded(tmp_path: Path, database: Database) -> None:
    record = execute(flow_of(), tmp_path, "id,t\n1,ok\n")
    assert record["target_locations"] == {"mapped": record["target_locations"]["mapped"], "rejects": None}
    assert len(record["steps"]) == 1


@pytest.mark.parametrize("more", [{}, {"on_violation": "reject"}])
def test_both_parts_of_a_run_in_one_database(
    tmp_path: Path, database: Database, more: dict[str, Any]
) -> None:
    """Two loads, each with a claim of its own; of SQLite in one transaction, as a file has one writer."""
    more = {} if database.kind == "duckdb" else more
    database.execute("CREATE TABLE good (id bigint CHECK (id <> 4), t text)")
    flow = flow_of(target={"mapped": TABLE | more, "rejects": REJECTS})
    content = CSV + ("4,ok\n" if more else "")
    for run_id in ("run_1", "run_2"):
        record = execute(flow, tmp_path, content, run_id)
        rows = record["metrics"]["rows_rejected"]
        assert database.execute("SELECT count(*) FROM bad") == [(rows * int(run_id[-1]),)]
        assert target_kinds.finish(tmp_path / run_id / "run") is not None, "once more"
    assert database.execute("SELECT count(*) FROM good") == [(2,)]
    loads = database.execute("SELECT run_id FROM _lume_loads ORDER BY run_id")
    assert loads == [("run_1",), ("run_1/rejects",), ("run_2",), ("run_2/rejects",)]
    assert not database_target._prepared
    if more:
        assert any("CHECK" in one or "check" in one for row in rejected(database) for one in row[4])


class Killed(BaseException):
    """Nothing of the process is left but its files."""


POINTS = ["prepared rejects", "prepared both", "before both", "between both", "after both"]


@pytest.mark.thorough
@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_ends_anywhere(
    tmp_path: Path, database: Database, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a commit nothing is there; with one each row is there once, however often it is carried out."""
    flow = flow_of(target={"mapped": TABLE, "rejects": REJECTS})
    published = list[str]()
    prepare, publish = DatabaseTarget.prepare, DatabaseTarget.publish

    def dies() -> None:
        database_target._drop("run_1")  # what the death of the process does to its connections
        raise Killed

    def prepared(self: DatabaseTarget, *args: Any) -> Any:
        step = prepare(self, *args)
        if point == ("prepared rejects" if self._part == "rejects" else "prepared both"):
            dies()
        return step

    def publishes(step: Any) -> None:
        if point == "before both" or (point == "between both" and published):
            dies()
        publish(step)
        published.append(step["part"])
        if point == "after both" and len(published) == 2:
            dies()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(DatabaseTarget, "prepare", prepared)
        patch.setattr(DatabaseTarget, "publish", staticmethod(publishes))
        execute(flow, tmp_path, CSV)
    has_committed = not point.startswith("prepared")
    for _ in range(3):
        record = target_kinds.finish(tmp_path / "run_1/run")
        assert (record is not None) == has_committed
    wanted = [(1, 4)] if has_committed else [(0, 0)]
    assert _counts(database) == wanted
    again = execute(flow, tmp_path, CSV, "run_2")
    assert again["metrics"]["rows_rejected"] == 4
    assert _counts(database) == [(wanted[0][0] + 1, wanted[0][1] + 4)]


def _counts(database: Database) -> list[tuple[Any, ...]]:
    if database.kind == "duckdb":
        known = "SELECT count(*) FROM duckdb_tables() WHERE table_name IN ('good', 'bad')"
    elif database.kind == "sqlite":
        known = "SELECT count(*) FROM sqlite_master WHERE name IN ('good', 'bad')"
    else:
        known = "SELECT count(*) FROM pg_tables WHERE tablename IN ('good', 'bad')"
    if database.execute(known) != [(2,)]:
        return [(0, 0)]
    return database.execute("SELECT (SELECT count(*) FROM good), (SELECT count(*) FROM bad)")


def test_a_commit_that_fails_is_done_again_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of SQLite the first of the two commits both: if it fails, both are loaded anew."""
    monkeypatch.setattr("lume_local._worker.targets.database_target.time.sleep", lambda seconds: None)
    done, failed = SqliteLoader.commit, list[str]()

    def commits(self: Any) -> None:
        if not failed:
            failed.append("once")
            raise DatabaseTrouble("the file is locked", may_pass=True)
        done(self)

    with sqlite(tmp_path, monkeypatch) as database:
        monkeypatch.setattr(SqliteLoader, "commit", commits)
        execute(flow_of(target={"mapped": TABLE, "rejects": REJECTS}), tmp_path, CSV)
        assert (failed, _counts(database)) == (["once"], [(1, 4)])


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@pytest.mark.thorough
@examples(20)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_any_text_comes_through(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """All rows but one are rejects; their values are those that the source has."""
    text, folder = io.StringIO(), tmp_path_factory.mktemp("any")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("id", "t"), ("1", "ok"), *rows])
    wanted = [(id or None, t or None) for id, t in rows if (id, t) != ("1", "ok")]
    checks = {"id": {"pattern": "^1$", "required": True}, "t": {"pattern": "^ok$", "required": True}}
    with pytest.MonkeyPatch.context() as patch, sqlite(folder, patch) as database:
        record = execute(flow_of(columns=checks), folder, text.getvalue())
        assert record["metrics"]["rows_rejected"] == len(wanted)
        found = [row[-1] for row in rejected(database)] if wanted else []
    assert [(one["id"], one["t"]) for one in found] == wanted


@pytest.mark.parametrize(
    ("target", "place", "problem"),
    [
        ({"rejects": {"url_env": "x", "table": "t"}}, "target.rejects.url_env", "must name an environment"),
        ({"rejects": {"url_env": ENV}}, "target.rejects.table", "is missing"),
        ({"rejects": REJECTS | {"mode": "append"}}, "target.rejects.mode", "is not a known key"),
        ({"rejects": REJECTS | {"file": "x.txt"}}, "target.rejects", "must end with one of"),
        (
            {"rejects": REJECTS, "mapped": TABLE | {"table": "BAD"}},
            "target.rejects.table",
            "name another one",
        ),
    ],
)
def test_mistakes(target: dict[str, Any], place: str, problem: str) -> None:
    with pytest.raises(FlowError, match=problem) as caught:
        flow_of(target=target)
    assert caught.value.place == place


def test_a_file_of_the_flow_s_own(tmp_path: Path) -> None:
    flow = flow_of(target={"rejects": REJECTS | {"file": "{data}/bad/{run_id}.ndjson"}})
    assert flow.rejects == "{data}/bad/{run_id}.ndjson"
    assert flow_of().rejects.endswith("/rejects.csv")


def test_a_table_that_does_not_fit_is_found_before_anything_is_read(
    tmp_path: Path, database: Database
) -> None:
    flow = flow_of(target={"rejects": {"url_env": ENV, "table": "bad"}})
    with pytest.raises(
        RunFailed, match=r"target.rejects: there is no table bad.*create = true in target.rejects"
    ):
        execute(flow, tmp_path / "a", CSV)
    database.execute("CREATE TABLE bad (_lume_reject text, x text NOT NULL)")
    with pytest.raises(
        RunFailed, match=r"target.rejects: bad does not have the columns .*x must have a value"
    ):
        execute(flow, tmp_path / "b", CSV)
