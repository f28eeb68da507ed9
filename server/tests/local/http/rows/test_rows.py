"""The rows of runs over the wire: every row once, whatever the page size, and clear words where there are none."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local.flows import slow_rows
from local.wire import Wire

GOLDEN = Path(__file__).parents[5] / "tests/contract"
MIXED = 'id,Email,Age\n1,Ann@Example.org ,31\nx,y,6\n3,"c,\n""d",200\n4\n5,eve@example.org,\n'


async def pages(wire: Wire, run_id: str, part: str, limit: int, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages."""
    found, cursor = [], None
    while True:
        text = urlencode({"limit": limit, **query, **({"cursor": cursor} if cursor else {})})
        answer = await wire.ask("GET", f"/v1/runs/{run_id}/{part}?{text}")
        assert answer.status == 200, answer.document
        found.append(answer.document["items"])
        assert len(found[-1]) <= limit
        cursor = answer.document["next_cursor"]
        if cursor is None:
            return found


async def rows(wire: Wire, run_id: str, part: str, limit: int = 100, **query: Any) -> list[dict[str, Any]]:
    return [row for page in await pages(wire, run_id, part, limit, **query) for row in page]


async def mixed(wire: Wire, home: Path) -> dict[str, Any]:
    (home / "mixed.csv").write_text(MIXED)
    return await wire.run("people:v1", "mixed.csv")


async def test_the_pages_are_those_of_the_golden_files(wire: Wire, home: Path) -> None:
    run = await mixed(wire, home)
    for part in ("mapped", "rejects"):
        answer = await wire.ask("GET", f"/v1/runs/{run['id']}/{part}")
        assert answer.document == json.loads((GOLDEN / f"{part}_page.json").read_text()), part


async def test_every_row_comes_once_in_the_order_of_the_source(wire: Wire, home: Path) -> None:
    run = await mixed(wire, home)
    for limit in (1, 2, 3, 100):
        assert [row["id"] for row in await rows(wire, run["id"], "mapped", limit)] == [1, 5], limit
        rejected = await rows(wire, run["id"], "rejects", limit)
        assert [(row["_lume_row"], row["_lume_line"]) for row in rejected] == [
            (2, 3),
            (3, 4),
            (None, 6),
        ]
        assert rejected[1]["Email"] == 'c,\n"d'


async def test_rejects_of_one_reason(wire: Wire, home: Path) -> None:
    run = await mixed(wire, home)
    for reason, count in run["metadata"]["metrics"]["reject_reasons"].items():
        for limit in (1, 100):
            found = await rows(wire, run["id"], "rejects", limit, reason=reason)
            assert len(found) == count
            assert all(reason in row["_lume_reasons"] for row in found)
    assert await rows(wire, run["id"], "rejects", reason="is not a reason") == []


async def test_a_run_that_rejected_nothing_has_no_rejects(wire: Wire) -> None:
    run = await wire.run("people:v1", "people.csv")
    assert await rows(wire, run["id"], "rejects") == []
    assert len(await rows(wire, run["id"], "mapped")) == 3


async def test_a_run_without_output_says_so(wire: Wire, home: Path) -> None:
    run = await wire.run("people:v1", "absent.csv")
    answer = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")
    assert (answer.status, answer.kind) == (404, "no-output")
    (home / "slow.csv").write_text(slow_rows())
    slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    answer = await wire.ask("GET", f"/v1/runs/{slow}/rejects")
    assert (answer.status, answer.kind, answer.document["run_id"]) == (409, "run-not-ended", slow)
    await wire.ask("POST", f"/v1/runs/{slow}/cancel")
    answer = await wire.ask("GET", "/v1/runs/run_1/rejects")
    assert (answer.status, answer.kind) == (404, "run-not-found")


async def test_an_output_that_is_not_what_the_run_wrote_is_not_read(wire: Wire, home: Path) -> None:
    run = await mixed(wire, home)
    url = f"/v1/runs/{run['id']}/rejects"
    path = Path(run["metadata"]["target_locations"]["rejects"])
    first = (await wire.ask("GET", f"{url}?limit=1")).document
    written = path.read_bytes()
    path.write_bytes(written.replace(b"200", b"100"))
    os.utime(path, ns=(1, 1))
    for query in ("?limit=1", f"?limit=1&cursor={first['next_cursor']}"):
        answer = await wire.ask("GET", url + query)
        assert (answer.status, answer.kind) == (409, "output-changed")
        assert answer.document["location"] == str(path)
    path.unlink()
    answer = await wire.ask("GET", url)
    assert (answer.status, answer.kind) == (410, "output-gone")


async def test_rows_of_a_run_whose_output_was_replaced_by_a_later_run(wire: Wire, home: Path) -> None:
    definition = {
        "flow": "fixed",
        "version": "v1",
        "target": {"mapped": "{data}/out/latest.parquet", "rejects": "{data}/out/latest.csv"},
        "columns": {"id": {"type": "integer", "required": True}},
    }
    await wire.ask("PUT", "/v1/flows/fixed/versions/v1", json=definition)
    found = []
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text(f"id\n1\n{name}\n")
        found.append(await wire.run("fixed:v1", f"{name}.csv"))
    answer = await wire.ask("GET", f"/v1/runs/{found[0]['id']}/rejects")
    assert (answer.status, answer.kind) == (409, "output-changed")
    assert [row["id"] for row in await rows(wire, found[1]["id"], "rejects")] == ["b"]


async def test_cursors_belong_to_their_request(wire: Wire, home: Path) -> None:
    run = await mixed(wire, home)
    other = await wire.run("people:v1", "mixed.csv", force_rerun=True)
    first = (await wire.ask("GET", f"/v1/runs/{run['id']}/rejects?limit=1")).document["next_cursor"]
    refused = [
        f"/v1/runs/{other['id']}/rejects?cursor={first}",
        f"/v1/runs/{run['id']}/mapped?cursor={first}",
        f"/v1/runs/{run['id']}/rejects?reason=x&cursor={first}",
        f"/v1/runs/{run['id']}/rejects?cursor=nonsense",
    ]
    for path in refused:
        answer = await wire.ask("GET", path)
        assert (answer.status, answer.kind) == (400, "invalid-cursor")
    owner, row, _, size, time = first.split("-")
    for position in ("9" * 90, "99999999"):
        answer = await wire.ask(
            "GET", f"/v1/runs/{run['id']}/rejects?cursor={owner}-{row}-{position}-{size}-{time}"
        )
        assert answer.status in (400, 409), answer.document


async def test_queries_that_make_no_sense_are_refused(wire: Wire) -> None:
    run = await wire.run("people:v1", "people.csv")
    for query in ("limit=0", "limit=1001", "offset=3", "limit=1&limit=2"):
        answer = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped?{query}")
        assert (answer.status, answer.kind) == (400, "invalid-query"), query


async def test_ndjson_outputs_and_a_head_request(wire: Wire, home: Path) -> None:
    lines = '{"text":"good","stars":5}\n{"text":"x","more":{"deep":[1.50,12345678901234567890]}}\n[1]\n'
    (home / "notes.ndjson").write_text(lines)
    run = await wire.run("notes:v1", "notes.ndjson")
    assert await rows(wire, run["id"], "mapped", 1) == [{"text": "good", "stars": 5}]
    rejected = await rows(wire, run["id"], "rejects", 1)
    assert rejected[0]["more"] == {"deep": [1.5, 12345678901234567890]}
    assert (rejected[1]["_lume_line"], rejected[1]["_lume_raw"]) == (3, "[1]")
    assert (await wire.ask("HEAD", f"/v1/runs/{run['id']}/mapped")).status == 200
