"""`[checks]`: figures of a whole run that fail it before anything is written, or are told."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.one_run import carried_out, compiled, execute, execute_files, job_of
from local.shards.twice import compared
from local.workbooks import written

from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.stage import AT_ONCE

AMOUNT = """replace(replace("Betrag", '.', ''), ',', '.')"""
COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True, "unique": True},
    "amount": {"type": "number", "sql_type": "DECIMAL(6,2)", "sql": AMOUNT},
    "day": {"format": "date"},
}
SOURCE: dict[str, Any] = {"csv": {"delim": ";"}, "footer": {"starts_with": ["Summe"]}}
ROWS = "id;Betrag;day\n1;1.000,10;2026-11-30\n2;0,20;2026-11-29\n3;9.000,30;\n"
OF_FOOTER: dict[str, Any] = {"columns": {"amount": {"sum": {"equals": "footer"}}}}


def violations(folder: Path, content: str, checks: dict[str, Any], **changes: Any) -> str:
    """What fails the run; empty if nothing does. Then nothing has been written."""
    flow: dict[str, Any] = {"columns": COLUMNS, "source": SOURCE, "checks": checks, **changes}
    failure = RunFailed("")
    try:
        execute(folder, content, **flow)
    except RunFailed as failed:
        failure = failed
    assert bool(str(failure)) != (folder / "mapped.parquet").exists()
    assert not (str(failure) and (folder / "rejects.csv").exists())
    assert bool(failure.metrics) == bool(str(failure))  # for the diagnosis
    return str(failure).removesuffix(
        ". Nothing was written: ask for a corrected source, or change [checks] in a new version"
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        # longer than the column's type
        ("Summe;10.000,60;\n", ""),
        ("Summe;10.000,61;\n", "the check of sum of amount failed, 10000.60 found, 10000.61 expected"),
        ("", "0 values for it in the footer, one expected"),
        ("Summe;;\n", "0 values for it in the footer, one expected"),
        (
            "Summe;ca. 10.000,60;\n",
            "0 values for it in the footer, one expected: 'ca. 10.000,60' can't be read as one",
        ),
        ("Summe;1;\nSumme;2;\n", "2 values for it in the footer, one expected"),
        # rejected rows count: by another column, by a key, without a value
        ("x;1,00;\nSumme;10.001,60;\n", ""),
        ("1;1,00;\nSumme;10.001,60;\n", ""),
        ("4;;\nx;;\nSumme;10.000,60;\n", ""),
        # what they are can't be said without their value
        ("4;viel;\nSumme;10.000,60;\n", "1 row has no readable value, 10000.60 expected"),
        ("4;0,1\nSumme;10.000,60;\n", "1 row has no readable value, 10000.60 expected"),
    ],
)
def test_a_sum_of_all_rows_is_that_of_the_footer(tmp_path: Path, more: str, said: str) -> None:
    found = violations(tmp_path, ROWS + more, OF_FOOTER)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ({"rows": {"min": 3, "max": 3}}, ""),
        ({"rows": {"min": 4}}, "the check of rows failed, 3 found, at least 4 expected"),
        ({"rows": {"max": 2}}, "the check of rows failed, 3 found, at most 2 expected"),
        ({"columns": {"day": {"nulls": {"max": 0.34}}}}, ""),
        ({"columns": {"day": {"nulls": {"max": 0.33}}}}, "nulls of day failed, 1 found, at most 0 expected"),
        ({"columns": {"id": {"distinct": {"min": 3, "max": 3}}}}, ""),
        (
            {"columns": {"day": {"distinct": {"min": 3}}}},
            "distinct of day failed, 2 found, at least 3 expected",
        ),
        ({"columns": {"day": {"newest": {"within": "9999w"}}}}, ""),
        ({"columns": {"amount": {"sum": {"equals": 10_000}}}}, "10000.60 found, 10000 expected"),
        ({"columns": {"amount": {"sum": {"equals": 10_000, "tolerance": 0.6}}}}, ""),
        (
            {"columns": {"amount": {"sum": {"equals": 10_000, "tolerance": 0.59}}}},
            "at most 10000.59 expected",
        ),
        (
            {"rows": {"min": 4}, "columns": {"id": {"distinct": {"min": 4}}}},
            "; the check of distinct of id failed",
        ),
    ],
)
def test_what_holds_and_what_does_not(tmp_path: Path, checks: dict[str, Any], said: str) -> None:
    found = violations(tmp_path, ROWS, checks)
    assert said in found
    assert bool(said) == bool(found)


def test_what_is_told_lets_the_run_go_on(tmp_path: Path) -> None:
    checks = {"on_violation": "tell", "rows": {"min": 4}, "columns": {"id": {"distinct": {"max": 1}}}}
    result = execute(tmp_path, ROWS, columns=COLUMNS, source=SOURCE, checks=checks)
    assert len(result.mapped) == 3
    assert result.metrics["warnings"] == {
        "the check of rows failed, 3 found, at least 4 expected": 1,
        "the check of distinct of id failed, 3 found, at most 1 expected": 1,
    }
    checks["rows"] = {"min": 4, "on_violation": "fail"}
    found = violations(tmp_path / "other", ROWS, checks)
    assert found == "the check of rows failed, 3 found, at least 4 expected"


def test_the_newest_counts_from_the_submission(tmp_path: Path) -> None:
    columns = {"day": {"format": "date"}, "at": {"format": "date-time"}, "none": {"format": "date"}}
    ages = {"day": "5d", "at": "24h", "none": "9999w"}
    checks = {"columns": {name: {"newest": {"within": age}} for name, age in ages.items()}}
    flow = compiled(columns=columns, checks=checks)
    source = tmp_path / "source"
    source.write_text("day,at,none\n2026-11-25,2026-11-29 12:00:00,\n2026-11-24,,\n")
    said = {
        "2026-11-30T11:59:59.5Z": ["none failed, nothing"],
        "2026-11-30T23:59:59Z": [
            "at failed, 2026-11-29 12:00:00+00 found, at least 2026-11-29 23:59:59",
            "none",
        ],
        "2026-12-01T00:00:00Z": ["day failed, 2026-11-25 found, at least 2026-11-26 expected", "at", "none"],
    }
    for n, (at, wanted) in enumerate(said.items()):
        (tmp_path / f"run{n}").mkdir()
        job = job_of(flow, tmp_path / f"run{n}", [source], tmp_path / "mapped.csv", tmp_path / "rejects.csv")
        with connect() as connection, pytest.raises(RunFailed) as raised:
            carried_out(connection, evolve(job, at=at))
        found = str(raised.value).split("; ")
        assert len(found) == len(wanted)
        for one, words in zip(found, wanted, strict=True):
            assert f"the check of newest of {words}" in one


def test_empty_sources_and_columns_of_nulls(tmp_path: Path) -> None:
    checks: dict[str, Any] = {
        "rows": {"max": 0},
        "columns": {"amount": {"sum": {"equals": 0}, "nulls": {"max": 0}, "distinct": {"max": 0}}},
    }
    assert violations(tmp_path / "empty", "id;Betrag;day\n", checks) == ""
    checks["rows"] = {"max": 2}
    checks["columns"]["amount"]["nulls"] = {"max": 1}
    assert violations(tmp_path / "nulls", "id;Betrag;day\n1;;\n2;;\n", checks) == ""
    assert "newest of day failed, nothing found" in violations(
        tmp_path / "newest", "id;Betrag;day\n", {"columns": {"day": {"newest": {"within": "1d"}}}}
    )


def test_binary_numbers_are_summed_by_their_decimal_form(tmp_path: Path) -> None:
    """A thousand tenths are a hundred; in binary they are 99.9999999999986."""
    columns = {"amount": {"type": "number"}}
    content = "amount\n" + "0.1\n" * 1000
    checks = {"columns": {"amount": {"sum": {"equals": 100}}}}
    assert violations(tmp_path / "a", content, checks, columns=columns, source={}) == ""
    told = violations(tmp_path / "c", f"{content}20.23\n", checks, columns=columns, source={})
    assert told == "the check of sum of amount failed, 120.23 found, 100 expected"
    told = violations(tmp_path / "d", f"{content}20\n", checks, columns=columns, source={})
    assert told == "the check of sum of amount failed, 120 found, 100 expected"
    # One that is too large for that is told.
    told = violations(tmp_path / "b", "amount\n1e300\n", checks, columns=columns, source={})
    assert told == "the check of sum of amount failed, more than 38 digits to compare with 100"


@pytest.mark.parametrize(
    ("type_", "largest"), [("HUGEINT", "9" * 38), ("UBIGINT", str(2**64 - 1)), ("BIGINT", str(2**63 - 1))]
)
def test_huge_integers(tmp_path: Path, type_: str, largest: str) -> None:
    columns = {"n": {"type": "integer", "sql_type": type_}}
    source = {"footer": {"rows": 1}}
    checks: dict[str, Any] = {"columns": {"n": {"sum": {"equals": "footer"}, "distinct": {"max": 1}}}}
    assert (
        violations(tmp_path / "one", f"n\n{largest}\n{largest}\n", checks, columns=columns, source=source)
        == ""
    )
    total = 2 * int(largest)
    two = f"n\n{largest}\n{largest}\n{total}\n"
    found = violations(tmp_path / "two", two, checks, columns=columns, source=source)
    assert bool(found) == (type_ == "HUGEINT")


@pytest.mark.parametrize("cells", [["Summe", "10.000,60"], ["Summe", "10.000,61", None]])
def test_the_footer_of_a_sheet(tmp_path: Path, cells: list[Any]) -> None:
    book = written(
        "xlsx", [["id", "Betrag", "day"], [1, "1.000,10"], [2, "0,20"], [3, "9.000,30"], [None], cells]
    )
    found = ""
    try:
        execute(
            tmp_path,
            book,
            columns=COLUMNS,
            source={"format": "excel", "footer": SOURCE["footer"]},
            checks=OF_FOOTER,
        )
    except RunFailed as failed:
        found = str(failed)
    assert ("10000.60 found, 10000.61 expected" in found) == (cells[1] == "10.000,61")


def test_the_footer_of_fixed_columns_and_of_several_files(tmp_path: Path) -> None:
    fixed = {"columns": {"id": [1, 5], "Betrag": [6, 14]}}
    source = {"format": "fixed", "fixed": fixed, "footer": {"starts_with": ["Summe"]}}
    columns = {name: COLUMNS[name] for name in ("id", "amount")}
    files = [
        ("a.txt", "1         1,50\n2         2,50\nSumme     4,00\n"),
        ("b.txt", "3        10,00\nSumme    10,00\n"),
    ]
    given = [(name, text.encode()) for name, text in files]
    execute_files(tmp_path / "both", *given, columns=columns, source=source, checks=OF_FOOTER)
    with pytest.raises(RunFailed, match=r"14\.00 found, 15\.00 expected"):
        wrong = ("b.txt", given[1][1].replace(b"e    10", b"e    11"))
        execute_files(tmp_path / "wrong", given[0], wrong, columns=columns, source=source, checks=OF_FOOTER)
    with pytest.raises(RunFailed, match="0 values for it in the footer, one expected"):
        without = ("b.txt", given[1][1].partition(b"Summe")[0])
        execute_files(
            tmp_path / "without", given[0], without, columns=columns, source=source, checks=OF_FOOTER
        )


def test_each_layout_reads_its_own_footer(tmp_path: Path) -> None:
    layouts = {
        "german": {"match": "a.csv", "source": SOURCE, "columns": {"id": '"id"', "amount": AMOUNT}},
        "plain": {
            "match": "b.csv",
            "source": {"footer": {"rows": 1}},
            "columns": {"id": '"no"', "amount": '"sum"'},
        },
    }
    columns = {"id": COLUMNS["id"], "amount": {"type": "number", "sql_type": "DECIMAL(6,2)"}}
    german = ("a.csv", (ROWS + "Summe;10.000,60;\n").encode())
    flow: dict[str, Any] = {"columns": columns, "layouts": layouts, "checks": OF_FOOTER}
    execute_files(tmp_path / "right", german, ("b.csv", b"no,sum\n7,1.25\n,1.25\n"), **flow)
    with pytest.raises(RunFailed, match=r"10001\.85 found, 10001\.95 expected"):
        execute_files(tmp_path / "wrong", german, ("b.csv", b"no,sum\n7,1.25\n,1.35\n"), **flow)
    with pytest.raises(RunFailed, match="1 row has no readable value"):
        execute_files(tmp_path / "lost", german, ("b.csv", b"no,sum\n7,1.25\n8,x\n,1.25\n"), **flow)


def test_a_file_beside_the_source(tmp_path: Path) -> None:
    checks = {"columns": {"amount": {"sum": {"equals": {"sidecar": "{path}.sum"}}}}}
    missing = violations(tmp_path / "missing", ROWS, checks)
    assert "source.sum: put it there" in missing
    for name, total, said in (
        ("right", "\ufeff10.000,60 \r\n", ""),
        ("wrong", "10.000,6", "10000.60 found, 10000.6 expected"),
        ("other", "10.000,61", "10000.60 found, 10000.61 expected"),
        ("bad", "none", "0 values for it in the {path}.sum, one"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "source.sum").write_text(total)
        found = violations(tmp_path / name, ROWS, checks)
        assert bool(found) == (bool(said) and name != "wrong")
        assert name == "wrong" or said in found


def test_a_file_beside_the_source_needs_one_column(tmp_path: Path) -> None:
    """The total of a column of two would be read as both, or as either."""
    columns = {"amount": {"type": "integer", "sql": 'coalesce("net", "gross")'}}
    checks = {"columns": {"amount": {"sum": {"equals": {"sidecar": "{path}.sum"}}}}}
    (tmp_path / "source.sum").write_text("3")
    found = violations(tmp_path, "net,gross\n1,\n,2\n", checks, columns=columns, source={})
    assert "2 values for it in the {path}.sum" in found


def test_filtered_rows_do_not_count(tmp_path: Path) -> None:
    source = SOURCE | {"where": "day = '2026-11-30'"}
    checks = {"rows": {"max": 1}, "columns": {"amount": {"sum": {"equals": 1000.1}}}}
    assert violations(tmp_path, ROWS, checks, source=source) == ""


def test_rejects_of_other_runs_are_not_checked(tmp_path: Path) -> None:
    """A correction of one row has fewer than any whole source."""
    flow = compiled(columns={"id": {"type": "integer"}}, checks={"rows": {"min": 10}})
    source = tmp_path / "source"
    source.write_text("id\n1\n")
    (tmp_path / "mend").mkdir()
    job = job_of(flow, tmp_path / "mend", [source], tmp_path / "m.csv", tmp_path / "r.csv")
    with connect() as connection:
        assert carried_out(connection, evolve(job, is_whole=False))["metrics"]["rows_mapped"] == 1
    (tmp_path / "whole").mkdir()
    job = job_of(flow, tmp_path / "whole", [source], tmp_path / "m.csv", tmp_path / "r.csv")
    with connect() as connection, pytest.raises(RunFailed, match="1 found, at least 10"):
        carried_out(connection, job)
    with connect() as connection:
        tried = carried_out(connection, evolve(job, dry_run=True))
    assert tried["status"] == "FAILED"
    assert "1 found, at least 10 expected" in tried["message"]


@pytest.mark.parametrize("total", ["10.000,60", "10.000,61"])
def test_shards_find_the_same(tmp_path: Path, total: str) -> None:
    checks = OF_FOOTER | {"on_violation": "tell", "rows": {"min": 9}}
    checks = json.loads(json.dumps(checks))
    checks["columns"] |= {
        "day": {"nulls": {"max": 0.1}, "newest": {"within": "1h"}},
        "id": {"distinct": {"min": 9}},
    }
    content = (ROWS + f"1;0,00;\nx;;\nSumme;{total};\n").encode()
    for number, shards in enumerate((2, 3)):
        engine = {"url": "here", "shard_bytes": 1, "shards": shards}
        files = [("a.csv", content), ("b.csv", content)][: number + 1]
        (tmp_path / str(number)).mkdir()
        found = compared(tmp_path / str(number), files, engine, columns=COLUMNS, source=SOURCE, checks=checks)
        said = [words.partition(" failed")[0] for words in found.metrics["warnings"] if " failed" in words]
        assert ("the check of sum of amount" in said) == (total == "10.000,61")
        assert "the check of newest of day" in said
        assert found.metrics["columns"]["id"]["distinct"] == 3


def test_the_rows_of_a_large_file_that_are_rejected_count(tmp_path: Path) -> None:
    """Its mapped rows are in the target's file before they are checked, and its rejects only beside it."""
    pad, rows = "x" * 90, 2 * AT_ONCE // 100
    lines = [f"{n if n % 1000 else 'no'},{n % 7}.25,{pad}\n" for n in range(rows)]
    total = sum(Decimal(n % 7) + Decimal("0.25") for n in range(rows))
    columns = {"id": {"type": "integer"}, "amount": {"type": "number", "sql_type": "DECIMAL(6,2)"}}
    checks = {"columns": {"amount": {"sum": {"equals": float(total)}, "distinct": {"max": 7}}}}
    content = "id,amount,pad\n" + "".join(lines)
    assert violations(tmp_path / "right", content, checks, columns=columns, source={}) == ""
    checks["columns"]["amount"]["sum"]["equals"] += 1
    assert f"{total} found" in violations(tmp_path / "wrong", content, checks, columns=columns, source={})
