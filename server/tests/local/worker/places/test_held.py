"""Sources that are held open: what is read is what was looked at, and messages have the paths that users know."""

import gzip
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute
from local.tables import content_of

from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places import held
from lume_local._worker.sources.places.local import LocalFiles

COLUMNS: dict[str, Any] = {"columns": {"id": {"type": "integer"}, "name": {}}}
ROWS = [["id", "name"], ["1", "Ann"], ["2", "Bo"]]
CSV = b"id,name\n1,Ann\n2,Bo\n"


def after_fetch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    fetch = LocalFiles.fetch

    def and_then(source: LocalFiles, *args: Any) -> Any:
        found = fetch(source, *args)
        act()
        return found

    monkeypatch.setattr(LocalFiles, "fetch", and_then)


@pytest.mark.parametrize("format", ["csv", "ndjson", "json", "parquet"])
def test_a_file_that_is_swapped_and_back_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    secret, path = tmp_path / "secret", tmp_path / "source"
    secret.write_bytes(content_of(format, ROWS, tmp_path).replace(b"Ann", b"Eve"))
    check = LocalFiles.check_unchanged

    def swap() -> None:
        os.rename(path, tmp_path / "was")
        path.symlink_to(secret)

    def back(source: LocalFiles, *args: Any) -> None:
        os.rename(tmp_path / "was", path)
        check(source, *args)

    after_fetch(monkeypatch, swap)
    monkeypatch.setattr(LocalFiles, "check_unchanged", back)
    result = execute(tmp_path, content_of(format, ROWS, tmp_path), source={"format": format}, **COLUMNS)
    assert sorted(result.mapped) == [(1, "Ann"), (2, "Bo")]


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet"])
def test_a_file_that_stays_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    path = tmp_path / "source"

    def swap() -> None:
        os.rename(path, tmp_path / "was")
        path.symlink_to(tmp_path / "was")

    after_fetch(monkeypatch, swap)
    with pytest.raises(
        RunFailed, match=rf"{path} (was changed while it was read|can't be read: it became a)"
    ):
        execute(tmp_path, content_of(format, ROWS, tmp_path), source={"format": format}, **COLUMNS)
    assert not list(tmp_path.glob("mapped*"))


@pytest.mark.parametrize(
    ("format", "broken"),
    [
        *(("parquet", b"PAR1" + bytes(40) + b"PAR1"), ("excel", b"PK\x03\x04zip")),
        *((format, b"\x00\xff\xfe" * 20) for format in ("csv", "ndjson", "json")),
    ],
)
def test_messages_name_files_as_their_users_do(tmp_path: Path, format: str, broken: bytes) -> None:
    with pytest.raises(RunFailed) as raised:
        execute(tmp_path, broken, source={"format": format}, **COLUMNS)
    assert "/proc/" not in str(raised.value)


@pytest.mark.parametrize(("format", "packed"), [("csv", True), ("ndjson", False), ("parquet", False)])
def test_a_system_without_names_for_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, packed: bool
) -> None:
    monkeypatch.setattr(held, "_NAMES", tmp_path / "none")
    data = content_of(format, ROWS, tmp_path)
    source = {"format": format, "compression": "gzip" if packed else "none"}
    result = execute(tmp_path, gzip.compress(data) if packed else data, source=source, **COLUMNS)
    assert sorted(result.mapped) == [(1, "Ann"), (2, "Bo")]


def test_nothing_stays_open(tmp_path: Path) -> None:
    execute(tmp_path / "first", CSV, **COLUMNS)
    before = len(os.listdir("/dev/fd"))
    execute(tmp_path / "good", CSV, **COLUMNS)
    with pytest.raises(RunFailed):
        execute(tmp_path / "bad", b"x\n1\n", **COLUMNS)
    assert len(os.listdir("/dev/fd")) == before


def test_there_is_room_for_as_many_files_as_a_source_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[int, int]]()
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    for least, most, files in ((100, 5000, 1000), (100, 500, 1000), (8192, 8192, 1000), (100, 5000, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, found=(least, most): found)
        held.make_room(files)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, resource.RLIM_INFINITY))
    held.make_room(1000)
    assert asked == [(1256, 5000), (500, 500), (257, 5000), (1256, resource.RLIM_INFINITY)]
