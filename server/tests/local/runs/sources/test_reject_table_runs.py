"""Runs of a server whose rejects go to a table, too: what else works as before, and what kills leave."""

import tomllib
from pathlib import Path

import pytest
from local.loads.table_run import Database
from local.servers import serve

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
