"""Dry runs, counts, deliveries and repeated runs against a scripted server."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lume_async import (
    DuplicateRunError,
    InvalidRequestError,
    LumeRun,
    NotSupportedError,
    ResponseDecodeError,
)
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

CONTRACT = Path(__file__).parents[1] / "contract"


def example(name: str) -> Any:
    return json.loads((CONTRACT / f"{name}.json").read_text())


async def test_a_dry_run() -> None:
    client, transport = fake_client([FakeAnswer(200, example("run_dry"))])

    dry = await client.dry_run("people:v1", "people.csv", {"team": "data"}, limit=3)

    assert (dry.status, dry.would_fail, dry.message) == ("PARTIAL_FAILED", False, None)
    assert dry.metrics.rows_read == dry.metrics.rows_mapped + dry.metrics.rows_rejected
    assert (len(dry.mapped), len(dry.rejects)) == (1, 1)
    request = transport.requests[0]
    assert request.json() == {
        "flow_version": "people:v1",
        "source_path": "people.csv",
        "force_rerun": False,
        "run_metadata": {"team": "data"},
        "dry_run": True,
        "limit": 3,
    }
    assert request.timeout >= 3600, "it lasts as long as the run would"


async def test_a_dry_run_that_would_fail_is_no_error_and_keeps_all_digits() -> None:
    raw = run_json("dry_1", "FAILED", dry_run=True, metadata={"error_message": "all rows were rejected"})
    body = json.dumps({**raw, "rows": {"mapped": [], "rejects": [{"n": 0}]}})
    client, _ = fake_client([FakeAnswer(200, body.replace('"n": 0', '"n": 12345678901234567.89').encode())])

    dry = await client.dry_run("people:v1", "people.csv")

    assert (dry.would_fail, dry.message) == (True, "all rows were rejected")
    assert dry.rejects == [{"n": Decimal("12345678901234567.89")}]


async def test_a_server_that_has_started_a_run_instead() -> None:
    client, transport = fake_client([FakeAnswer(503), FakeAnswer(201, run_json("run_9", "CREATED"))])

    with pytest.raises(NotSupportedError, match="it has started the run run_9 instead"):
        await client.dry_run("people:v1", "people.csv")

    keys = {request.headers["Idempotency-Key"] for request in transport.requests}
    assert (len(transport.requests), len(keys)) == (2, 1), "repeated attempts start one run at most"


@pytest.mark.parametrize("limit", [-1, 1001, True, "3"])
async def test_a_limit_of_a_dry_run(limit: Any) -> None:
    client, transport = fake_client([])
    with pytest.raises(ValueError, match="limit must be"):
        await client.dry_run("people:v1", "people.csv", limit=limit)
    assert not transport.requests


@pytest.mark.parametrize(
    "rows", [{"mapped": 5}, {"rejects": [3]}, []], ids=["a number", "no objects", "a list"]
)
async def test_a_dry_run_that_breaks_the_contract(rows: Any) -> None:
    client, _ = fake_client(lambda request: FakeAnswer(200, {**example("run_dry"), "rows": rows or [1]}))
    with pytest.raises(ResponseDecodeError, match=r"\$\.rows"):
        await client.dry_run("people:v1", "people.csv")


async def test_statistics() -> None:
    client, transport = fake_client([FakeAnswer(200, example("statistics"))])

    counts = await client.statistics(by=["hour", "status"], flow="people", limit=5)

    assert [(one.status, one.runs, one.rows_rejected) for one in counts] == [
        ("PARTIAL_FAILED", 1, 1),
        ("SUCCEEDED", 1, 0),
    ]
    assert (counts[0].hour is not None, counts[0].day, counts[0].flow_version) == (True, None, None)
    path = "/v1/statistics?by=hour&by=status&order=dimensions&limit=5&flow=people"
    assert transport.requests[0].path == path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "week"}, "by must name"),
        ({"by": []}, "by must name"),
        ({"by": ["day", "day"]}, "by must name"),
        ({"order": "worst"}, "order must be"),
        ({"limit": 0}, "limit must be"),
    ],
)
async def test_statistics_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    client, transport = fake_client([])
    with pytest.raises(ValueError, match=message):
        await client.statistics(**arguments)
    assert not transport.requests


@pytest.mark.parametrize("attention", [-0.1, 1.5, True, "0.5"])
async def test_a_share_that_makes_no_sense(attention: Any) -> None:
    client, transport = fake_client([])
    with pytest.raises((TypeError, ValueError), match="attention must be a"):
        client.list_runs(attention=attention)
    assert not transport.requests


@pytest.mark.parametrize(
    ("attention", "text"), [(0, "0"), (1, "1"), (0.05, "0.05"), (1e-7, "0.0000001"), (1e-12, "0.")]
)
async def test_how_a_share_is_written(attention: float, text: str) -> None:
    client, transport = fake_client([FakeAnswer(200, {"items": [], "next_cursor": None})])
    assert [run async for run in client.list_runs(attention=attention)] == []
    assert f"attention={text.rstrip('.')}&" in transport.requests[0].path


async def test_deliveries() -> None:
    client, transport = fake_client([FakeAnswer(200, example("deliveries_page"))])
    (delivery,) = await client.attach("run_1").deliveries()
    assert (delivery.state, delivery.attempts, delivery.error) == ("delivered", 1, None)
    assert delivery.receiver == "https://hooks.example.com"
    assert transport.requests[0].path == "/v1/runs/run_1/deliveries"


async def test_a_run_is_submitted_again_as_it_was() -> None:
    old = run_json("run_1", "FAILED", run_metadata={"team": "data"}, source_path="a.csv")
    client, transport = fake_client([FakeAnswer(200, old), FakeAnswer(201, run_json("run_2", "CREATED"))])

    new = await client.attach("run_1").rerun()

    assert (type(new), new.id, new.status) == (LumeRun, "run_2", "CREATED")
    assert new.idempotency_key
    assert transport.requests[1].json() == {
        "flow_version": "customer_cleaner:v1",
        "source_path": "a.csv",
        "force_rerun": False,
        "run_metadata": {"team": "data"},
    }


async def test_a_source_that_was_processed_needs_force() -> None:
    problem = {"type": "urn:lume:problem:already-processed", "run_id": "run_1"}

    def answer(request: FakeRequest) -> FakeAnswer:
        if request.method == "GET":
            return FakeAnswer(200, run_json("run_1", "SUCCEEDED"))
        forced = request.json()["force_rerun"]
        return FakeAnswer(201, run_json("run_2", "CREATED")) if forced else FakeAnswer(409, problem)

    client, _ = fake_client(answer)
    run = await client.run_status("run_1")
    with pytest.raises(DuplicateRunError):
        await run.rerun()
    assert (await run.rerun(force=True)).id == "run_2"


async def test_a_server_that_does_not_report_what_it_ran() -> None:
    client, transport = fake_client([FakeAnswer(200, {"id": "run_1", "status": "FAILED"})] * 2)
    with pytest.raises(InvalidRequestError, match="reports no flow version and source"):
        await client.attach("run_1").rerun()
    with pytest.raises(InvalidRequestError, match="flow version"):
        await client.attach("run_1").resubmit(b"_lume_row,id\n1,2\n")
    assert [request.method for request in transport.requests] == ["GET", "GET"]


async def test_a_run_that_has_not_ended_is_not_resubmitted() -> None:
    client, transport = fake_client([FakeAnswer(200, run_json("run_1", "TRANSFORMING"))])
    with pytest.raises(InvalidRequestError, match="run run_1 is TRANSFORMING: wait for it"):
        await client.attach("run_1").resubmit(b"_lume_row,id\n1,2\n")
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("status", "instead"),
    [("SUCCEEDED", "those of another run"), ("FAILED", "correct its source or its flow")],
)
async def test_a_run_without_rejects_takes_none(status: str, instead: str) -> None:
    client, transport = fake_client([FakeAnswer(200, run_json("run_1", status))])
    with pytest.raises(InvalidRequestError, match=f"run run_1 is {status} and wrote no rejects: .*{instead}"):
        await client.attach("run_1").resubmit(b"_lume_row,id\n1,2\n")
    assert len(transport.requests) == 1


async def test_a_run_is_dismissed() -> None:
    client, transport = fake_client([FakeAnswer(200, run_json("run_1", "FAILED"))])
    run = client.attach("run_1")
    await run.dismiss("the supplier sends them again")
    assert (run.status, transport.requests[0].path) == ("FAILED", "/v1/runs/run_1/dismiss")
    assert transport.requests[0].json() == {"why": "the supplier sends them again"}


async def test_arrivals() -> None:
    client, transport = fake_client([FakeAnswer(200, example("arrivals"))])

    found = await client.arrivals(name="acme", state="waiting", limit=5)

    assert [(one.name, one.waiting, one.submitted, one.refused) for one in found.arrivals] == [
        ("acme", 1, 1, 1)
    ]
    assert [(one.state, one.status) for one in found.files] == [
        ("waiting", None),
        ("refused", None),
        ("submitted", "SUCCEEDED"),
    ]
    assert (found.problem, found.files[0].at.tzinfo is not None) == (None, True)
    assert transport.requests[0].path == "/v1/arrivals?limit=5&name=acme&state=waiting"


@pytest.mark.parametrize(
    ("arguments", "message"), [({"state": "lost"}, "state must be"), ({"limit": 1001}, "limit must be")]
)
async def test_arrivals_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    client, transport = fake_client([])
    with pytest.raises(ValueError, match=message):
        await client.arrivals(**arguments)
    assert not transport.requests
