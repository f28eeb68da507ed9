"""Lines that are far too long: rejects, word for word, without a multiple of their length in memory."""

import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import pytest
from local import one_run
from local.one_run import carried_out, execute

from lume_local._shared.protocol import Execute
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources import files
from lume_local._worker.sources.formats.text import scan

LENGTH = 20_000_000
COLUMNS = {"id": {"type": "integer"}, "name": {}}
LINES = {
    "csv": (b"id,name\n1,A\n", b"2,%b", b"3,C\n"),
    "ndjson": (b'{"id": 1, "name": "A"}\n', b'{"id": 2, "name": "%b"}', b'{"id": 3, "name": "C"}\n'),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("format", "rejects"), [("csv", ".csv"), ("csv", ".parquet"), ("ndjson", ".csv"), ("ndjson", ".ndjson")]
)
def test_its_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, rejects: str
) -> None:
    peaks = []

    def traced(connection: duckdb.DuckDBPyConnection, job: Execute) -> dict[str, Any]:
        tracemalloc.start()
        try:
            return carried_out(connection, job)
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    monkeypatch.setattr(one_run, "carried_out", traced)
    head, row, last = LINES[format]
    line = row % (b"x" * LENGTH)
    result = one_run.execute(
        tmp_path,
        head + line + b"\n" + last,
        columns=COLUMNS,
        source={"format": format},
        rejects_suffix=rejects,
    )
    assert result.mapped == [(1, "A"), (3, "C")]
    assert result.metrics["reject_reasons"] == {"malformed line: longer than 2,000,000 bytes": 1}
    assert result.metrics["source"]["lines"] == head.count(b"\n") + 2
    assert rejects == ".parquet" or len(result.rejects_file) >= LENGTH
    if rejects == ".csv" and format == "csv":
        assert result.raws == [line.decode()]
    if rejects == ".parquet":
        query = f"SELECT _lume_raw, _lume_line FROM '{tmp_path}/rejects.parquet'"
        assert duckdb.sql(query).fetchall() == [(line.decode(), head.count(b"\n") + 1)]
    bound = 3 if (format, rejects) == ("csv", ".csv") else 6
    assert peaks[0] < bound * LENGTH


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 11])
def test_a_long_line_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """Wherever the blocks end: within the line, before or within its line end, or behind it."""
    monkeypatch.setattr(scan, "_BLOCK", cut)
    content = b"id,name\r\n1,A\r\n" + b'2,"' + b"x" * 40 + b"\xff\r\n3,C\r\n4," + b"y" * 40
    result = execute(tmp_path, content, columns=COLUMNS, source={"format": "csv", "max_line_bytes": 16})
    assert result.mapped == [(1, "A"), (3, "C")]
    assert result.raws == ['2,"' + "x" * 40 + "\udcff", "4," + "y" * 40]
    assert [row["_lume_line"] for row in result.rejects] == ["3", "5"]


def test_usual_lines_are_read_in_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as many bytes at a time as the longest line may have."""
    read, peaks = scan.Scanner.scan, list[int]()

    def traced(self: scan.Scanner) -> None:
        tracemalloc.start()
        read(self)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    monkeypatch.setattr(scan.Scanner, "scan", traced)
    content = "id,name\n" + "".join(f'{n},"name, {n}"\n' for n in range(200_000))
    assert execute(tmp_path, content, columns=COLUMNS).metrics["rows_mapped"] == 200_000
    assert peaks[0] < 4 * scan._BLOCK < 2_500_000


@pytest.mark.parametrize(("format", "module"), [("csv", scan), ("ndjson", files)])
def test_a_line_that_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, module: object
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 5_000_000)
    head, row, last = LINES[format]
    with pytest.raises(RunFailed, match="is longer than 5,000,000 bytes"):
        execute(
            tmp_path,
            head + row % (b"x" * 20_000_000) + b"\n" + last,
            columns=COLUMNS,
            source={"format": format},
        )
