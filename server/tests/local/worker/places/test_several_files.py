"""Compressed files, and several files as one source: the account has each, every row says where it is from."""

import gzip
import sys
import zlib
from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.one_run import execute_files as execute

from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places.local import LocalFiles

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FIRST, SECOND = b'id,name\n1,Ann\nx,Bo\n3,"C\n', b"Name,More,ID\nDee,?,4\nEve,?,1\nFay,?\n"


def test_columns_by_their_names_and_rows_in_their_order(tmp_path: Path) -> None:
    result = execute(tmp_path, ("a.csv", FIRST), ("b.csv.gz", gzip.compress(SECOND)))
    assert result.mapped == [(1, "Ann"), (4, "Dee")]
    wanted = [
        ("2", "3", "id: is not a valid integer", "a.csv", "x", "Bo", "", ""),
        ("4", "3", "id: repeats the value of an earlier row", "b.csv.gz", "1", "Eve", "?", ""),
        ("", "4", "malformed line: broken quotes", "a.csv", "", "", "", '3,"C'),
        ("", "4", "malformed line: too few columns", "b.csv.gz", "", "", "", "Fay,?"),
    ]
    assert [tuple(row.values()) for row in result.rejects] == wanted
    assert list(result.rejects[0])[3:7] == ["_lume_file", "id", "name", "More"]
    source = result.metrics["source"]
    assert source["files"] == [
        {"file": "a.csv", "bytes": len(FIRST), "lines": 4, "records": 3},
        {"file": "b.csv.gz", "bytes": len(gzip.compress(SECOND)), "lines": 4, "records": 3},
    ]
    assert [source[name] for name in ("bytes", "lines", "records")] == [
        sum(file[name] for file in source["files"]) for name in ("bytes", "lines", "records")
    ]
    assert result.metrics["rows_read"] == 6


def test_without_quotes(tmp_path: Path) -> None:
    source = {"csv": {"quote": "", "delim": ";"}}
    result = execute(
        tmp_path, ("a;1.csv", b"id;name\n1;A\nx;B\n2\n"), ("b", b"id;name\n3;C\n"), source=source
    )
    assert [row["_lume_file"] for row in result.rejects] == ["a 1.csv", "a 1.csv"]


def test_a_column_that_one_of_them_lacks(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"b\.csv has no column 'name', which people:v1 reads"):
        execute(tmp_path, ("a.csv", FIRST), ("b.csv", b"id\n1\n"))


@pytest.mark.parametrize(
    ("packed", "said"), [(gzip.compress, "auto"), (zstd.compress, "auto"), (zstd.compress, "by name")]
)
def test_compressed(tmp_path: Path, packed: Any, said: str) -> None:
    name = "gzip" if packed is gzip.compress else "zstd"
    suffix = {"gzip": ".GZ", "zstd": ".zst"}[name] if said == "auto" else ""
    content = packed(b"id,name\n1,A\n") + packed(b"2,B\n")  # of several members, as tools append them
    source = {} if said == "auto" else {"compression": name}
    result = execute(tmp_path, (f"in{suffix}", content), source=source)
    assert result.mapped == [(1, "A"), (2, "B")]
    assert result.metrics["source"] == {"bytes": len(content), "lines": 3, "records": 2}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.gz", gzip.compress(b"id,name\n" + b"1,A\n" * 1000)[:-20]),
        ("wrong.gz", b"id,name\n1,A\n"),
        ("damaged.gz", gzip.compress(b"id,name\n1,A\n")[:-8] + bytes(8)),
        ("more.gz", gzip.compress(b"id,name\n1,A\n") + b"2,B\n"),
        ("not.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + zlib.compress(b"id\n")),
        ("cut.zst", zstd.compress(b"id,name\n" + b"1,A\n" * 1000)[:-5]),
        ("wrong.zst", b"id,name\n1,A\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # gzip's bytes have the time in them
)
def test_damaged(tmp_path: Path, name: str, content: bytes) -> None:
    kind = "gzip" if name.endswith("gz") else "zstd"
    with pytest.raises(RunFailed, match=rf"{name} is not a complete {kind} file: .*\. Copy it again"):
        execute(tmp_path, (name, content))
    assert not list(tmp_path.glob("mapped*"))


@pytest.mark.parametrize("packed", [gzip.compress, zstd.compress])
def test_a_bomb(tmp_path: Path, packed: Any) -> None:
    content = packed(b"id,name\n" + b"1," + b"A" * 50_000_000 + b"\n")
    assert len(content) < 60_000
    suffix = "gz" if packed is gzip.compress else "zst"
    source = {"max_unpacked_bytes": 9_000_000}
    with pytest.raises(
        RunFailed, match=r"unpacks to more than source\.max_unpacked_bytes allows: 8,999,988 bytes are left"
    ):
        execute(tmp_path, ("a.gz", gzip.compress(b"id,name\n1,A\n")), (f"b.{suffix}", content), source=source)
    left = sum(path.stat().st_size for path in (tmp_path / "run").glob("unpacked*"))
    assert left <= 9_000_000


def test_a_suffix_that_says_nothing(tmp_path: Path) -> None:
    result = execute(tmp_path, ("plain.gz", b"id,name\n1,A\n"), source={"compression": "none"})
    assert result.mapped == [(1, "A")]


PEOPLE = b"id,name\n" + b"".join(b"%d,A\n" % n for n in range(1000))


@pytest.mark.parametrize(
    ("what", "packed"),
    [("is removed", False), ("is cut", True), ("is appended to", False), ("is replaced", True)],
)
def test_a_file_that_changes_once_it_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, packed: bool
) -> None:
    """Of the files of a pattern, say: no run has fewer rows because of it."""
    content, fetch = gzip.compress(PEOPLE) if packed else PEOPLE, LocalFiles.fetch

    def changed(source: LocalFiles, *args: Any) -> Any:
        path = tmp_path / "b"
        if what == "is appended to":
            with path.open("ab") as file:
                file.write(gzip.compress(b"2000,B\n") if packed else b"2000,B\n")
        else:
            path.unlink()
        if what in ("is cut", "is replaced"):
            path.write_bytes(content[:-50] if what == "is cut" else content)
        return fetch(source, *args)

    monkeypatch.setattr(LocalFiles, "fetch", changed)
    words = r"b was changed|b is not a complete gzip file|there is no file .*/b"
    with pytest.raises(RunFailed, match=words):
        source = {"compression": "gzip" if packed else "none"}
        execute(tmp_path, ("a", content), ("b", content), source=source, columns={"id": {}, "name": {}})
    assert not list(tmp_path.glob("mapped*"))


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet"])
def test_names_that_are_patterns_to_duckdb(tmp_path: Path, format: str) -> None:
    """Each is the name of one file, whatever others it would match."""
    files = []
    for n, name in enumerate(("a[1]", "a1", "a*", "a?", "a**")):
        if format == "parquet":
            duckdb.sql(f"COPY (SELECT {n} AS id, 'x' AS name) TO '{tmp_path}/x' (FORMAT parquet)")
            content = (tmp_path / "x").read_bytes()
        else:
            content = b"id,name\n%d,x\n" % n if format == "csv" else b'{"id":%d,"name":"x"}\n' % n
        files.append((name, content))
    result = execute(tmp_path / "of [1]*?", *files, source={"format": format})
    assert [row[0] for row in result.mapped] == [0, 1, 2, 3, 4]


CASES = (b"A,a\nX,1\nY,x\n", b"a,A\n2,Z\n", b"A,n\n3,Q\n")
"""Names that differ in case only, in either order, and one file that has the other name alone."""
OF_CASES = {"columns": {"id": {"type": "integer", "sql": '"a"'}}}


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    """The flow's spelling decides where a file has both, also if its rejects are mended and submitted again."""
    files = [(f"{n}.csv", content) for n, content in enumerate(CASES)]
    result = execute(tmp_path / "run", *files, **OF_CASES)
    assert result.mapped == [(1,), (2,), (3,)]
    assert [(row["a"], row["A_2"]) for row in result.rejects] == [("x", "Y")]
    one = execute(tmp_path / "one", files[0], **OF_CASES)
    assert list(one.rejects[0])[3:5] == ["A_2", "a"]
    again = execute(tmp_path / "again", ("r.csv", one.rejects_file.replace(b",x,", b",9,")), **OF_CASES)
    assert again.mapped == [(9,)]


@pytest.mark.parametrize(
    ("columns", "content"),
    [
        ({"x": {"sql": '"a"'}, "y": {"sql": '"A"'}}, b"a,A\n1,2\n"),
        ({"x": {"sql": '"a"'}}, b"a,a\n1,2\n"),
        ({"x": {"sql": '"a"'}}, b"A,A\n1,2\n"),
    ],
)
def test_names_that_a_flow_can_not_tell_apart(tmp_path: Path, columns: Any, content: bytes) -> None:
    with pytest.raises(RunFailed, match="names 'a' 2 times"):
        execute(tmp_path, ("a.csv", content), columns=columns)
