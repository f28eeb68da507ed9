"""Random files: the engine and plain Python agree on every row, and the account closes."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local.one_run import execute
from local.oracle import Bad
from local.random_files import Case, csv_case, ndjson_case

from lume_local._worker.engine import RunFailed


def check(folder: Path, case: Case) -> None:
    """Run the case and compare."""
    verdict, suffix = case.verdict, ".ndjson" if case.flow["source"].get("format") == "ndjson" else ".csv"
    if verdict.failed:
        with pytest.raises(RunFailed, match=verdict.failed):
            execute(folder, case.content, rejects_suffix=suffix, **case.flow)
        return
    result = execute(folder, case.content, rejects_suffix=suffix, **case.flow)
    assert result.metrics["source"] == {
        "bytes": len(case.content),
        "lines": verdict.lines,
        "records": verdict.records,
    }
    assert result.mapped == verdict.mapped
    assert result.metrics["rows_mapped"] == len(verdict.mapped)
    assert result.metrics["rows_rejected"] == len(verdict.rejected) + len(verdict.bad)
    rejects: list[dict[str, Any]] = [*result.rejects]
    if suffix == ".ndjson":
        lines = result.rejects_file.decode("utf-8", "surrogateescape").split("\n")
        rejects = [json.loads(line) for line in lines if line]
    rows, bad = rejects[: len(verdict.rejected)], rejects[len(verdict.rejected) :]
    assert [malformed(one) for one in bad] == verdict.bad
    if suffix == ".csv":
        assert [[row[name] for name in case.columns] for row in rows] == verdict.rejected


def malformed(row: dict[str, Any]) -> Bad:
    why = row["_lume_reasons"].removeprefix("malformed line: ")
    return Bad(int(row["_lume_line"]), why, row["_lume_raw"].encode("utf-8", "surrogateescape"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_csv(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_ndjson(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("ndjson"), ndjson_case(random.Random(seed), rows))
