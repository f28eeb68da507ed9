"""OpenLineage events of runs, read with the classes of OpenLineage's own client and by nothing of ours."""

import json
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cattrs import Converter
from components import package
from local.flows import PEOPLE_CSV, slow_rows
from local.receiver import Received, Receiver
from local.servers import serve

from lume_async.models import RunStatus
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun

package("openlineage.client")
from openlineage.client import event_v2, facet_v2  # noqa: E402

QUERY = """
flow = "q"
version = "v1"
[source]
format = "sql"
url_env = "LINEAGE_DB"
query = "SELECT :source_path AS id"
[target]
mapped = "{data}/q/{run_id}.csv"
rejects = "{data}/q/{run_id}.rejects.csv"
[columns.id]
"""
FACETS = {
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "inputStatistics": facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "dataQualityAssertions": facet_v2.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
}


class Backend:
    """What Marquez is: it takes events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.keys: list[str | None] = []


@pytest.fixture
async def marquez() -> AsyncIterator[tuple[Backend, Receiver]]:
    backend = Backend()

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        backend.keys.append(request.headers.get("Authorization"))
        backend.events.append(json.loads(body))
        async with here.came:
            here.received.append(Received(dict(request.headers), body, 201))
            here.came.notify_all()
        return web.Response(status=201)

    app = web.Application()
    app.router.add_post("/api/v1/lineage", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    here = Receiver(f"http://{host}/api/v1/lineage", host)
    yield backend, here
    await runner.cleanup()


def read(event: dict[str, Any]) -> event_v2.RunEvent:
    """The event as OpenLineage's client has it. What it does not know, or misses, is an error."""
    assert event.pop("schemaURL") == event_v2.RunEvent._get_schema()
    for holder, name in (
        (event["run"], "facets"),
        (event["job"], "facets"),
        *((one, "inputFacets") for one in event["inputs"]),
        *((one, "outputFacets") for one in event["outputs"]),
    ):
        for facet, members in holder[name].items():
            schema, producer = members.pop("_schemaURL"), members.pop("_producer")
            made = Converter(forbid_extra_keys=True).structure(members, FACETS[facet])
            assert (schema, producer) == (FACETS[facet]._get_schema(), event["producer"])
            holder[name][facet] = made
    event_v2.RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(**event["run"]),
        job=event_v2.Job(**event["job"]),
        eventType=event_v2.RunState(event["eventType"]),
        inputs=[event_v2.InputDataset(**one) for one in event["inputs"]],
        outputs=[event_v2.OutputDataset(**one) for one in event["outputs"]],
    )
    return event_v2.RunEvent(**event)


async def test_a_run_with_rejected_rows(home: Path, marquez: tuple[Backend, Receiver]) -> None:
    backend, here = marquez
    (home / "mixed.csv").write_text(PEOPLE_CSV + "x,dan@example.org,5\n4,nobody,6\n")
    async with serve(home, lineage_url=here.url, lineage_namespace="sales") as wire:
        run = await wire.run("people:v1", "mixed.csv")
        await here.until(2)
        listed = await wire.ask("GET", f"/v1/runs/{run['id']}/deliveries")
    assert listed.document["items"] == []  # those are the run's webhooks
    start, end = (read(event) for event in sorted(backend.events, key=lambda event: event["eventTime"]))
    assert [start.eventType, end.eventType] == ["START", "COMPLETE"]
    assert start.run["runId"] == end.run["runId"] == str(uuid.UUID(run["id"].removeprefix("run_")))
    assert (end.job["namespace"], end.job["name"]) == ("sales", "people:v1")
    assert (start.eventTime, end.eventTime) == (run["started_at"], run["finished_at"])
    (source,) = end.inputs
    assert (source["namespace"], source["name"]) == ("file", str(home / "mixed.csv"))
    statistics = source["inputFacets"]["inputStatistics"]
    assert (statistics.rowCount, statistics.size) == (5, (home / "mixed.csv").stat().st_size)
    reasons = run["metadata"]["metrics"]["reject_reasons"]
    found = source["inputFacets"]["dataQualityAssertions"].assertions
    assert {one.assertion: int(one.actual) for one in found} == reasons
    assert len(reasons) == 2
    assert {one.success for one in found} == {False}
    places = run["metadata"]["target_locations"]
    rows = {one["name"]: one["outputFacets"]["outputStatistics"].rowCount for one in end.outputs}
    assert rows == {places["mapped"]: 3, places["rejects"]: 2}
    assert backend.keys == [None, None]


@pytest.mark.parametrize(
    ("place", "namespace", "name"),
    [
        ("/data/a.csv", "file", "/data/a.csv"),
        ("s3://bucket/in/a.csv", "s3://bucket", "in/a.csv"),
        ("2026-01", "lume", "people:v1/2026-01"),
        ("http://[", "lume", "people:v1/http://["),
        ("a://b:99999999/c", "lume", "people:v1/a://b:99999999/c"),
        ("s3://bucket:x/a.csv", "lume", "people:v1/s3://bucket:x/a.csv"),
        ("gs://bucket/a?b#c.csv", "gs://bucket", "a?b#c.csv"),
    ],
)
async def test_datasets(store: SqliteStore, place: str, namespace: str, name: str) -> None:
    run, _ = await store.create(
        NewRun("people:v1", "x", f"{place}\n/data/b.csv#{'0' * 64}", None, False, None, "")
    )
    lineage = LineageEvents.of("http://m", "lume", None)
    assert lineage is not None
    event = json.loads(lineage.event(run, run.created_at))
    assert event["inputs"] == [
        {"namespace": namespace, "name": name, "inputFacets": {}},
        {"namespace": "file", "name": "/data/b.csv", "inputFacets": {}},
    ]


async def test_outputs(store: SqliteStore) -> None:
    run, _ = await store.create(NewRun("people:v1", "x", "/x", None, False, None, ""))
    lineage = LineageEvents.of("http://m", "lume", None)
    assert lineage is not None
    places = {"mapped": "postgresql://db:5432/sales?table=orders", "rejects": "s3://bucket/in/r?#.csv"}
    metrics = {"rows_read": 1, "rows_mapped": 1, "rows_rejected": 0}
    for mapped, namespace, name in (
        (places["mapped"], "postgresql://db:5432", "sales"),
        ("sqlite:////srv/a.db?table=t", "sqlite", "srv/a.db"),
        ("delta+s3://lake/customers", "s3://lake", "customers"),
        ("delta+file:///srv/my%20lake/t", "file", "/srv/my lake/t"),
        ("/out/m.csv", "file", "/out/m.csv"),
    ):
        ended = lineage.event(run, "", RunStatus.SUCCEEDED, metrics, places | {"mapped": mapped})
        outputs = [(one["namespace"], one["name"]) for one in json.loads(ended)["outputs"]]
        assert outputs == [(namespace, name), ("s3://bucket", "in/r?#.csv")]


async def test_what_a_query_is_given_may_be_any_text(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(home / "a.db")) as db:
        db.execute("VACUUM")
    monkeypatch.setenv("LINEAGE_DB", f"sqlite:///{home}/a.db")
    (home / "flows/q.v1.toml").write_text(QUERY)
    async with serve(home, lineage_url="http://127.0.0.1:1/") as wire:
        for text in ("http://[", "a://b:99999999/c", "s3://", "://"):
            assert (await wire.run("q:v1", text))["status"] == "SUCCEEDED"


async def test_a_run_ends_as_it_does_without_an_event(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LineageEvents, "event", lambda *given: 1 / 0)
    async with serve(home, lineage_url="http://127.0.0.1:1/") as wire:
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
    assert len([line for line in caplog.messages if "the lineage event could not be created" in line]) == 2


async def test_runs_that_fail_or_are_cancelled(home: Path, marquez: tuple[Backend, Receiver]) -> None:
    backend, here = marquez
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home, lineage_url=here.url, lineage_key="whisper") as wire:
        failed = await wire.run("people:v1", "absent.csv")
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(slow, "TRANSFORMING")
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        await wire.until(slow)
        await here.until(4)
    ends = {event["eventType"]: read(event) for event in backend.events if event["eventType"] != "START"}
    assert set(ends) == {"FAIL", "ABORT"}
    assert ends["FAIL"].run["facets"]["errorMessage"].message == failed["metadata"]["error_message"]
    assert ends["FAIL"].outputs == ends["ABORT"].outputs == []
    assert set(backend.keys) == {"Bearer whisper"}


@pytest.mark.thorough
async def test_events_of_an_earlier_server_wait_for_one_with_an_address(
    home: Path, marquez: tuple[Backend, Receiver]
) -> None:
    backend, here = marquez
    async with serve(home, lineage_url="http://127.0.0.1:1/") as wire:
        await wire.run("people:v1", "people.csv")
    async with serve(home) as wire:
        await wire.ask("GET", "/healthz")
    assert backend.events == []
    async with serve(home, lineage_url=here.url):
        await here.until(2)
    assert sorted(event["eventType"] for event in backend.events) == ["COMPLETE", "START"]
