"""`source.null`: what a source writes instead of nothing."""

from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute
from local.tables import content_of

ROWS = [["1", "2.5"], ["NA", "3"], ["3", " NA "], ["4", "na"], ["-", "5"]]
COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True},
    "v": {"type": "number"},
    "text": {"sql": "v"},
}


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet", "excel"])
def test_words_for_nothing_are_null_in_every_format(tmp_path: Path, format: str) -> None:
    source = {"format": format, "null": ["NA", "-"]}
    result = execute(
        tmp_path / "run", content_of(format, [["id", "v"], *ROWS], tmp_path), columns=COLUMNS, source=source
    )
    assert result.mapped == [(1, 2.5, "2.5"), (3, None, None)]
    assert result.metrics["reject_reasons"] == {"id: is required": 2, "v: is not a valid number": 1}
    assert [(row["id"], row["v"]) for row in result.rejects] == [("NA", "3"), ("4", "na"), ("-", "5")]
