"""`GET /metrics`, and the lines of the log: runs, rows, queue, workers and requests, under bounded labels."""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.flows import PEOPLE_CSV, people, slow_rows
from local.wire import Wire

import lume_local
from lume_local._http import telemetry as of_runs
from lume_local._runs.deliveries import outbox

parser = package("prometheus_client.parser")


async def scraped(wire: Wire, **headers: str) -> dict[tuple[str, ...], float]:
    """The samples by their name and the values of their labels, in the order of the labels' names."""
    async with wire.session.get("/metrics", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        text = await response.text()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_runs_and_rows(wire: Wire, home: Path) -> None:
    (home / "mixed.csv").write_text(PEOPLE_CSV + "x,y,z\n")
    await wire.run("people:v1", "people.csv")
    await wire.run("people:v1", "mixed.csv")
    await wire.run("people:v1", "absent.csv")
    found = await scraped(wire)
    for status in ("SUCCEEDED", "PARTIAL_FAILED", "FAILED"):
        assert found["lume_runs_total", "people:v1", status] == 1
    assert found["lume_run_duration_seconds_count", "people:v1", "SUCCEEDED"] == 1
    assert found["lume_run_duration_seconds_sum", "people:v1", "SUCCEEDED"] > 0
    rows = {name: found["lume_rows_total", "people:v1", name] for name in ("read", "mapped", "rejected")}
    assert rows == {"read": 7, "mapped": 6, "rejected": 1}
    assert found["lume_healthy",] == 1
    assert not found["lume_backup_age_seconds",] > 60  # NaN before the first copy
    assert found["process_open_fds",] > 0


async def test_the_queue_and_its_workers(home: Path) -> None:
    async with lume_local.serve(home / "flows", home / ".lume", [home], max_active=1) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            for name in ("a", "b", "c"):
                (home / f"{name}.csv").write_text(slow_rows())
            ids = [(await wire.submit("slow:v1", f"{name}.csv")).document["id"] for name in ("a", "b", "c")]
            await wire.until(ids[0], "TRANSFORMING")
            found = await scraped(wire)
            for run_id in ids:
                await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
    assert (found["lume_runs_active",], found["lume_runs_waiting",], found["lume_workers",]) == (1, 2, 1)
    assert found["lume_deliveries_pending",] == 0
    for kind in ("webhook", "message", "lineage"):
        assert found["lume_deliveries_given_up_total", kind] == 0


async def test_deliveries_that_were_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_ATTEMPTS", 2)
    monkeypatch.setattr(outbox, "UNIT", 0.001)
    webhooks: dict[str, Any] = {
        "webhook_secret": "whisper",
        "webhook_hosts": ["127.0.0.1:9"],
    }  # nobody is there
    async with lume_local.serve(home / "flows", home / ".lume", [home], max_active=1, **webhooks) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session, asyncio.timeout(20):
            await wire.submit("people:v1", "people.csv", webhook_url="http://127.0.0.1:9/hook")
            found = await scraped(wire)
            # A scrape counts the pending ones first, and the last of them may end before it reads the other figure.
            while not found["lume_deliveries_given_up_total", "webhook"] or found["lume_deliveries_pending",]:
                await asyncio.sleep(0.01)
                found = await scraped(wire)
    assert found["lume_deliveries_given_up_total", "webhook"] == 1
    assert found["lume_deliveries_given_up_total", "message"] == 0


async def test_requests_by_route(wire: Wire) -> None:
    for number in range(3):
        await wire.ask("GET", f"/v1/runs/run_{number}")
        await wire.ask("GET", f"/nowhere/{number}")
    await wire.ask("DELETE", "/v1/runs")
    await wire.ask("GET", "/v1/runs", headers={"lume-api-key": "wrong"})
    found = await scraped(wire)
    assert found["lume_http_requests_total", "GET", "/v1/runs/{run_id}", "404"] == 3
    assert found["lume_http_requests_total", "GET", "other", "404"] == 3
    assert found["lume_http_requests_total", "DELETE", "other", "405"] == 1
    assert found["lume_http_requests_total", "GET", "other", "401"] == 1
    assert found["lume_http_request_duration_seconds_count", "GET", "/v1/runs/{run_id}"] == 3
    for method in ("PATCH", "PROPFIND"):
        async with wire.session.request(method, "/v1/runs") as response:
            assert response.status == 405
    found = await scraped(wire)
    assert found["lume_http_requests_total", "PATCH", "other", "405"] == 1
    assert found["lume_http_requests_total", "other", "other", "405"] == 1


async def test_flows_beyond_a_number_are_counted_together(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_runs, "MOST_FLOWS", 1)
    await wire.run("people:v1", "people.csv")
    for version in ("v2", "v3"):
        await wire.ask("PUT", f"/v1/flows/people/versions/{version}", json=people(version=version))
        await wire.run(f"people:{version}", "people.csv")
    found = await scraped(wire)
    assert found["lume_runs_total", "people:v1", "SUCCEEDED"] == 1
    assert found["lume_runs_total", "other", "SUCCEEDED"] == 2


async def test_the_key_as_prometheus_sends_it(server: lume_local.Server) -> None:
    for headers, status in (
        ({"Authorization": f"Bearer {server.api_key}"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({}, 401),
    ):
        wire = Wire(server.base_url, "")
        del wire.session.headers["lume-api-key"]
        async with wire.session, wire.session.get("/metrics", headers=headers) as response:
            assert response.status == status
    wire = Wire(server.base_url, "")
    del wire.session.headers["lume-api-key"]
    async with wire.session:
        bearer = {"Authorization": f"Bearer {server.api_key}"}
        assert (await wire.ask("GET", "/v1/runs", headers=bearer)).status == 401


async def test_without_the_extra(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_runs, "find_spec", lambda _: None)
    async with lume_local.serve(None, home / ".lume", [home]) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            answer = await wire.ask("GET", "/metrics")
    assert (answer.status, answer.kind) == (404, "not-found")
    assert "pip install 'lume-local[metrics]'" in answer.document["detail"]


async def test_lines_of_the_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lume_local")
    run = await wire.run("people:v1", "people.csv")
    answer = await wire.ask("GET", "/v1/runs/run_0")
    (ended,) = [record for record in caplog.records if record.name == "lume_local.runs"]
    assert ended.getMessage() == f"run {run['id']} of people:v1 is SUCCEEDED"
    assert (ended.lume_run_id, ended.lume_rows_read) == (run["id"], 3)  # type: ignore[attr-defined]
    asked = [record for record in caplog.records if record.name == "lume_local.http"][-1]
    assert re.fullmatch(r"GET /v1/runs/\{run_id\}: 404 after \d\.\d{3} s", asked.getMessage())
    assert asked.lume_request_id == answer.headers["X-Request-Id"]  # type: ignore[attr-defined]
    assert asked.lume_key == "server"  # type: ignore[attr-defined]
