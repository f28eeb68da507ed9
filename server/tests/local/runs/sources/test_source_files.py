"""Patterns and lists: which files a run reads, and that none lies outside of the roots."""

import asyncio
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local.servers import serve

from lume_local._runs.sources import source_files
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sources.source_files import SourceSpec

DAILY = """
flow = "daily"
version = "v1"
[source]
uri = ["{source_path}/*.csv.gz", "late/{source_path}.csv"]
[target]
mapped = "{data}/daily/{source_path}.csv"
rejects = "{data}/daily/{source_path}.rejects.csv"
[columns.id]
type = "integer"
unique = true
"""


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    root = tmp_path / "in [1]"  # a root means itself, whatever its name
    for name in ("in [1]/2024", "in [1]/a*b/c", "in [1]/a+b", "data", "secret"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "2024/b.csv",
        "2024/a.csv",
        "2024/c.txt",
        "2024/.d.csv",
        "a*b/x.csv",
        "a+b/y.csv",
        "a*b/c/z.csv",
    ):
        (root / name).write_text("id\n1\n")
    (root / "2024/folder.csv").mkdir()
    (tmp_path / "secret/s.csv").write_text("id\n1\n")
    (root / "way_out").symlink_to(tmp_path / "secret")
    return Roots.of((root,), tmp_path / "data")


def found(roots: Roots, uris: list[str], source_path: str = "x") -> list[str]:
    root = roots.folders[0]
    return [str(path.relative_to(root)) for path in SourceSpec(tuple(uris), source_path).files(roots)]


def test_a_pattern(roots: Roots) -> None:
    assert found(roots, ["2024/*.csv"]) == ["2024/a.csv", "2024/b.csv"]
    assert found(roots, ["**/[xyz].csv"]) == ["a*b/c/z.csv", "a*b/x.csv", "a+b/y.csv"]
    assert found(roots, [f"{roots.folders[0].parent}/in ?1]/2024/a*".replace("?", "[[]")]) == ["2024/a.csv"]


def test_a_source_path_means_itself(roots: Roots) -> None:
    assert found(roots, ["{source_path}/*.csv"], "a*b") == ["a*b/x.csv"]
    assert found(roots, ["{source_path}"], "a*b/x.csv") == ["a*b/x.csv"]
    assert found(roots, ["{source_path}/**/*.csv"], str(roots.folders[0] / "a*b")) == [
        "a*b/c/z.csv",
        "a*b/x.csv",
    ]


def test_a_list(roots: Roots) -> None:
    assert found(roots, ["a+b/y.csv", "2024/b.csv", "2024/*.csv"]) == [
        "a+b/y.csv",
        "2024/b.csv",
        "2024/a.csv",
    ]
    assert found(roots, ["2024/none.csv"]) == ["2024/none.csv"], "the worker says that it isn't there"


@pytest.mark.parametrize(
    ("uri", "source_path", "words"),
    [
        (
            "2025/*.csv",
            "x",
            r"no file matches '2025/\*\.csv' .'2025/\*\.csv' is relative to the server's root",
        ),
        ("{source_path}/*.csv", "/etc", "lies outside"),
        ("{source_path}/*.csv", "../secret", "'..' part"),
        ("way_out/*.csv", "x", "lies outside"),
        ("*/s.csv", "x", "lies outside"),
    ],
)
def test_refused(roots: Roots, uri: str, source_path: str, words: str) -> None:
    with pytest.raises(PathRefused, match=words):
        SourceSpec((uri,), source_path).files(roots)


def test_too_many(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "MOST_FILES", 1)
    with pytest.raises(PathRefused, match="the source has 2 files, and a run reads 1 at most"):
        found(roots, ["2024/*.csv"])


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("2024/**", ["2024/a.csv", "2024/b.csv", "2024/c.txt"]),
        ("**/**/a.csv", ["2024/a.csv"]),
        ("2024//.*.csv", ["2024/.d.csv"]),
        ("*/c/z.csv", ["a*b/c/z.csv"]),
        ("*/*/*.csv", ["a*b/c/z.csv"]),
        ("[a]*/**/[z].csv", ["a*b/c/z.csv"]),
    ],
)
def test_patterns_as_glob_has_them(roots: Roots, uri: str, names: list[str]) -> None:
    assert found(roots, [uri]) == names


def test_folders_that_link_up_are_not_gone_through_at_any_depth(roots: Roots) -> None:
    for name in ("up", "again"):
        (roots.folders[0] / "2024" / name).symlink_to(".")
    assert found(roots, ["2024/**/*.csv"]) == ["2024/a.csv", "2024/b.csv"]
    assert found(roots, ["*/up/a.csv"]) == ["2024/a.csv"], "one that is named is"


def test_a_search_is_bounded(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "MOST_ENTRIES", 3)
    with pytest.raises(
        PathRefused, match=r"looking for '\*\*/a.csv': there are more than 3 files and folders"
    ):
        found(roots, ["**/a.csv"])


def test_a_folder_that_can_not_be_read_is_no_empty_one(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("2024"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PathRefused, match="2024 can't be read: Permission denied"):
        found(roots, ["**/x.csv"])


async def test_a_run_that_is_cancelled_does_not_wait_for_its_search(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "flows/daily.v1.toml").write_text(DAILY)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(self: SourceSpec, roots: Roots, is_stopped: Callable[[], bool]) -> list[Path]:
        loop.call_soon_threadsafe(begun.set)
        while not is_stopped():
            time.sleep(0.001)
        return []

    async with serve(home) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(SourceSpec, "files", endless)
            run_id = (await wire.submit("daily:v1", "d1")).document["id"]
            await asyncio.wait_for(begun.wait(), 20)
            await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
            run = await wire.until(run_id)
        assert (run["status"], run["metadata"]["error_message"]) == (
            "CANCELLED",
            "cancelled by request; nothing was written",
        )
        assert (await wire.run("daily:v1", "d2"))["status"] == "FAILED", "the lane is free again"


async def test_a_day_as_one_run(home: Path) -> None:
    (home / "flows/daily.v1.toml").write_text(DAILY)
    (home / "d1").mkdir()
    (home / "late").mkdir()
    (home / "late/d1.csv").write_text("id\n4\n1\n")
    for name, rows in (("b", "3\nx\n"), ("a", "1\n2\n")):
        (home / f"d1/{name}.csv.gz").write_bytes(gzip.compress(f"id\n{rows}".encode()))
    async with serve(home) as wire:
        run = await wire.run("daily:v1", "d1")
        assert run["status"] == "PARTIAL_FAILED", run
        assert (home / ".lume/daily/d1.csv").read_text() == "id\n1\n2\n3\n4\n"
        rejects = (home / ".lume/daily/d1.rejects.csv").read_text().splitlines()
        assert [line.split(",")[3] for line in rejects] == ["_lume_file", "d1/b.csv.gz", "late/d1.csv"]
        files = run["metadata"]["metrics"]["source"]["files"]
        assert [file["file"] for file in files] == ["d1/a.csv.gz", "d1/b.csv.gz", "late/d1.csv"]
        page = (await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")).document["items"]
        assert [row["_lume_file"] for row in page] == ["d1/b.csv.gz", "late/d1.csv"]
        assert (await wire.submit("daily:v1", "./d1")).status == 409, "one source, however it is spelled"
        none = await wire.run("daily:v1", "d2")
        assert none["status"] == "FAILED"
        assert "no file matches 'd2/*.csv.gz'" in none["metadata"]["error_message"]
        assert (await wire.submit("daily:v1", "/etc")).status == 422
        await wire.ask("PUT", "/v1/uploads/day.csv", data=b"id\n7\n")
        assert (await wire.run("daily:v1", "upload://day.csv"))["status"] == "SUCCEEDED", (
            "an upload is the source alone"
        )
        assert (home / ".lume/daily/uploads/day.csv.csv").read_text() == "id\n7\n"


async def test_columns_that_come_and_go(home: Path) -> None:
    said = DAILY.replace("[source]", '[source]\non_unknown_columns = "warn"').replace("daily", "drift")
    (home / "flows/drift.v1.toml").write_text(said)
    (home / "late").mkdir()

    async def warnings(day: str, header: str) -> list[str]:
        (home / day).mkdir()
        (home / f"late/{day}.csv").write_text(f"{header}\n" + "1," * header.count(",") + "1\n")
        (home / f"{day}/a.csv.gz").write_bytes(gzip.compress(b"id\n2\n"))
        run = await wire.run("drift:v1", day)
        assert run["status"] == "SUCCEEDED", run
        return list(run["metadata"]["metrics"]["warnings"])

    async with serve(home) as wire:
        assert await warnings("d1", "id,a,b") == ["column 'a' is not read", "column 'b' is not read"]
        assert await warnings("d2", "id,b,a") == []
        assert await warnings("d3", "b,id,c") == ["column 'c' is new, and not read", "column 'a' is gone"]
        assert await warnings("d4", "b,id,c") == []
