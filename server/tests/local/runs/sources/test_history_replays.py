"""Corrected and replayed rejects of a table, by a real server: each is there once, or adds one version."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from local.loads import lake_tables
from local.loads.table_run import Database
from local.servers import serve
from local.wire import Wire

FLOW = """
flow = "customers"
version = "v1"
[target.mapped]
{place}
mode = "upsert"
key = ["no"]
create = true
[columns.no]
type = "integer"
required = true
unique = true
[columns.city]
pattern = "[A-Z][a-z]+"
"""
HISTORY = FLOW.replace("create = true", 'create = true\nhistory = "scd2"')
IN_DATABASE = 'url_env = "WAREHOUSE_URL"\ntable = "customers"'
Version = tuple[str, str]


@pytest.fixture
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lake_tables.Lake]:
    with lake_tables.opened(request.param, tmp_path, monkeypatch) as lake:
        yield lake


def write(home: Path, flow: str) -> None:
    (home / "flows").mkdir()
    (home / "flows/customers.v1.toml").write_text(flow)


async def loosen(wire: Wire, flow: str) -> None:
    """Upload a version that takes each city."""
    loose = tomllib.loads(flow.replace('"v1"', '"v2"').replace('pattern = "[A-Z][a-z]+"\n', ""))
    assert (await wire.ask("PUT", "/v1/flows/customers/versions/v2", json=loose)).status == 201


def instant(value: Any) -> datetime:
    """What a database, or a run's document, has of an instant; it is UTC."""
    one = datetime.fromisoformat(value) if isinstance(value, str) else value
    return one if one.tzinfo else one.replace(tzinfo=UTC)


def versions(database: Database) -> dict[int, list[Version]]:
    """The city and the run of each version; each but the last one ends where the next one begins."""
    query = 'SELECT no, city, _lume_run_id, valid_from, valid_to, "current" FROM customers ORDER BY no, valid_from'
    found: dict[int, list[tuple[Any, ...]]] = {}
    for no, *row in database.execute(query):
        found.setdefault(no, []).append(tuple(row))
    for chain in found.values():
        assert [bool(one[-1]) for one in chain] == [False] * (len(chain) - 1) + [True]
        assert chain[-1][3] is None
        for one, following in pairwise(chain):
            assert one[3] == following[2]
            assert instant(one[2]) < instant(one[3])
    return {no: [(one[0], one[1]) for one in chain] for no, chain in found.items()}


def begin_of(database: Database, run_id: str) -> datetime:
    query = f"SELECT DISTINCT valid_from FROM customers WHERE _lume_run_id = '{run_id}'"
    ((one,),) = database.execute(query)
    return instant(one)


async def run(wire: Wire, home: Path, name: str, rows: str, status: str = "SUCCEEDED") -> str:
    (home / name).write_text(f"no,city\n{rows}")
    document = await wire.run("customers:v1", name)
    assert document["status"] == status, document["metadata"]["error_message"]["error_message"]
    run_id: str = document["id"]
    return run_id


async def correct(wire: Wire, run_id: str, row: str) -> tuple[str, datetime]:
    """Resubmit one corrected reject of a run; return the new run, and when it was submitted."""
    text = f"_lume_row,_lume_reasons,no,city\n{row}\n"
    await wire.ask("PUT", f"/v1/uploads/{run_id}.csv", data=text)
    document = await wire.run("customers:v1", f"upload://{run_id}.csv", run_metadata={"resubmit_of": run_id})
    assert document["status"] == "SUCCEEDED", document["metadata"]["error_message"]
    return document["id"], instant(document["created_at"])


async def replayed(wire: Wire, rows: int) -> str:
    """Replay all rejects into the newest version; return the only run."""
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "customers"})
    assert answer.document["rows"] == rows, answer.document
    (one,) = answer.document["runs"]
    assert (await wire.until(one["id"]))["status"] == "SUCCEEDED"
    run_id: str = one["id"]
    return run_id


async def test_versions_in_a_database(tmp_path: Path, database: Database) -> None:
    await each_adds_its_version(tmp_path, database, HISTORY.format(place=IN_DATABASE))


@pytest.mark.parametrize(
    "lake", ["delta", pytest.param("iceberg", marks=pytest.mark.thorough)], indirect=True
)
async def test_versions_in_an_open_format(tmp_path: Path, lake: lake_tables.Lake) -> None:
    await each_adds_its_version(tmp_path, lake, HISTORY.format(place=lake.place))


async def each_adds_its_version(tmp_path: Path, database: Database, flow: str) -> None:
    write(tmp_path, flow)
    async with serve(tmp_path) as wire:
        monday = await run(wire, tmp_path, "monday.csv", "1,Bonn\n2,ulm\n3,Jena\n4,kiel\n", "PARTIAL_FAILED")
        first = {1: [("Bonn", monday)], 3: [("Jena", monday)]}
        assert versions(database) == first
        # One reject is corrected: it is a new key. The other one stays one.
        corrected, created = await correct(wire, monday, "2,,2,Ulm")
        assert versions(database) == first | {2: [("Ulm", corrected)]}
        assert begin_of(database, corrected) == created
        resubmitted = {"resubmit_of": monday}
        again = await wire.submit("customers:v1", f"upload://{monday}.csv", run_metadata=resubmitted)
        assert (again.status, again.kind) == (409, "already-processed")
        # A key that goes, and one with another value, which is a reject at first.
        tuesday = await run(wire, tmp_path, "tuesday.csv", "1,KOELN\n2,Ulm\n5,Mainz\n", "PARTIAL_FAILED")
        before = first | {2: [("Ulm", corrected)], 5: [("Mainz", tuesday)]}
        assert versions(database) == before, "3 is still current"
        await loosen(wire, flow)
        replay = await replayed(wire, 2)
        before |= {1: [("Bonn", monday), ("KOELN", replay)], 4: [("kiel", replay)]}
        assert versions(database) == before
        nothing = await wire.ask("POST", "/v1/replays", json={"flow": "customers"})
        assert nothing.document["rows"] == 0
        for _ in range(2):
            document = await wire.run("customers:v2", "tuesday.csv", force_rerun=True)
            assert document["status"] == "SUCCEEDED"
            assert versions(database) == before, "the batch again, with the row that was replayed"
        away = await run(wire, tmp_path, "wednesday.csv", "2,halle\n3,Trier\n", "PARTIAL_FAILED")
        back = await run(wire, tmp_path, "thursday.csv", "2,Essen\n3,Jena\n")
        late, _ = await correct(wire, away, "1,,2,Halle")
        after = {2: [*before[2], ("Essen", back), ("Halle", late)]}
        assert versions(database) == before | after | {3: [*before[3], ("Trier", away), ("Jena", back)]}
        loads = database.execute("SELECT count(*), count(DISTINCT run_id) FROM _lume_loads")
        assert loads == [(9, 9)], "each run once"


@pytest.mark.parametrize(
    "lake", [pytest.param("delta", marks=pytest.mark.thorough), "iceberg"], indirect=True
)
async def test_one_row_a_key(tmp_path: Path, lake: lake_tables.Lake) -> None:
    flow = FLOW.format(place=lake.place)
    write(tmp_path, flow)
    expected: dict[int, Version] = {}

    def check(run_id: str, *changed: Version) -> None:
        expected.update({int(no): (city, run_id) for no, city in changed})
        rows = lake.execute("SELECT no, city, _lume_run_id FROM customers ORDER BY no")
        assert rows == [(no, *expected[no]) for no in sorted(expected)]

    async with serve(tmp_path) as wire:
        monday = await run(wire, tmp_path, "monday.csv", "1,Bonn\n2,ulm\n3,Jena\n4,kiel\n", "PARTIAL_FAILED")
        check(monday, ("1", "Bonn"), ("3", "Jena"))
        corrected, _ = await correct(wire, monday, "2,,2,Ulm")
        check(corrected, ("2", "Ulm"))
        tuesday = await run(wire, tmp_path, "tuesday.csv", "1,KOELN\n3,Trier\n", "PARTIAL_FAILED")
        check(tuesday, ("3", "Trier"))
        await loosen(wire, flow)
        check(await replayed(wire, 2), ("1", "KOELN"), ("4", "kiel"))
        before = lake.files()
        nothing = await wire.ask("POST", "/v1/replays", json={"flow": "customers"})
        assert nothing.document["rows"] == 0
        again = await wire.submit("customers:v1", "monday.csv")
        assert (again.status, again.document["run_id"]) == (409, monday)
        assert lake.files() == before
        document = await wire.run("customers:v2", "tuesday.csv", force_rerun=True)
        check(document["id"], ("1", "KOELN"), ("3", "Trier"))
        loads = lake.loads()
        assert len(loads) == len(set(loads)) == 5
