"""A run of a case beside what plain Python says of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute
from local.plain_csv import Bad
from local.random_files import Case

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
