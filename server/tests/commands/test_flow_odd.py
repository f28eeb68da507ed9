"""What `lume flow init` says of files that are no tables, or in a wrapping: what it is, and what to do."""

import bz2
import gzip
import io
import json
import lzma
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from local.one_run import execute_files
from local.workbooks import written

from lume_cli._app import app

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CSV = b"id,name,amount\n" + b"".join(b"%d,Ann %d,%d.5\n" % (n, n, n) for n in range(1, 12))
NDJSON = b"".join(b'{"id": %d, "name": "Ann"}\n' % n for n in range(3))
BOOK = [["No", "Name"], *([n, f"Ann {n}"] for n in range(1, 6))]


def init(path: Path, content: bytes, *options: str) -> Result:
    path.write_bytes(content)
    return CliRunner().invoke(app, ["flow", "init", str(path), *options])


def made_of(path: Path, content: bytes, *options: str) -> tuple[dict[str, Any], str]:
    """The flow that is proposed, and what is said."""
    result = init(path, content, *options)
    assert result.exit_code == 0, result.stderr
    return tomllib.loads(result.stdout), " ".join(result.stderr.split())


def tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("a.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


MHT = b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="x"\r\n\r\n<html><table>'
SHEET_XML = (
    b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n'
    b'<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"><Worksheet><Table/></Worksheet></Workbook>'
)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty: a sample needs a header that names the columns, and rows"),
        ("a.csv", b"\xef\xbb\xbf\n \n", "is empty: a sample needs a header"),
        ("a.json", b" \n", "is empty: a sample needs at least one object"),
        ("a.csv", bytes(range(256)) * 9, "is a binary file, not CSV, .*: export its table as CSV, or copy it again"),
        ("a.xls", b"\r\n<html xmlns:o='u'><table>", "is an HTML page, .*: if it has a table, open it in"),
        ("a.xls", b"<table><tr><td>id</td></tr></table>", "is an HTML page, .* save it as .xlsx or CSV"),
        ("a.xls", SHEET_XML, "is a workbook of Excel 2003 in XML, .* save it as .xlsx or CSV"),
        ("a.xls", MHT, r"is a web archive or mail \(such as .mht, .eml\), .* open it in a spreadsheet"),
        ("a.tar", tar(CSV), "is a tar archive, .*: unpack it, or pack its files into a ZIP archive instead"),
        ("a.tgz", gzip.compress(tar(CSV)), "is a tar archive, .*: unpack it"),
        ("a.tar.zst", zstd.compress(tar(CSV)), "is a tar archive, .*: unpack it"),
        ("a.csv.bz2", bz2.compress(CSV), "is a bzip2 file, .*: unpack it, or compress it with gzip or zstd"),
        ("a.csv.xz", lzma.compress(CSV), "is an xz file, .*: unpack it, or compress it with gzip or zstd"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV)), "is a gzip file, .*: unpack it once, as it is"),
        ("a.csv.gz", gzip.compress(CSV)[:-9], "is not a complete gzip file: .*. Copy it again"),
        ("a.csv.zst", zstd.compress(CSV * 99)[:-9], "is not a complete zstd file: .*. Copy it again"),
        ("a.zip.gz", gzip.compress(zipped({"a.csv": CSV})), "is a compressed ZIP archive: decompress it, and pass"),
        ("a.json", b"42", "is JSON without an array of objects at its top: convert it to one, or to CSV"),
        ("a.ndjson", b'[1, "Ann"]\n[2, "Bob"]\n', "is JSON without an array of objects at its top"),
        ("a.json", '[{"id": 1}]'.encode("utf-16"), "is not valid UTF-8, which JSON requires: save it as UTF-8"),
        ("a.ndjson", b'{"id": 1},\n{"id": 2},\n', "a.ndjson:1 has a comma after an object: delete these commas, or"),
        ("a.json", b'[{"id": 1},\n{"id": 2},\n]', "a.json:2 has a comma before the end of the array: delete it"),
        ("a.json", b'[{"id": 1},\n{"id": 2}\n', "a.json:3 has an array without an end: copy it again"),
        ("a.json", b'[{"id": 1}\n{"id": 2}]', "a.json:2 has no comma after an object: add it"),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_named_with_a_way_on(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    result = init(tmp_path / name, content)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(words, " ".join(result.stderr.split())), result.stderr


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("a.csv", CSV, 11),
        ("a.ndjson", NDJSON, 3),
        ("a.json", b'[{"id": 1}, {"id": 2}]', 2),
        ("a.xlsx", None, 5),
    ],
)
def test_a_compressed_sample_is_read_as_by_a_run(
    tmp_path: Path, pack: Any, is_named: bool, name: str, content: bytes | None, count: int
) -> None:
    packed = pack(written("xlsx", BOOK) if content is None else content)
    if is_named:
        name += ".gz" if pack is gzip.compress else ".zst"
    made, said = made_of(tmp_path / name, packed)
    assert said == ""
    assert ("compression" in made["source"]) is not is_named
    result = execute_files(tmp_path / "run", (name, packed), source=made["source"], columns=made["columns"])
    assert (len(result.mapped), result.rejects) == (count, [])


def test_a_name_that_promises_a_compression_in_vain(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "a.zst", "a.zip"):
        made, _ = made_of(tmp_path / name, CSV)
        assert made["source"]["compression"] == "none"
        result = execute_files(
            tmp_path / f"run {name}", (name, CSV), source=made["source"], columns=made["columns"]
        )
        assert len(result.mapped) == 11


def test_one_object_is_one_record(tmp_path: Path) -> None:
    content = json.dumps({"id": [1, 2], "name": ["a", "b"]}).encode()
    made, said = made_of(tmp_path / "a.json", content)
    assert made["source"]["format"] == "json"
    assert "it is one object, and so one record: is that right?" in said
