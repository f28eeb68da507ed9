"""Statistics, filters of the list, deliveries and outputs, as the contract has them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE, slow_rows
from local.receiver import SECRET, receiver
from local.servers import serve
from local.wire import Wire

MIXED = "id,Email,Age\n1,a@b.org,5\nx,y,6\n"


@pytest.fixture
async def two(wire: Wire, home: Path) -> list[dict[str, Any]]:
    """A run that rejected half of its rows, and one that rejected none."""
    (home / "mixed.csv").write_text(MIXED)
    return [await wire.run("people:v1", name) for name in ("mixed.csv", "people.csv")]


async def listed(wire: Wire, **query: str) -> list[str]:
    answer = await wire.ask("GET", "/v1/runs", params=query)
    assert answer.status == 200, answer.document
    return [run["source_path"] for run in answer.document["items"]]


@pytest.mark.usefixtures("each_state")
@pytest.mark.usefixtures("two")
async def test_the_list_is_narrowed(wire: Wire) -> None:
    both = ["people.csv", "mixed.csv"]
    assert await listed(wire, flow="people") == both
    assert await listed(wire, flow="peopl") == []
    assert await listed(wire, source="eople") == ["people.csv"]
    assert await listed(wire, source="%") == []
    assert await listed(wire, since="2026-01-02T00:00:00+01:00") == both
    assert await listed(wire, since="2999-01-02T00:00:00Z") == []
    assert await listed(wire, attention="0.4") == ["mixed.csv"]
    assert await listed(wire, attention="0.5") == []
    assert await listed(wire, attention="0", source="eople") == []


async def test_what_makes_no_sense_is_refused(wire: Wire) -> None:
    for path, field in (
        ("/v1/runs?since=yesterday", "since"),
        ("/v1/runs?since=2026-01-02T03:04:05", "since"),
        ("/v1/runs?since=0001-01-01T00:00:00%2B14:00", "since"),
        ("/v1/runs?attention=2", "attention"),
        ("/v1/runs?attention=-1", "attention"),
        ("/v1/statistics?by=colour", "by"),
        ("/v1/statistics?by=hour,hour", "by"),
        ("/v1/statistics?order=best", "order"),
        ("/v1/statistics?limit=0", "limit"),
    ):
        answer = await wire.ask("GET", path)
        assert (answer.status, answer.document["field"]) == (400, field), path


@pytest.mark.usefixtures("each_state")
@pytest.mark.usefixtures("two")
async def test_statistics(wire: Wire) -> None:
    by_status = (await wire.ask("GET", "/v1/statistics")).document["items"]
    assert by_status == [
        {"status": "PARTIAL_FAILED", "runs": 1, "rows_read": 2, "rows_rejected": 1},
        {"status": "SUCCEEDED", "runs": 1, "rows_read": 3, "rows_rejected": 0},
    ]
    worst = await wire.ask("GET", "/v1/statistics?by=day,flow_version&by=status&order=rejected&limit=1")
    (item,) = worst.document["items"]
    assert (item["flow_version"], item["status"]) == ("people:v1", "PARTIAL_FAILED")
    assert item["day"].endswith("T00:00:00Z")
    assert (await wire.ask("GET", "/v1/statistics?flow=other")).document == {"items": []}
    assert (await wire.ask("GET", "/v1/statistics?since=2999-01-01T00:00:00Z")).document == {"items": []}


async def test_outputs_are_downloaded_as_they_are(wire: Wire, two: list[dict[str, Any]]) -> None:
    mixed = two[0]
    for output in ("mapped", "rejects"):
        path = f"/v1/runs/{mixed['id']}/outputs/{output}"
        content = Path(mixed["metadata"]["target_locations"][output]).read_bytes()
        async with wire.session.get(path) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert response.content_disposition is not None
            assert str(response.content_disposition.filename).startswith(f"{mixed['id']}-{output}.")
            assert await response.read() == content
        async with wire.session.head(path) as response:
            assert response.headers["Content-Length"] == str(len(content))


async def test_an_output_that_is_not_there(wire: Wire, two: list[dict[str, Any]]) -> None:
    mixed, good = two
    places = mixed["metadata"]["target_locations"]
    Path(places["mapped"]).unlink()
    Path(places["rejects"]).write_text("what another program has put here")
    for path, kind in (
        (f"/v1/runs/{mixed['id']}/outputs/mapped", "output-gone"),
        (f"/v1/runs/{mixed['id']}/outputs/rejects", "output-changed"),
        (f"/v1/runs/{mixed['id']}/outputs/other", "not-found"),
        (f"/v1/runs/{good['id']}/outputs/rejects", "no-output"),
        ("/v1/runs/none/outputs/mapped", "run-not-found"),
    ):
        assert (await wire.ask("GET", path)).kind == kind


async def test_a_link_out_of_the_roots_is_not_followed(wire: Wire, two: list[dict[str, Any]]) -> None:
    place = Path(two[0]["metadata"]["target_locations"]["rejects"])
    place.unlink()
    place.symlink_to("/etc/passwd")
    answer = await wire.ask("GET", f"/v1/runs/{two[0]['id']}/outputs/rejects")
    assert (answer.status, answer.kind) == (404, "not-found")


async def test_an_output_in_a_database_is_not_for_download(
    wire: Wire, home: Path, two: list[dict[str, Any]]
) -> None:
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", isolation_level=None)) as db:
        places = json.dumps({"mapped": "postgresql://there/people", "rejects": None})
        db.execute("UPDATE runs SET target_locations = ?", [places])
    answer = await wire.ask("GET", f"/v1/runs/{two[0]['id']}/outputs/mapped")
    assert (answer.status, answer.kind) == (422, "not-supported")


async def test_deliveries_do_not_show_what_is_secret_in_their_url(home: Path) -> None:
    (home / "flows" / "people.v1.toml").write_text(PEOPLE)
    async with (
        receiver(lambda event: None) as there,
        serve(home, webhook_secret=SECRET, webhook_hosts=[there.host]) as wire,
    ):
        run = await wire.run("people:v1", "people.csv", webhook_url=f"{there.url}?token=sesame")
        await there.until(1)
        path = f"/v1/runs/{run['id']}/deliveries"
        while not (answer := await wire.ask("GET", path)).document["items"][0]["delivered_at"]:
            pass
    (item,) = answer.document["items"]
    assert "sesame" not in json.dumps(answer.document)
    assert (item["state"], item["receiver"], item["attempts"]) == ("delivered", f"http://{there.host}", 1)
    golden = json.loads((Path(__file__).parents[5] / "tests/contract/deliveries_page.json").read_text())
    assert {name: type(value) for name, value in item.items()} == {
        name: type(value) for name, value in golden["items"][0].items()
    }


async def test_a_run_without_a_webhook_has_no_deliveries(wire: Wire, two: list[dict[str, Any]]) -> None:
    assert (await wire.ask("GET", f"/v1/runs/{two[0]['id']}/deliveries")).document == {"items": []}
    assert (await wire.ask("GET", "/v1/runs/none/deliveries")).status == 404


@pytest.mark.usefixtures("each_state")
async def test_a_run_and_its_mends_name_each_other(wire: Wire, home: Path, two: list[dict[str, Any]]) -> None:
    bad = two[0]
    for number, content in enumerate(["_lume_row,id,Email,Age\n", "_lume_row,id,Email,Age\n2,2,a@b.org,6\n"]):
        (home / f"mended{number}.csv").write_text(content)
        mend = await wire.run("people:v1", f"mended{number}.csv", run_metadata={"resubmit_of": bad["id"]})
        warnings = mend["metadata"]["metrics"]["warnings"]
        assert warnings == ({} if number else {"1 of 1 reject is not in this file": 1})
        assert mend["metadata"]["mends"] == bad["id"]
        assert await listed(wire, attention="0") == ([] if number else ["mixed.csv"])
    answer = await wire.get(bad["id"])
    assert answer.document["metadata"]["mended_by"][0] == mend["id"]
    assert answer.headers["ETag"] != (await wire.get(mend["id"])).headers["ETag"]


async def test_a_run_is_dismissed_with_a_reason(wire: Wire, home: Path, two: list[dict[str, Any]]) -> None:
    path = f"/v1/runs/{two[0]['id']}/dismiss"
    for body, field in (
        ({}, "why"),
        ({"why": " "}, "why"),
        ({"why": "x" * 501}, "why"),
        ({"why": "x", "n": 1}, "n"),
    ):
        answer = await wire.ask("POST", path, json=body)
        assert (answer.status, answer.document["field"]) == (422, field)
    tag = (await wire.get(two[0]["id"])).headers["ETag"]
    answer = await wire.ask("POST", path, json={"why": "a test of the supplier"})
    assert answer.status == 200
    assert answer.document["metadata"]["dismissed"]["why"] == "a test of the supplier"
    assert answer.headers["ETag"] != tag
    assert await listed(wire, attention="0") == []
    assert (await wire.ask("POST", "/v1/runs/run_none/dismiss", json={"why": "x"})).status == 404
    (home / "slow.csv").write_text(slow_rows())
    slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    answer = await wire.ask("POST", f"/v1/runs/{slow}/dismiss", json={"why": "x"})
    assert (answer.status, answer.kind) == (409, "run-not-ended")
    await wire.ask("POST", f"/v1/runs/{slow}/cancel")


async def test_a_source_without_rows_is_warned_about(wire: Wire, home: Path) -> None:
    (home / "empty.csv").write_text("id,Email,Age\n")
    run = await wire.run("people:v1", "empty.csv")
    assert (run["status"], run["metadata"]["metrics"]["warnings"]) == (
        "SUCCEEDED",
        {"the source has no rows": 1},
    )
