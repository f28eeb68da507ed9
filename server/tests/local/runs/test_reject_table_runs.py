"""Runs of a server whose rejects go to a table, too: what else works as before, and what kills leave."""

import os
import random
import tomllib
from functools import partial
from pathlib import Path

import anyio
import pytest
from local.servers import process, serve
from local.table_run import ENV, Database
from local.wire import Wire

FLOW = """
flow = "people"
version = "v1"
[target]
mapped = { url_env = "WAREHOUSE_URL", table = "good", mode = "append", create = true }
rejects = { url_env = "WAREHOUSE_URL", table = "bad", create = true }
[columns.id]
type = "integer"
[columns.mail]
format = "email"
"""
LOOSE = FLOW.replace('"v1"', '"v2"').replace('format = "email"\n', "")
BAD = 7


def write(home: Path, name: str, first: int = 0) -> None:
    rows = [f"{first + n},{'no' if n < BAD else 'a@example.org'}\n" for n in range(20)]
    (home / name).write_text("id,mail\n" + "".join(rows))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/people.v1.toml").write_text(FLOW)
    return tmp_path


def of_runs(database: Database, table: str) -> dict[str, int]:
    query = f"SELECT _lume_run_id, count(*) FROM {table} GROUP BY 1"
    return dict(database.execute(query))  # type: ignore[arg-type]


async def test_the_rest_works_as_with_a_file_alone(home: Path, database: Database) -> None:
    """Pages, the inbox, replays and corrected rejects read the file; each run has its own rows in the table."""
    write(home, "a.csv")
    async with serve(home) as wire:
        run = await wire.run("people:v1", "a.csv")
        assert run["status"] == "PARTIAL_FAILED", run["metadata"]["error_message"]
        places = run["metadata"]["target_locations"]
        assert places["rejects_table"] == f"{database.shown}?table=bad"
        page = (await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")).document
        assert [one["id"] for one in page["items"]] == [str(n) for n in range(BAD)]
        assert of_runs(database, "bad") == {run["id"]: BAD}
        header = "_lume_row,_lume_reasons,id,mail\n"
        await wire.ask("PUT", "/v1/uploads/m.csv", data=f"{header}1,,0,a@example.org\n2,,1,still\n")
        mended = await wire.run("people:v1", "upload://m.csv", run_metadata={"resubmit_of": run["id"]})
        assert of_runs(database, "bad") == {run["id"]: BAD, mended["id"]: 1}
        flow = tomllib.loads(LOOSE)
        assert (await wire.ask("PUT", "/v1/flows/people/versions/v2", json=flow)).status == 201
        answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"})
        assert answer.document["rows"] == BAD - 2 + 1
        for one in answer.document["runs"]:
            assert (await wire.until(one["id"]))["status"] == "SUCCEEDED"
        (account,) = ((await wire.ask("GET", "/v1/inbox")).document["flows"]) or [
            {"account": {"closes": True}}
        ]
        assert account["account"]["closes"]
        Path(places["rejects"]).unlink()
        gone = await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")
        assert gone.kind == "output-gone", "the table is for people; the server does not read it"
    assert of_runs(database, "bad") == {run["id"]: BAD, mended["id"]: 1}
    assert sum(of_runs(database, "good").values()) == 20


async def settled(wire: Wire, run_ids: list[str]) -> dict[str, str]:
    return {run_id: (await wire.until(run_id))["status"] for run_id in run_ids}


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_each_reject_is_in_the_table_once(home: Path, database: Database) -> None:
    """Whenever the server is killed, a run that has ended has all of its rows in both tables, or none in any."""
    dice = random.Random(1)
    start, run_ids = partial(process, home, env={ENV: os.environ[ENV]}), list[str]()
    for number in range(3):
        async with start() as (server, wire):
            for part in range(2):
                name = f"{number}{part}.csv"
                write(home, name, 100 * (2 * number + part))
                run_ids.append((await wire.submit("people:v1", name)).document["id"])
            await anyio.sleep(dice.uniform(0, 0.8))  # the moment of the kill is what is random here
            server.kill()
            await server.wait()
    async with serve(home) as wire:
        statuses = await settled(wire, run_ids)
    complete = {run_id for run_id, status in statuses.items() if status == "PARTIAL_FAILED"}
    assert set(statuses.values()) <= {"PARTIAL_FAILED", "CRASHED"}
    assert complete, "the last server has ended some"
    assert of_runs(database, "bad") == dict.fromkeys(complete, BAD)
    assert of_runs(database, "good") == dict.fromkeys(complete, 20 - BAD)
    claims = {run_id for (run_id,) in database.execute("SELECT run_id FROM _lume_loads")}
    assert claims == complete | {f"{run_id}/rejects" for run_id in complete}
