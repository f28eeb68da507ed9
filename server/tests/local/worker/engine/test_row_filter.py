"""`[source] where`: what it takes out is neither mapped nor rejected, and the account closes."""

import random
from pathlib import Path
from typing import Any

import pytest
from local.one_run import Result, execute, execute_files
from local.shards.twice import compared

from lume_local._flow.fields import FlowError
from lume_local._worker.engine import RunFailed

COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True, "unique": True},
    "n": {"type": "integer"},
}
WHERE = "kind <> 'total' AND n::INTEGER < 100"
CHANGES: dict[str, Any] = {"columns": COLUMNS, "source": {"where": WHERE}}


def lines(seed: int, rows: int = 300) -> list[tuple[str, str, str]]:
    source = random.Random(seed)
    return [
        (
            source.choice(["", "x", *map(str, range(50))]),
            source.choice(["a", "total", ""]),
            source.choice(["7", "200", "?", ""]),
        )
        for _ in range(rows)
    ]


def expected(rows: list[tuple[str, str, str]]) -> tuple[list[tuple[int, int]], dict[int, str], int]:
    """What is mapped, the rejects by the number of their row, and how many are filtered."""
    mapped, rejects, filtered, seen = [], {}, 0, set[int]()
    for number, (key, kind, n) in enumerate(rows, 1):
        if n == "?":  # AND evaluates both sides
            rejects[number] = "source.where: can't be evaluated"
        elif not (kind == "a" and n == "7"):  # false, or NULL
            filtered += 1
        elif not key.isdigit():
            rejects[number] = "id: is"
        elif int(key) in seen:
            rejects[number] = "id: repeats"
        else:
            seen.add(int(key))
            mapped.append((int(key), int(n)))
    return mapped, rejects, filtered


def csv_of(rows: list[tuple[str, str, str]]) -> str:
    return "id,kind,n\n" + "".join(f"{','.join(row)}\n" for row in rows)


def check(result: Result, rows: list[tuple[str, str, str]]) -> None:
    mapped, rejects, filtered = expected(rows)
    assert result.mapped == mapped
    found = {int(row["_lume_row"]): row["_lume_reasons"] for row in result.rejects}
    assert found.keys() == rejects.keys()
    assert all(reason in found[number] for number, reason in rejects.items())
    metrics = result.metrics
    assert metrics["rows_filtered"] == filtered
    assert metrics["rows_read"] == len(rows) == len(mapped) + len(rejects) + filtered
    assert sum(metrics["reject_reasons"].values()) >= len(rejects)


@pytest.mark.parametrize("seed", range(2))
def test_rows_are_mapped_rejected_or_filtered(tmp_path: Path, seed: int) -> None:
    rows = lines(seed)
    check(execute(tmp_path, csv_of(rows), **CHANGES), rows)


def test_shards_agree(tmp_path: Path) -> None:
    columns = {**COLUMNS, "id": {"type": "integer", "unique": True}}
    content = csv_of(lines(9)).encode()
    engine = {"url": "here", "shard_bytes": 1, "shards": 3}
    outcome = compared(tmp_path, [("a.csv", content)], engine, columns=columns, source={"where": WHERE})
    assert outcome.shards["count"] == 3


@pytest.mark.parametrize(("format", "mapped"), [("csv", ".parquet"), ("ndjson", ".csv")])
def test_of_several_files_and_large_ones(tmp_path: Path, format: str, mapped: str) -> None:
    """As many rows as are written in one pass, and none is rejected."""
    row = "{n},a,{n}\n" if format == "csv" else '{{"id": {n}, "kind": "a", "n": {n}}}\n'
    text = "".join(row.format(n=n) for n in range(150_000))
    content = (f"id,kind,n\n{text}" if format == "csv" else text).encode()
    columns = {name: {"type": "integer"} for name in ("id", "n")}
    source = {"format": format, "where": "n::INTEGER % 2 = 0"}
    result = execute_files(tmp_path, ("a", content), mapped=mapped, columns=columns, source=source)
    assert [row[0] for row in result.mapped] == list(range(0, 150_000, 2))
    assert result.metrics["rows_filtered"] == 75_000


def test_a_filtered_row_breaks_nothing(tmp_path: Path) -> None:
    rules = [{"name": "never", "sql": "id < 2", "on_fail": "fail"}]
    content = "id,kind,n\n1,a,1\n9,total,1\nx,total,1\n1,total,1\n"
    result = execute(tmp_path / "a", content, **CHANGES, rules=rules, rejects={"max_ratio": 0.0})
    assert (result.mapped, result.metrics["rows_filtered"], result.metrics["warnings"]) == ([(1, 1)], 3, {})


def test_the_rejects_are_those_of_the_rows_that_are_kept(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the only row was rejected"):
        execute(tmp_path / "a", "id,kind,n\nx,a,1\n9,total,1\n", **CHANGES)
    result = execute(tmp_path / "b", "id,kind,n\nx,total,1\n", **CHANGES)
    assert result.metrics["warnings"] == {"source.where keeps no row": 1}
    assert result.metrics["rows_filtered"] == 1


def test_corrected_rejects_are_filtered_as_well(tmp_path: Path) -> None:
    first = execute(tmp_path / "a", "id,kind,n\n1,a,1\nx,a,1\ny,a,1\n", **CHANGES)
    mended = first.rejects_file.replace(b",x,a,1", b",2,a,1").replace(b",y,a,1", b",3,total,1")
    again = execute(tmp_path / "b", mended, **CHANGES)
    assert (again.mapped, again.metrics["rows_filtered"]) == ([(2, 1)], 1)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("n", "must be a condition"),
        ("count(*) > 1", "aggregate|count"),
        ("n = (SELECT 1)", "subquery"),
        ("n >", "syntax error"),
    ],
)
def test_a_filter_that_is_no_condition(tmp_path: Path, where: str, words: str) -> None:
    with pytest.raises(FlowError, match=f"(?s)source.where.*({words})"):
        execute(tmp_path, "id,n\n", columns=COLUMNS, source={"where": where})


def test_a_filter_on_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"has no column 'kind', which people:v1 reads \(source.where\)"):
        execute(tmp_path, "id,n\n1,1\n", **CHANGES)
