"""`dry_run` in `POST /v1/runs`: how the run would have ended, and nothing of it anywhere."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from local.flows import slow_rows
from local.servers import serve
from local.wire import Answer, Wire

MIXED = "id,Email,Age\n1,Ann@Example.org ,31\nx,y,6\n3,c@example.org,200\n4\n5,eve@example.org,\n"


async def dry(
    wire: Wire, source: str, flow: str = "people:v1", key: str | None = None, **fields: Any
) -> Answer:
    return await wire.submit(flow, source, key=key, dry_run=True, **fields)


def everything(home: Path) -> set[str]:
    """All files that a run could leave, and no state of the server."""
    return {str(path) for path in home.rglob("*") if path.is_file() and "runs.sqlite" not in path.name}


async def test_it_tells_all_and_leaves_nothing(wire: Wire, home: Path) -> None:
    (home / "mixed.csv").write_text(MIXED)
    cursor = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
    before = everything(home)
    answer = await dry(wire, "mixed.csv", run_metadata={"ticket": "A-1"})
    assert answer.status == 200
    assert "Location" not in answer.headers
    run = answer.document
    assert (run["status"], run["dry_run"], run["run_metadata"]) == ("PARTIAL_FAILED", True, {"ticket": "A-1"})
    assert [row["id"] for row in run["rows"]["mapped"]] == [1, 5]
    assert [(row["_lume_row"], row["_lume_line"]) for row in run["rows"]["rejects"]] == [
        (2, 3),
        (3, 4),
        (None, 5),
    ]
    assert run["metadata"]["target_locations"] == {"mapped": None, "rejects": None}
    assert [stage["name"] for stage in run["metadata"]["stages"]][-1] == "SYNCING_TARGET"
    assert everything(home) == before
    changes = (await wire.ask("GET", "/v1/changes", params={"after": cursor})).document
    assert changes["items"] == []
    assert (await wire.ask("GET", "/v1/runs")).document["items"] == []
    assert (await wire.ask("GET", f"/v1/runs/{run['id']}")).status == 404

    real = await wire.run("people:v1", "mixed.csv")
    same = ("rows_read", "rows_mapped", "rows_rejected", "reject_reasons", "source")
    for name in same:
        assert real["metadata"]["metrics"][name] == run["metadata"]["metrics"][name]
    assert real["status"] == run["status"]


async def test_it_takes_no_key_and_no_claim(wire: Wire) -> None:
    assert (await dry(wire, "people.csv", key="k-1")).document["status"] == "SUCCEEDED"
    first = await wire.submit("people:v1", "people.csv", key="k-1")
    assert first.status == 201
    await wire.until(first.document["id"])
    # What was processed may be tried again, under a key that is known, too.
    assert (await dry(wire, "people.csv", key="k-1")).document["dry_run"] is True
    assert (await wire.submit("people:v1", "people.csv", key="k-1")).document["id"] == first.document["id"]


async def test_the_limit_is_of_the_rows_in_the_answer(wire: Wire) -> None:
    for limit, count in ((0, 0), (1, 1), (2, 2), (1000, 3)):
        run = (await dry(wire, "people.csv", limit=limit)).document
        assert len(run["rows"]["mapped"]) == count, (limit, count)
        assert run["metadata"]["metrics"]["rows_mapped"] == 3


async def test_all_else_is_checked_as_ever(wire: Wire) -> None:
    assert (await dry(wire, "people.csv", flow="people:v9")).status == 404
    assert (await dry(wire, "/etc/passwd")).kind == "source-not-allowed"
    assert (await dry(wire, "people.csv", webhook_url="http://127.0.0.1:1/")).status == 422


async def test_a_run_that_would_fail_says_why(wire: Wire, home: Path) -> None:
    run = (await dry(wire, "absent.csv")).document
    assert (run["status"], run["rows"]) == ("FAILED", {"mapped": [], "rejects": []})
    assert "there is no file" in run["metadata"]["error_message"]
    (home / "bad.csv").write_text("id,Email,Age\nx,y,z\n")
    run = (await dry(wire, "bad.csv")).document
    assert run["status"] == "FAILED"
    assert "the only row was rejected" in run["metadata"]["error_message"]
    assert run["rows"]["rejects"][0]["Email"] == "y"


async def test_a_worker_that_dies_is_a_crash(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home) as wire:
        trying = asyncio.create_task(dry(wire, "slow.csv", flow="slow:v1"))
        while not list((home / ".lume/state/runs").glob("dry_*/lock")):
            await asyncio.sleep(0.01)
        (lock,) = (home / ".lume/state/runs").glob("dry_*/lock")
        pid = json.loads(lock.read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        run = (await trying).document
        assert (await dry(wire, "people.csv")).document["status"] == "SUCCEEDED"
    assert run["status"] == "CRASHED"
    assert "SIGKILL" in run["metadata"]["error_message"]
    assert not list((home / ".lume/state/runs").glob("dry_*"))


async def test_one_that_takes_too_long_is_ended(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home, run_timeout=1.0) as wire:
        run = (await dry(wire, "slow.csv", flow="slow:v1")).document
        assert run["status"] == "FAILED"
        assert "took longer than its time limit of 1 s" in run["metadata"]["error_message"]
    assert not list((home / ".lume/state/runs").glob("dry_*"))
