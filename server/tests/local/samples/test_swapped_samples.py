"""Samples that are swapped for symbolic links while a proposal is made: nothing behind these is read."""

import gzip
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.workbooks import Sheet, written

from lume_local import propose
from lume_local._mapping.target import of_schema
from lume_local._shared.protocol import Propose, Proposed, Refused
from lume_local._worker.samples.proposing import make_proposal
from lume_local._worker.sources.places import held

SCHEMA = {"properties": {"name": {"type": "string"}}}
OURS, SECRET = "Ann", "Eve"
LINK = "became a symbolic link after the server had checked the path"


def rows_of(value: str) -> list[dict[str, Any]]:
    return [{"id": n, "name": value, f"of_{value}": n} for n in range(20)]


def csv_of(value: str) -> bytes:
    names, rows = ",".join(rows_of(value)[0]), rows_of(value)
    return "\n".join([names, *(",".join(map(str, row.values())) for row in rows), ""]).encode()


def parquet_of(value: str, folder: Path) -> bytes:
    path = folder / f"{value}.rows"
    duckdb.sql(
        f"COPY (SELECT '{value}' AS name, range AS of_{value} FROM range(20)) TO '{path}' (FORMAT parquet)"
    )
    return path.read_bytes()


def zip_of(value: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", csv_of(value))
        archive.writestr("b.csv", csv_of(value))
    return file.getvalue()


def workbook_of(value: str) -> bytes:
    return written("xlsx", {value: Sheet([row.split(",") for row in csv_of(value).decode().split()])})


def xml_of(value: str) -> bytes:
    rows = "".join(f"<row><id>{n}</id><name>{value}</name></row>" for n in range(20))
    return f"<rows>{rows}</rows>".encode()


CONTENTS: dict[str, Callable[[str, Path], bytes]] = {
    "a.csv": lambda value, _: csv_of(value),
    "a.csv.gz": lambda value, _: gzip.compress(csv_of(value)),
    "a.json": lambda value, _: json.dumps(rows_of(value)).encode(),
    "a.ndjson": lambda value, _: "\n".join(map(json.dumps, rows_of(value))).encode(),
    "a.xml": lambda value, _: xml_of(value),
    "a.parquet": parquet_of,
    "a.xlsx": lambda value, _: workbook_of(value),
    "a.zip": lambda value, _: zip_of(value),
}


class Swap:
    """Before the file that is meant is opened for the n-th time, by any name, something happens."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.left, self.seen, self.act = -1, 0, lambda: None
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "open" or not self.names or not isinstance(args[0], str | os.PathLike):
            return
        if (path := os.fspath(args[0])) in self.names or str(path).startswith("/proc/self/fd/"):
            self.seen += 1
            if self.seen == self.left:
                names, self.names = self.names, ()
                self.act()
                self.names = names

    def proposal(
        self, path: Path, names: tuple[str, ...], at: int, act: Callable[[], None]
    ) -> tuple[Proposed | Refused, bool]:
        """What comes of it, and whether something happened meanwhile."""
        self.names, self.left, self.seen, self.act = names, at, 0, act
        try:
            return make_proposal(job_of(path)), self.seen >= at
        finally:
            self.names = ()


SWAP = Swap()
QUICK = [("a.parquet", "a.parquet"), ("a.parquet", "in"), ("a.zip", "a.zip")]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param(name, part, marks=() if (name, part) in QUICK else pytest.mark.thorough)
        for name in CONTENTS
        for part in (name, "in")
    ],
)
def test_at_every_place_what_was_opened_first_is_read(tmp_path: Path, name: str, part: str) -> None:
    folder, outside = tmp_path / "root/in", tmp_path / "outside"
    folder.mkdir(parents=True)
    outside.mkdir()
    path = folder / name
    path.write_bytes(CONTENTS[name](OURS, tmp_path))
    (outside / name).write_bytes(CONTENTS[name](SECRET, tmp_path))
    swapped = folder if part == "in" else path

    def act() -> None:
        swapped.rename(tmp_path / "was")
        swapped.symlink_to(outside if part == "in" else outside / name)

    outcomes, happened, at = list[str](), True, 0
    while happened:
        at += 1
        answer, happened = SWAP.proposal(path, (str(path), name, "in"), at, act)
        said = json.dumps(answer.proposal if isinstance(answer, Proposed) else answer.problem)
        assert SECRET not in said, f"swapped before it was opened for the {at}th time"
        if isinstance(answer, Refused):
            assert LINK in answer.problem
        else:
            assert answer.proposal["layouts"][0]["columns"][0]["chosen"]["values"][0]["before"] == OURS
        outcomes.append(type(answer).__name__)
        if happened:
            swapped.unlink()
            (tmp_path / "was").rename(swapped)
    # Until the only time that its path is used it is refused; from then on it is read.
    first = 1 if part == "in" else 2
    assert outcomes == ["Refused"] * first + ["Proposed"] * (len(outcomes) - first)
    assert len(outcomes) > first + 2


def job_of(path: Path, **more: Any) -> Propose:
    target = of_schema(SCHEMA, "a", "v1", "s")
    return Propose(target.to_json(), [{"path": str(path), "shown": "in/it", **more}])


def test_where_open_files_have_no_names_a_copy_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "_NAMES", tmp_path / "none")
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(csv_of(OURS)))
    assert isinstance(make_proposal(job_of(path)), Proposed)


def test_the_size_is_that_of_the_open_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(csv_of(OURS))
    size = path.stat().st_size
    assert isinstance(make_proposal(job_of(path, most_bytes=size)), Proposed)
    problem = f"'in/it' has {size:,} bytes; the maximum is 10: pass a part of it"
    assert make_proposal(job_of(path, most_bytes=10)) == Refused("samples", problem)


async def test_a_sample_from_the_shell_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/march.csv.gz").write_bytes(gzip.compress(csv_of(OURS)))
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "latest").symlink_to("link/march.csv.gz")
    found = await propose(SCHEMA, tmp_path / "latest", flow="a")
    assert found.samples[0].name == str(tmp_path / "latest")
    assert found.columns[0].chosen is not None
