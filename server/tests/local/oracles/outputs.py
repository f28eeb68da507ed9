"""What a worker is asked for the pages of an output by."""

from pathlib import Path
from typing import Any

from local.one_run import Result

from lume_local._shared.protocol import Read

PLAIN = {"delim": ",", "quote": '"', "escape": ""}
LITERALS = {"integer": "number", "number": "number", "boolean": "boolean"}
NOT_OURS = [
    (b"", ".csv"),
    (b"_lume_row,other\n1,2\n", ".csv"),
    (b'_lume_row,_lume_line,_lume_reasons\n1,,"open\n', ".csv"),
    (b"_lume_row,_lume_line,_lume_reasons\nx,,why\n", ".csv"),
    (b"id\n1\n", ".csv"),
    (b"not parquet", ".parquet"),
]
"""Files that no run has written, as rejects."""


def job(path: Path, rows: int, limit: int = 1000, **changes: Any) -> Read:
    values = {"identity": "", "csv": PLAIN, "encoding": "utf-8", "kinds": {}, "position": "0", "row": 0}
    return Read(**{"path": str(path), **values, "rows": rows, "limit": limit, **changes})


def of_mapped(folder: Path, suffix: str, result: Result, columns: dict[str, Any]) -> dict[str, Any]:
    kinds = {name: LITERALS[one["type"]] for name, one in columns.items() if one.get("type") in LITERALS}
    return {"path": folder / f"mapped{suffix}", "rows": result.metrics["rows_mapped"], "kinds": kinds}


def of_rejects(folder: Path, suffix: str, result: Result, source: dict[str, Any]) -> dict[str, Any]:
    as_source = suffix == ".csv" and source.get("format", "csv") == "csv"
    dialect = PLAIN | source.get("csv", {}) if as_source else dict(PLAIN)
    return {
        "path": folder / f"rejects{suffix}",
        "rows": result.metrics["rows_rejected"],
        "encoding": dialect.pop("encoding", "utf-8"),
        "csv": dialect,
        "is_rejects": True,
        "reasons": list(result.metrics["reject_reasons"]),
    }
