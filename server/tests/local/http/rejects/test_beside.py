"""Sources read again, after rejects of them were corrected or replayed into a table: those rows stay there."""

import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.arrivals.test_server import until
from local.http.rejects.test_mended import corrected
from local.loads import table_run
from local.loads.table_run import Database
from local.servers import serve
from local.wire import Wire
from on_posix import posix_only

STRICT = """
flow = "rb"
version = "v1"
[target]
mapped = { url_env = "WAREHOUSE_URL", table = "clean", mode = "replace_batch" }
[columns.id]
type = "integer"
required = true
[columns.name]
required = true
"""
LENIENT = STRICT.replace('"v1"', '"v2"').replace("[columns.name]\nrequired = true", "[columns.name]")
ROWS = "id,name\n1,a\n2,\n3,c\n4,\n"
WHOLE = "id,name\n1,a\n2,b\n3,c\n4,d\n"
HEADER = "_lume_row,_lume_reasons,id,name\n"
ARRIVAL = """
[[arrival]]
name = "shop"
flow = "rb"
from = "in/*.csv"
ready = { quiet = "100ms" }
changed = "rerun"
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with table_run.sqlite(tmp_path, monkeypatch) as database:
        database.execute("CREATE TABLE clean (id bigint, name text, _lume_run_id text)")
        yield database


@pytest.fixture
async def wire(home: Path, table: Database) -> AsyncIterator[Wire]:
    async with serve(home) as wire:
        yield wire


async def registered(wire: Wire, *texts: str) -> None:
    for text in texts:
        flow = tomllib.loads(text)
        path = f"/v1/flows/{flow['flow']}/versions/{flow['version']}"
        assert (await wire.ask("PUT", path, json=flow)).status == 201


async def replayed(wire: Wire, **body: Any) -> None:
    answer = await wire.ask("POST", "/v1/replays", json=body)
    for run in answer.document["runs"]:
        done = await wire.until(run["id"])
        assert (done["status"], warnings_of(done)) == ("SUCCEEDED", {})


def warnings_of(run: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = run["metadata"]["metrics"]["warnings"]
    return found


def ids(table: Database) -> list[int]:
    return [row[0] for row in table.execute("SELECT id FROM clean ORDER BY id")]


def beside(rejects: int) -> dict[str, int]:
    were, them = (
        ("reject of this source was", "it") if rejects == 1 else ("rejects of this source were", "them")
    )
    stays = "stays in the table, beside the rows of this run"
    return {f"{rejects} {were} corrected or replayed before: what was accepted of {them} {stays}": 1}


async def test_what_was_replayed_is_told(wire: Wire, home: Path, table: Database) -> None:
    await registered(wire, STRICT, LENIENT)
    (home / "rb.csv").write_text(ROWS)
    (home / "other.csv").write_text(ROWS)
    assert warnings_of(await wire.run("rb:v1", "rb.csv")) == {}
    await replayed(wire, flow="rb", to="rb:v2")
    assert ids(table) == [1, 2, 3, 4]
    again = await wire.run("rb:v2", "rb.csv", force_rerun=True)
    assert ids(table) == [1, 2, 2, 3, 4, 4]
    assert warnings_of(again) == beside(2)
    assert warnings_of(await wire.run("rb:v2", "rb.csv", force_rerun=True)) == beside(2), (
        "they are still there"
    )
    assert warnings_of(await wire.run("rb:v2", "other.csv")) == {}, "another source"


async def test_what_was_corrected_is_told(wire: Wire, home: Path, table: Database) -> None:
    await registered(wire, STRICT)
    (home / "rb.csv").write_text(ROWS)
    run = await wire.run("rb:v1", "rb.csv")
    mended = await corrected(wire, run, f"{HEADER}2,,2,b\n")
    assert warnings_of(mended) == {"1 of 2 rejects is not in this file": 1}
    (home / "rb.csv").write_text(WHOLE)
    again = await wire.run("rb:v1", "rb.csv", force_rerun=True)
    assert (again["status"], ids(table)) == ("SUCCEEDED", [1, 2, 2, 3, 4])
    assert warnings_of(again) == beside(1)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ('{ url_env = "WAREHOUSE_URL", table = "clean", mode = "append" }', True),
        (
            '{ url_env = "WAREHOUSE_URL", table = "clean", mode = "upsert", key = ["id"] }',
            False,
        ),
        ('"{run_id}.csv"', False),
    ],
    ids=["append", "upsert", "file"],
)
async def test_it_is_told_where_rows_can_be_there_twice(
    wire: Wire, home: Path, table: Database, target: str, says: bool
) -> None:
    if "upsert" in target:
        table.execute("CREATE UNIQUE INDEX by_id ON clean (id)")
    before = STRICT.partition("mapped = ")[2].partition("\n")[0]
    text = STRICT.replace(before, target).replace('"integer"\n', '"integer"\nunique = true\n')
    await registered(wire, text, text.replace('"v1"', '"v2"').removesuffix("required = true\n"))
    (home / "rb.csv").write_text(ROWS)
    await wire.run("rb:v1", "rb.csv")
    await replayed(wire, flow="rb", to="rb:v2")
    assert warnings_of(await wire.run("rb:v2", "rb.csv", force_rerun=True)) == (beside(2) if says else {})


async def test_corrected_rows_that_leave_the_current_table_are_told(wire: Wire, home: Path) -> None:
    text = STRICT.partition("[target]")[0] + "[columns" + STRICT.partition("[columns")[2]
    await registered(wire, text, text.replace('"v1"', '"v2"'))
    (home / "rb.csv").write_text(ROWS)
    run = await wire.run("rb:v1", "rb.csv")
    mended = await corrected(wire, run, f"{HEADER}2,,2,b\n4,,4,d\n")
    assert warnings_of(mended) == {}
    again = await wire.run("rb:v2", "rb.csv")
    assert [*warnings_of(again)] == [
        "2 corrected rows are no longer in the current table, because this run has read the source again: correct "
        "what it rejects once more. To run a new version on rejects alone, replay them"
    ]
    assert warnings_of(await wire.run("rb:v2", "rb.csv", force_rerun=True)) == {}, (
        "they were not there any more"
    )
    table = await wire.ask("GET", "/v1/flows/rb/table")
    assert table.document["rows"] == 2


async def test_without_corrections_nothing_is_told(wire: Wire, home: Path) -> None:
    await registered(wire, STRICT, LENIENT)
    (home / "rb.csv").write_text(ROWS)
    await wire.run("rb:v1", "rb.csv")
    answer = await wire.ask("POST", "/v1/rejects/discard", json={"flow": "rb", "why": "old"})
    assert answer.document == {"discarded": 2}
    for version in ("v1", "v2"):
        assert warnings_of(await wire.run(f"rb:{version}", "rb.csv", force_rerun=True)) == {}


@posix_only
async def test_a_corrected_file_that_arrives_is_told(each_state: str, home: Path, table: Database) -> None:
    (home / "in").mkdir()
    (home / "flows/rb.v1.toml").write_text(STRICT)
    (home / "arrivals.toml").write_text(ARRIVAL)
    async with serve(home, arrivals=home / "arrivals.toml") as wire:
        (home / "in/rb.csv").write_text(ROWS)
        found = await until(
            wire, lambda found: [one["status"] for one in found["files"]] == ["PARTIAL_FAILED"]
        )
        run = await wire.until(found["files"][0]["run_id"])
        await corrected(wire, run, f"{HEADER}2,,2,b\n4,,4,d\n")
        (home / "in/rb.csv").write_text(WHOLE)
        found = await until(wire, lambda found: found["files"][0]["status"] == "SUCCEEDED")
        again = await wire.until(found["files"][0]["run_id"])
    assert again["id"] != run["id"]
    assert warnings_of(again) == beside(2)
    assert ids(table) == [1, 2, 2, 3, 4, 4]
