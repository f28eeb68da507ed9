"""Which sources a command line names."""

import os
import sys
import threading
import time
from pathlib import Path

import click
import pytest

from lume_async import RunRequest
from lume_cli._work.backfill import Named, Paths, as_written


def request(path: str) -> RunRequest:
    return RunRequest("f:v1", path)


async def named(*given: str) -> list[str]:
    return [one.source_path async for one in Named(given, request).requests()]


@pytest.mark.parametrize(
    "path", [r"C:\data\customers.csv", "C:/data/customers.csv", r"\\host\share\a.csv", "s3://bucket/*.csv"]
)
async def test_a_path_of_windows_stands_for_itself(path: str) -> None:
    """A drive is no scheme, and a pattern in an object store is the server's affair."""
    assert await named(path) == [path]


async def test_a_pattern_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).touch()
    assert await named(f"{tmp_path}/*.csv") == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]
    with pytest.raises(click.UsageError, match="no file matches"):
        await named(f"{tmp_path}/*.parquet")


@pytest.mark.parametrize(
    ("pattern", "found", "shown"),
    [
        ("data/*.csv", r"data\a.csv", "data/a.csv"),
        (r"data\*.csv", r"data\a.csv", r"data\a.csv"),
        (r"C:\data\*.csv", r"C:\data\a.csv", r"C:\data\a.csv"),
        ("*.csv", "a.csv", "a.csv"),
    ],
)
def test_a_file_is_named_with_the_separators_of_its_pattern(pattern: str, found: str, shown: str) -> None:
    assert as_written(pattern, found, "\\") == shown
    assert as_written("data/*.csv", "data/odd\\name.csv", "/") == "data/odd\\name.csv"


@pytest.mark.parametrize("blocks", [True, False])
async def test_lines_of_stdin_are_taken_as_they_arrive(monkeypatch: pytest.MonkeyPatch, blocks: bool) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, blocks)

    def write() -> None:
        for part in ("\ufeffa.cs".encode(), b"v\r\n# a comment\nb", b".csv"):
            os.write(writing, part)
            time.sleep(0.01)
        os.close(writing)

    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writer = threading.Thread(target=write)
        writer.start()
        found = [one.source_path async for one in Paths("-", request).requests()]
        writer.join()
    assert found == ["a.csv", "b.csv"]
