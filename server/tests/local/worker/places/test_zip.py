"""ZIP archives as sources: their members are files of the source, and nothing in an archive is believed."""

import io
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from depth import examples, seeds
from hypothesis import given
from hypothesis import strategies as st
from local.flows import people
from local.layouts import COLUMNS, laid
from local.one_run import execute_files
from local.servers import serve
from local.shards.twice import compared

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places import unpack
from lume_local._worker.sources.places.unpack import Packed, chosen, members_of, opened_zip, reading_zip
from lume_local._worker.sources.source import SourceError

NORTH, SOUTH = b"id,name\n1,Ann\nx,Bo\n", b"Name,More,ID\nDee,?,4\nEve,?,1\nFay,?\n"
ALL = {"members": "*.csv"}
ENGINE = {"url": "here", "shard_bytes": 1, "shards": 4}


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, method)
    return file.getvalue()


def test_members_are_files_of_the_source(tmp_path: Path) -> None:
    content = packed(("south.csv", SOUTH), ("north.csv", NORTH), ("readme.txt", b"?"))
    result = execute_files(tmp_path, ("in.zip", content), source=ALL)
    assert result.mapped == [(1, "Ann"), (4, "Dee")]
    assert [tuple(row.values())[:4] for row in result.rejects] == [
        ("2", "3", "id: is not a valid integer", "in.zip/north.csv"),
        ("4", "3", "id: repeats the value of an earlier row", "in.zip/south.csv"),
        ("", "4", "malformed line: too few columns", "in.zip/south.csv"),
    ]
    source = result.metrics["source"]
    assert [(one["file"], one["lines"], one["records"]) for one in source["files"]] == [
        ("in.zip/north.csv", 3, 2),
        ("in.zip/south.csv", 4, 3),
    ]
    assert 0 < source["bytes"] == sum(one["bytes"] for one in source["files"]) < len(content)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        (["b.*", "*.csv"], ["b.csv", "a.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "sub/c.csv"]),
        ("sub/*", ["sub/c.csv", "sub/d.txt"]),
        ("b.csv", ["b.csv"]),
        (["?.csv", "b.csv"], ["a.csv", "b.csv"]),
    ],
)
def test_patterns(tmp_path: Path, patterns: Any, names: list[str]) -> None:
    there = ("b.csv", "a.csv", "sub/", "sub/d.txt", "sub/c.csv", "__MACOSX/._a.csv", ".hidden.csv")
    (tmp_path / "a.zip").write_bytes(packed(*((name, b"") for name in there)))
    wanted = read_definition(people(source={"members": patterns})).source.members
    with reading_zip(tmp_path / "a.zip", "a.zip") as archive:
        assert [one.name for one in chosen(members_of(archive), "a.zip", wanted)] == names


def test_the_only_file_needs_no_pattern(tmp_path: Path) -> None:
    clutter = ("__MACOSX/data/._a.csv", "data/.DS_Store", "Thumbs.db", "data/")
    content = packed(*((name, b"?") for name in clutter), ("data/a.csv", NORTH))
    result = execute_files(tmp_path, ("in.ZIP", content))
    assert result.mapped == [(1, "Ann")]
    assert "files" not in result.metrics["source"]


def test_a_name_without_the_suffix(tmp_path: Path) -> None:
    content = packed(("a.csv", NORTH))
    assert execute_files(tmp_path / "1", ("in", content), source={"compression": "zip"}).mapped == [
        (1, "Ann")
    ]
    with pytest.raises(RunFailed, match=r'in is a ZIP archive .*compression = "zip"'):
        execute_files(tmp_path / "2", ("in", content))


def test_rejects_of_an_archive_come_back(tmp_path: Path) -> None:
    content = packed(("a.csv", NORTH), ("b.csv", SOUTH))
    first = execute_files(tmp_path / "first", ("in.zip", content), source=ALL)
    mended = first.rejects_file.replace(b",x,Bo,", b",2,Bo,")
    for name in ("mended.csv", "mended.zip"):  # the content shows that they are no archive
        again = execute_files(tmp_path / name, (name, mended), source=ALL | {"compression": "auto"})
        assert again.mapped[0] == (2, "Bo")


def test_archives_beside_files_are_read_in_order_and_by_one_worker(tmp_path: Path) -> None:
    archive = packed(("a.csv", b"id\n1\n2\nx\n"), ("b.csv", b"id\n3\n"))
    files = [("1.csv", b"id\n7\ny\n"), ("2.zip", archive), ("3.csv", b"id\n8\n")]
    shards = compared(tmp_path, files, ENGINE, source=ALL).shards
    assert shards["count"] == 1
    assert set(shards["whole"]) == {"1.csv", "2.zip", "3.csv"}


@seeds(10)
def test_an_archive_gives_what_its_files_give(tmp_path: Path, seed: int) -> None:
    """Each with its own preamble, comments and footer: rows, rejects and the account of lines are the same."""
    rng = random.Random(seed)
    file, source = laid(rng)
    files = [(f"{name}.csv", file.text.encode()) for name in "abc"[: rng.randrange(1, 4)]]
    flow = {"columns": COLUMNS, "source": source}
    plain = execute_files(tmp_path / "plain", *files, **flow)
    content = packed(*reversed(files), method=rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    result = execute_files(
        tmp_path / "zip", ("in.zip", content), columns=COLUMNS, source=source | {"members": "*.csv"}
    )
    assert result.mapped == plain.mapped
    assert result.rejects_file.replace(b"in.zip/", b"") == plain.rejects_file
    counts, wanted = result.metrics["source"], plain.metrics["source"]
    keys = ("lines", "records", "skipped")
    assert [counts.get(key) for key in keys] == [wanted.get(key) for key in keys]
    assert counts["lines"] == file.lines * len(files)


class Stopped(Exception):
    """The run was cancelled."""


def test_unpacking_stops_between_any_two_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "BLOCK", 1000)
    (tmp_path / "in.zip").write_bytes(packed(("a.csv", bytes(100_000))))
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 5:
            raise Stopped

    with pytest.raises(Stopped):
        Packed(tmp_path / "in.zip", "in.zip", "zip").unpack(tmp_path / "out", 10**9, pause)
    assert (tmp_path / "out_0").stat().st_size <= 5000


def info(name: str, **values: Any) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("x", (2024, 5, 1, 0, 0, 0))
    made.filename = name
    for key, value in values.items():
        setattr(made, key, value)
    return made


def link(name: str) -> zipfile.ZipInfo:
    return info(name, create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16)


def damaged(content: bytes, change: Callable[[bytearray], None]) -> bytes:
    changed = bytearray(content)
    change(changed)
    return bytes(changed)


def set_flag(content: bytearray, flag: int = 1) -> None:
    """In the member's header and in the list of members."""
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= flag


def set_method(content: bytearray, method: int) -> None:
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(mark) + at] = method


ONE = packed(("a.csv", NORTH))
TWO = packed(("a.csv", NORTH), ("b/c.csv", SOUTH * 20))
with pytest.warns(UserWarning, match="Duplicate name"):
    TWINS = packed(("a.csv", NORTH), ("a.csv", SOUTH))
REFUSED: list[tuple[bytes, Any, str]] = [
    (packed(("a.csv", b""), ("b.csv", b"")), {}, r"has 2 members: 'a\.csv', 'b\.csv'\. Set members"),
    (packed(), {}, r"has no member, nor any other file"),
    (packed(("a.txt", b"")), ALL, r"has no member that matches '\*\.csv', but 'a\.txt'"),
    (
        packed(("../a.csv", NORTH)),
        {"members": "../*"},
        r"'\.\./a\.csv' of in\.zip is not read: its name leads out",
    ),
    (packed(("x/../../a.csv", NORTH)), {}, "leads out"),
    (packed(("/etc/a.csv", NORTH)), {}, "leads out"),
    (packed((info("..\\a.csv"), NORTH)), {}, "leads out"),
    (packed(("C:/a.csv", NORTH)), {}, "leads out"),
    (packed(("a\n.csv", NORTH)), {}, "a control character"),
    (packed(("a" * 2000, NORTH)), {}, "more than 1,000 characters"),
    (packed((link("a.csv"), b"/etc/passwd")), {}, "symbolic link"),
    (TWINS, ALL, r"there are 2 of that name"),
    (packed(("b.zip", ONE)), {}, "an archive itself"),
    (packed(("a.xlsx", ONE)), {}, "is a ZIP archive"),
    (packed(("a.csv", NORTH), method=zipfile.ZIP_LZMA), {}, "compressed by LZMA"),
    (damaged(ONE, set_flag), {}, "is encrypted: pack it again without a password"),
    (damaged(ONE, lambda content: set_method(content, 99)), {}, "is encrypted"),
    (damaged(ONE, lambda content: set_method(content, 9)), {}, "compressed by Deflate64"),
    (ONE[:-30], {}, "is not a complete ZIP archive"),
    (b"id,name\n1,A\n", {}, "is not a complete ZIP archive"),
    (b"", {}, "is not a complete ZIP archive"),
    (
        damaged(ONE, lambda content: content.__setitem__(40, content[40] ^ 1)),
        {},
        "is not a complete ZIP archive",
    ),
]


@pytest.mark.parametrize(("content", "source", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused(tmp_path: Path, content: bytes, source: Any, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        execute_files(tmp_path, ("in.zip", content), source=source)
    assert not (tmp_path.parent / "a.csv").exists()
    assert not Path("/etc/a.csv").exists()


def test_names_of_other_systems(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(packed((info("data\\a.csv"), b"")))
    with opened_zip(tmp_path / "a.zip") as archive:
        assert [one.name for one in members_of(archive)] == ["data/a.csv"]
    content = packed(("mxxller.csv", b"")).replace(b"mxxller", "müller".encode())
    (tmp_path / "b.zip").write_bytes(content)  # as macOS writes it, without the mark of UTF-8
    with opened_zip(tmp_path / "b.zip") as archive:
        assert [one.name for one in members_of(archive)] == ["müller.csv"]


def test_a_bomb_ends_at_the_limit_of_the_flow(tmp_path: Path) -> None:
    zeros = packed(("a.csv", NORTH), ("b.csv", b"id,name\n" + b"1,A\n" * 500_000))
    with pytest.raises(
        RunFailed, match=r"b\.csv unpacks to more than source\.max_unpacked_bytes allows: 99,981"
    ):
        execute_files(tmp_path, ("in.zip", zeros), source=ALL | {"max_unpacked_bytes": 100_000})
    written = sum(one.stat().st_size for one in tmp_path.rglob("unpacked*"))
    assert written < 5_000_000


def test_the_limit_holds_over_all_archives(tmp_path: Path) -> None:
    one = packed(("a.csv", NORTH * 100))
    with pytest.raises(RunFailed, match=r"2\.zip/a\.csv unpacks to more than"):
        execute_files(tmp_path, ("1.zip", one), ("2.zip", one), source={"max_unpacked_bytes": 3000})


def test_a_ratio_that_no_honest_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "UNJUDGED", 1_000_000)
    zeros = packed(("a.csv", b"id,name\n" + bytes(10_000_000)), method=zipfile.ZIP_BZIP2)
    assert len(zeros) < 1000
    with pytest.raises(RunFailed, match=r"a\.csv unpacks to more than 2,000 times its size"):
        execute_files(tmp_path, ("in.zip", zeros))


def test_a_size_that_the_archive_lies_about(tmp_path: Path) -> None:
    """What is unpacked counts, and ends where the archive says that it does."""
    content = packed(("a.csv", NORTH * 1000))
    size = struct.pack("<L", len(NORTH) * 1000)
    assert content.count(size) == 2
    with pytest.raises(RunFailed, match="not a complete ZIP archive"):
        execute_files(tmp_path / "less", ("in.zip", content.replace(size, struct.pack("<L", 20))))


def test_overlapping_members(tmp_path: Path) -> None:
    """The bomb whose members share their bytes, which Python only warns of."""
    content = packed(("a.csv", NORTH), ("b.csv", NORTH))
    second = content.rindex(b"PK\x01\x02")
    shared = damaged(content, lambda one: one.__setitem__(slice(second + 42, second + 46), bytes(4)))
    with pytest.raises(RunFailed, match=r"'a\.csv' and 'b\.csv' overlap"):
        execute_files(tmp_path, ("in.zip", shared), source=ALL)


@pytest.mark.thorough
def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = packed(*((f"{n}.csv", b"") for n in range(1001)))
    with pytest.raises(RunFailed, match=r"1,001 members in in\.zip, but a run reads at most 1,000"):
        execute_files(tmp_path / "many", ("in.zip", many), source=ALL)
    half = packed(*((f"{n}.csv", b"id,name\n") for n in range(501)))
    with pytest.raises(RunFailed, match="1,002 files, but a run reads at most 1,000"):
        execute_files(tmp_path / "half", ("1.zip", half), ("2.zip", half), source=ALL)
    monkeypatch.setattr(unpack, "MOST_DIRECTORY", 1000)
    with pytest.raises(RunFailed, match=r"list of members is larger than 1,000 bytes"):
        execute_files(tmp_path / "directory", ("in.zip", many), source=ALL)


@examples(150)
@given(st.data())
def test_a_damaged_archive_is_reported(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes are changed: its members come out as they were, or there is a `SourceError`."""
    content = bytearray(TWO)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("zip") / "in.zip"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with suppress(SourceError), reading_zip(path, "in.zip") as archive:
        for one in chosen(members_of(archive), "in.zip", ["**/*"]):
            with archive.open(one.info) as file:
                assert file.read() in (NORTH, SOUTH * 20)


async def test_uploads_and_the_same_content_twice(home: Path) -> None:
    """What identifies an archive is its bytes."""
    flow = 'flow = "zipped"\nversion = "v1"\n[source]\nmembers = "*.csv"\nidentity = "content"\n[columns]\nid = {}\n'
    (home / "flows/zipped.toml").write_text(flow)
    (home / "in.zip").write_bytes(packed(("a.csv", b"id\n1\n"), ("b.csv", b"id\n2\n")))
    async with serve(home) as wire:
        upload = (await wire.ask("PUT", "/v1/uploads/in.zip", data=(home / "in.zip").read_bytes())).document
        run = await wire.run("zipped:v1", upload["source_path"])
        files = run["metadata"]["metrics"]["source"]["files"]
        assert [(one["file"].rpartition("/")[2], one["records"]) for one in files] == [
            ("a.csv", 1),
            ("b.csv", 1),
        ]
        assert (await wire.run("zipped:v1", "in.zip"))["status"] == "SUCCEEDED"
        assert (await wire.submit("zipped:v1", "in.zip")).status == 409
        (home / "in.zip").write_bytes(packed(("a.csv", b"id\n1\n")))
        run = await wire.run("zipped:v1", "in.zip")
        assert run["metadata"]["metrics"]["rows_mapped"] == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"members": ""}, "source.members: is empty"),
        ({"members": "/a.csv"}, "is not a pattern"),
        ({"members": ["a", 1]}, "is not a pattern"),
        ({"members": []}, "list of 1 to 1,000"),
        ({"members": "*", "compression": "gzip"}, "has no meaning"),
        ({"format": "sql", "members": "*"}, "has no meaning"),
    ],
)
def test_members_that_are_no_patterns(source: Any, message: str) -> None:
    if source.get("format") == "sql":
        source |= {"url_env": "X", "query": "SELECT 1"}
    with pytest.raises(FlowError, match=message):
        read_definition(people(source=source))
