"""Whether a file can be one of rejects, for each format that a server reads."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from components import package

from lume_async._run.resubmit import UnreadableError, has_reject_columns

SOURCE = [{"id": 1, "name": "Ann"}, {"id": "x", "name": "Bo"}]
REJECTS = [{"_lume_row": 2, "_lume_reasons": "id: is not a valid integer", "id": "x", "name": "Bo"}]
Rows = list[dict[str, Any]]


def csv(rows: Rows) -> bytes:
    return "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode()


def ndjson(rows: Rows) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def array(rows: Rows) -> bytes:
    return b"\xef\xbb\xbf\r\n " + json.dumps(rows, indent=1).encode()


def utf_16(rows: Rows) -> bytes:
    return csv(rows).decode().encode("utf-16")


def parquet(rows: Rows, folder: Path) -> bytes:
    (folder / "rows.ndjson").write_bytes(ndjson(rows))
    duckdb.sql(f"COPY (FROM read_json('{folder}/rows.ndjson')) TO '{folder}/rows.parquet'")
    return (folder / "rows.parquet").read_bytes()


def workbook(rows: Rows, folder: Path) -> bytes:
    book = package("openpyxl").Workbook()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    book.save(folder / "rows.xlsx")
    return (folder / "rows.xlsx").read_bytes()


TEXTS = [csv, ndjson, array, utf_16]
PACKED = [gzip.compress, bz2.compress, lzma.compress]


@pytest.mark.parametrize("write", TEXTS)
@pytest.mark.parametrize("pack", [bytes, *PACKED])
def test_texts(write: Callable[[Rows], bytes], pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    for rows, expected in ((REJECTS, True), (SOURCE, False)):
        (tmp_path / "file").write_bytes(pack(write(rows)))
        assert has_reject_columns(tmp_path / "file") is expected


@pytest.mark.parametrize("write", [parquet, workbook])
def test_binaries(write: Callable[[Rows, Path], bytes], tmp_path: Path) -> None:
    for rows, expected in ((REJECTS, True), (SOURCE, False)):
        (tmp_path / "file").write_bytes(write(rows, tmp_path))
        assert has_reject_columns(tmp_path / "file") is expected


@pytest.mark.parametrize("write", [parquet, workbook])
@pytest.mark.parametrize("left", [5, 7, 8, 40, -1])
def test_what_is_cut_off_is_damaged(write: Callable[[Rows, Path], bytes], left: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(write(REJECTS, tmp_path)[:left])
    with pytest.raises(UnreadableError):
        has_reject_columns(tmp_path / "file")


@pytest.mark.parametrize("pack", PACKED)
def test_so_is_what_can_not_be_unpacked(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    packed = pack(csv(REJECTS))
    for damaged in (packed[:10], packed[:-4], packed[:10] + b"\xff" * 60):
        (tmp_path / "file").write_bytes(damaged)
        with pytest.raises(UnreadableError):
            has_reject_columns(tmp_path / "file")


def test_a_column_may_be_called_as_a_parquet_file_begins(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("PAR1,_lume_row\n1,2\n")
    assert has_reject_columns(tmp_path / "file") is True


def test_zstd_can_not_be_seen_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x28\xb5\x2f\xfd and so on")
    assert has_reject_columns(tmp_path / "file") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"PA", b"PAR1"])
def test_what_is_hardly_a_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert has_reject_columns(tmp_path / "file") is False
