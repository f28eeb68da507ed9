"""Which rejects have which reason, and which of them a file of corrected ones has, by the rejects as written."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.one_run import carried_out, compiled, job_of

from lume_local._shared.protocol import Execute, Read
from lume_local._shared.row_set import all_rows, of_text, rows_in
from lume_local._worker.connection import connect
from lume_local._worker.outputs.pages import all_rows_of
from lume_local._worker.outputs.row_json import OutputRow, Reasons

COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True, "unique": True},
    "name": {"minLength": 2, "unique": True},
    "age": {"type": "integer", "maximum": 9},
}
FIELD = st.sampled_from(["1", "2", "3", "14", "x", "", "ab", '"a,b"', '"a\nb"', '"'])
FILE = st.lists(st.lists(FIELD, min_size=2, max_size=4), min_size=1, max_size=30)


def run(
    folder: Path, content: str, *, name: str = "source.csv", **more: Any
) -> tuple[Execute, dict[str, Any]]:
    """The job of a run with rejects, and what it has committed."""
    changes = {"columns": COLUMNS} | more.pop("changes", {})
    work = folder / f"run-{name}"
    work.mkdir(parents=True)
    (folder / name).write_text(content, newline="")
    suffix = more.pop("rejects", ".csv")
    with connect() as connection:
        paths = folder / f"mapped-{name}.parquet", folder / f"rejects-{name}{suffix}"
        job = evolve(job_of(compiled(**changes), work, [folder / name], *paths), **more)
        return job, carried_out(connection, job)


def rejects_of(job: Execute, record: dict[str, Any]) -> Read:
    return Read(
        path=str(job.rejects["path"]),
        identity="",
        csv=job.flow["csv"] if job.flow["format"] == "csv" else {"delim": ",", "quote": '"', "escape": ""},
        encoding="utf-8",
        kinds={},
        position="0",
        row=0,
        rows=record["metrics"]["rows_rejected"],
        limit=1,
        is_rejects=True,
        reasons=list(record["metrics"]["reject_reasons"]),
    )


def written(job: Execute, record: dict[str, Any]) -> list[OutputRow]:
    return list(all_rows_of(rejects_of(job, record))) if record["metrics"]["rows_rejected"] else []


def check(job: Execute, record: dict[str, Any]) -> None:
    rows, metrics = written(job, record), record["metrics"]
    split = Reasons(metrics["reject_reasons"]).split
    expected: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        for reason in split(row.reasons or ""):
            expected.setdefault(reason, []).append(number)
    found = {
        reason: list(rows_in(all_rows(len(rows)) if rows_ is None else of_text(rows_)))
        for reason, rows_ in record["ledger"].get("reasons", {}).items()
    }
    assert found == expected


@pytest.mark.thorough
@examples(20)
@given(rows=FILE)
def test_the_sets_are_those_of_the_rejects(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    content = "id,name,age\n" + "".join(",".join(row) + "\n" for row in rows) + "99,good,1\n"
    check(*run(tmp_path_factory.mktemp("run"), content))


def test_of_more_checks_than_a_mask_has(tmp_path: Path) -> None:
    columns = {f"c{n}": {"type": "integer", "maximum": 5} for n in range(80)}
    rows = [["1"] * 80 for _ in range(6)]
    rows[1][70], rows[2][3], rows[2][79], rows[4][61], rows[4][62] = "x", "9", "y", "7", "8"
    content = "".join(",".join(row) + "\n" for row in [list(columns), *rows])
    job, record = run(tmp_path, content, changes={"columns": columns})
    check(job, record)
    assert len(record["ledger"]["reasons"]) == 5


@pytest.mark.thorough
def test_of_a_run_over_shards(tmp_path: Path) -> None:
    rows = "".join(f"{n % 4000},name {n},{n % 12}\n" for n in range(6000))
    engine = {"url": "pool://2", "shard_bytes": 20_000}
    job, record = run(tmp_path, "id,name,age\n" + rows + "1,2\n", engine=engine)
    assert record["metrics"]["shards"]["count"] > 1
    assert len(record["ledger"]["reasons"]) == 3
    check(job, record)


def test_of_objects(tmp_path: Path) -> None:
    lines = [{"id": n % 5, "name": "x" * (n % 3), "age": n} for n in range(20)]
    content = "".join(json.dumps(line) + "\n" for line in lines) + "{\n[1]\n"
    job, record = run(tmp_path, content, rejects=".ndjson", changes={"source": {"format": "ndjson"}})
    assert "malformed line: not a JSON object" in record["ledger"]["reasons"]
    check(job, record)


MALFORMED = "1,2,3,4\n"
MENDABLE = "id,name,age\n1,good,1\n2,x,1\n3,ok,70\n" + MALFORMED + "5,y,99\n6,better,2\n"
"""Rejects: the rows 2, 3 and 4 (with the id 5), and line 5."""


def mended(folder: Path, text: str, name: str = "mended.csv", **changes: Any) -> list[int]:
    """Which rejects of a run a file of corrected ones has."""
    job, record = run(folder, MENDABLE)
    _, done = run(folder, text, name=name, mended=asdict(rejects_of(job, record)), changes=changes)
    assert done["metrics"]["rows_read"] == sum(
        done["metrics"][key] for key in ("rows_mapped", "rows_rejected")
    )
    return list(rows_in(of_text(done["ledger"]["mended"])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('_lume_row,_lume_line,_lume_reasons,id,name,age,_lume_raw\n2,,,2,xx,1,\n,5,,,,,"1,2,3"\n', [0, 3]),
        ('_lume_row,_lume_line,_lume_reasons,id,name,age,_lume_raw\n,5,,,,,"1,2,3,4"\n3,,,3,ok,7,\n', [1, 3]),
        ("_lume_row;_lume_line;_lume_reasons;id;name;age\n4;;;5;yy;9\n2;;;2;xx;1\n2;;;7;split;1\n", [0, 2]),
        ("age,name,id,_lume_row\n7,ok,3,3\n1,new,8,\n", [1]),
        ('"id","name","age","_lume_line"\n4,lone,1,5\n', [3]),
        ("_lume_reasons,id,name,age\n,9,none,1\n", []),
    ],
)
def test_which_rejects_were_corrected(tmp_path: Path, text: str, expected: list[int]) -> None:
    assert mended(tmp_path, text) == expected


@pytest.mark.parametrize("format", ["ndjson", "json"])
def test_which_objects_were_corrected(tmp_path: Path, format: str) -> None:
    text = (
        '{"_lume_row":2,"_lume_reasons":"","id":2,"name":"xx","age":1}\n'
        '{"_lume_line":5,"_lume_reasons":"","_lume_raw":"{\\"id\\": 4}"}\n{"id":9,"name":"new","age":1}\n'
    )
    assert mended(tmp_path, text, "mended.ndjson", source={"format": format}) == [0, 3]
    as_csv = "_lume_row,_lume_line,_lume_reasons,id,name,age\n2,,,2,xx,1\n"
    assert mended(tmp_path / "csv", as_csv, "mended.csv", source={"format": format}) == [0]


def test_rejects_that_are_gone_count_as_none(tmp_path: Path) -> None:
    job, record = run(tmp_path, MENDABLE)
    (gone := Path(job.rejects["path"])).unlink()
    text = "_lume_row,_lume_line,_lume_reasons,id,name,age\n2,,,2,xx,1\n"
    _, done = run(tmp_path, text, name="m.csv", mended=asdict(rejects_of(job, record)))
    assert not gone.exists()
    assert of_text(done["ledger"]["mended"]) == 0
