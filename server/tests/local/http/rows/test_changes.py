"""`GET /v1/changes?include=run`: each change with which a run ends carries the run."""

from pathlib import Path
from typing import Any

import pytest
from local.routes import needed
from local.wire import Wire

from lume_local._http import run_operations


async def start_of(wire: Wire) -> str:
    answer = await wire.ask("GET", "/v1/changes?include=run")
    assert answer.document["items"] == []
    cursor: str = answer.document["next_cursor"]
    return cursor


async def changes(wire: Wire, after: str, **query: Any) -> tuple[list[dict[str, Any]], str]:
    answer = await wire.ask("GET", "/v1/changes", params={"after": after, **query})
    assert answer.status == 200, answer.document
    return answer.document["items"], answer.document["next_cursor"]


async def four_ends(wire: Wire, home: Path) -> list[dict[str, Any]]:
    """Runs in four statuses, one with the rejects of another."""
    (home / "mixed.csv").write_text("id,Email,Age\n9,a@b.org,5\nx,y,6\n")
    partial = await wire.run("people:v1", "mixed.csv", run_metadata={"ticket": "A-1"})
    return [
        partial,
        await wire.run("people:v1", "people.csv", run_metadata={"resubmit_of": partial["id"]}),
        await wire.run("people:v1", "absent.csv"),
    ]


@pytest.mark.usefixtures("each_state")
async def test_the_runs_are_as_they_are_alone(wire: Wire, home: Path) -> None:
    after = await start_of(wire)
    runs = await four_ends(wire, home)
    statuses = ["PARTIAL_FAILED", "SUCCEEDED", "FAILED"]
    assert [run["status"] for run in runs] == statuses
    plain, end = await changes(wire, after)

    items, following = await changes(wire, after, include="run")

    assert following == end
    assert [{key: item[key] for key in ("id", "status", "finished_at")} for item in items] == plain
    assert [item["status"] for item in items if "run" in item] == statuses
    for item in items:
        if "run" in item:
            assert item["run"] == (await wire.ask("GET", f"/v1/runs/{item['id']}")).document
    assert "mended_by" in items[[item["status"] for item in items].index("PARTIAL_FAILED")]["run"]["metadata"]


@pytest.mark.parametrize("most", [0, 10**6])
async def test_a_page_is_not_too_large_and_no_change_is_lost(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(run_operations, "MOST_RECORDS", most)
    after = await start_of(wire)
    await four_ends(wire, home)
    wanted, _ = await changes(wire, after, include="run", limit=5000)
    everything, _ = await changes(wire, after)
    assert (len(wanted) < len(everything)) is (most < 10**6)

    found = []
    while True:
        items, after = await changes(wire, after, include="run")
        if not items:
            break
        found += items
        assert most or sum("run" in item for item in items) == 1

    assert [(item["id"], item["status"]) for item in found] == [
        (one["id"], one["status"]) for one in everything
    ]


async def test_what_else_may_be_included(wire: Wire) -> None:
    for value in ("", "runs", "run,run", "RUN"):
        answer = await wire.ask("GET", "/v1/changes", params={"include": value})
        assert (answer.status, answer.kind, answer.document["field"]) == (400, "invalid-query", "include")


def test_a_key_that_gets_the_runs_may_also_get_each() -> None:
    assert needed("GET", "/v1/changes") >= needed("GET", "/v1/runs/{run_id}")
