"""Reads a Delta table by its log, without any library for Delta."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of the newest version; the log must still have all its JSON files."""
    files: dict[str, dict[str, Any]] = {}
    fields: list[dict[str, Any]] = []
    for _, actions in sorted(commits_of(folder).items()):
        for action in actions:
            if "metaData" in action:
                fields = json.loads(action["metaData"]["schemaString"])["fields"]
            if "remove" in action:
                assert files.pop(action["remove"]["path"], None) is not None, "removed twice"
        for action in actions:
            if "add" in action:
                assert action["add"]["path"] not in files, "added twice"
                files[action["add"]["path"]] = action["add"]["partitionValues"]
    rows = []
    for path, values in files.items():
        found = duckdb.execute(
            "SELECT * FROM read_parquet($1, hive_partitioning = false)", [f"{folder}/{unquote(path)}"]
        )
        names = [one[0] for one in found.description or ()]
        for row in found.fetchall():
            there = dict(zip(names, row, strict=True)) | values
            rows.append({field["name"]: there.get(field["name"]) for field in fields})
    return rows


def commits_of(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """The actions of each version; versions have no gaps."""
    files = sorted((folder / "_delta_log").glob("*.json"))
    found = {int(file.stem): [json.loads(line) for line in file.read_text().splitlines()] for file in files}
    assert list(found) == list(range(len(found)))
    return found
