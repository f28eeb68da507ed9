"""Sources that their first bytes tell to be something else than the flow reads."""

import gzip
from pathlib import Path

import pytest
from local.flows import people
from local.one_run import execute_files as execute

from lume_local._worker.engine import RunFailed


@pytest.mark.parametrize(
    ("content", "format", "words"),
    [
        (b"%PDF-1.7\n1 0 obj\n", "csv", r"is a PDF document, but .* reads CSV files: convert it first"),
        (b"%PDF-1.7\n1 0 obj\n", "parquet", "is a PDF document, but .* reads Parquet files"),
        (b"\xff\xd8\xff\xe0JFIF", "ndjson", "is a JPEG image, but .* reads NDJSON files"),
        (
            b"PK\x03\x04" + bytes(30),
            "csv",
            r'is a ZIP archive .*: if it is a workbook .* format = "excel"; .* compression = "zip"',
        ),
        (gzip.compress(b"id\n1\n", mtime=0), "csv", r"is a gzip file, .*: let its name end with \.gz"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(30), "csv", r"is an old Office document .*\.xls"),
        (b"<html><table>", "excel", r"is an HTML page, but .* reads workbooks"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, format: str, words: str) -> None:
    flow = people(columns={"id": {}}, source={"format": format})
    with pytest.raises(RunFailed, match=r"in\.dat " + words):
        execute(tmp_path, ("in.dat", content), columns=flow["columns"], source=flow["source"])


def test_a_file_that_is_packed_twice(tmp_path: Path) -> None:
    packed = gzip.compress(gzip.compress(b"id\n1\n", mtime=0), mtime=0)
    with pytest.raises(
        RunFailed, match=r"in\.csv\.gz is a gzip file, .*: it is compressed twice, so decompress it once"
    ):
        execute(tmp_path, ("in.csv.gz", packed), columns={"id": {}})


def test_a_column_may_be_named_as_such_a_file_begins(tmp_path: Path) -> None:
    assert execute(tmp_path, ("in.csv", b"PAR1,ORC\n1,2\n"), columns={"PAR1": {}}).metrics["rows_mapped"] == 1
