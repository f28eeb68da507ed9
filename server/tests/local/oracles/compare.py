"""A run of a case beside what plain Python says of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from local.one_run import Result, execute, execute_files
from local.oracles.oracle import Verdict
from local.oracles.plain_csv import Bad
from local.oracles.random_files import Case

from lume_local._worker.engine import RunFailed


def check(folder: Path, case: Case) -> None:
    """Run the case and compare."""
    verdict, suffix = case.verdict, ".ndjson" if case.flow["source"].get("format") == "ndjson" else ".csv"
    if verdict.failed:
        with pytest.raises(RunFailed, match=verdict.failed):
            execute(folder, case.content, rejects_suffix=suffix, **case.flow)
        return
    result = execute(folder, case.content, rejects_suffix=suffix, **case.flow)
    counted = {"bytes": len(case.content), "lines": verdict.lines, "records": verdict.records}
    source = result.metrics["source"]
    assert source.pop("skipped", {}).keys() <= {"blank"}
    assert source == counted
    compare(result, verdict, case.columns, suffix)


def check_files(folder: Path, files: list[tuple[str, bytes]], case: Case) -> None:
    """The same with several files; what the case has as its content is all of them."""
    verdict = case.verdict
    if verdict.failed:
        with pytest.raises(RunFailed, match=verdict.failed):
            execute_files(folder, *files, mapped=".parquet", **case.flow)
        return
    result = execute_files(folder, *files, mapped=".parquet", **case.flow)
    source = result.metrics["source"]
    assert [file["bytes"] for file in source["files"]] == [len(data) for _, data in files]
    for name in ("lines", "records"):
        assert source[name] == getattr(verdict, name) == sum(file[name] for file in source["files"])
    compare(result, verdict, case.columns, ".csv")


def compare(result: Result, verdict: Verdict, columns: dict[str, Any], suffix: str) -> None:
    """Every row, and the counts of them."""
    assert result.metrics["rows_read"] == result.metrics["rows_mapped"] + result.metrics["rows_rejected"]
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
        assert [[row[name] for name in columns] for row in rows] == verdict.rejected


def malformed(row: dict[str, Any]) -> Bad:
    why = row["_lume_reasons"].removeprefix("malformed line: ")
    return Bad(int(row["_lume_line"]), why, row["_lume_raw"].encode("utf-8", "surrogateescape"))
