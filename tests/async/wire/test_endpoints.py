"""Golden requests: what goes on the wire, byte by byte, and what the answers mean."""

from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from lume_async._wire import endpoints, report_endpoints
from lume_async._wire.call import Response
from lume_async.errors import NotSupportedError, ResponseDecodeError
from lume_async.models import RunRequest
from lume_async.testing import run_json


def answer(status: int, value: Any, **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status, CIMultiDict(named), orjson.dumps(value))


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (RunRequest("f:v1", "s.csv"), b'{"flow_version":"f:v1","source_path":"s.csv","force_rerun":false}'),
        (
            RunRequest("f:v1", "größe.csv", {"batch": 7, "tags": ["a"]}, force_rerun=True),
            '{"flow_version":"f:v1","source_path":"größe.csv","force_rerun":true,'
            '"run_metadata":{"batch":7,"tags":["a"]}}'.encode(),
        ),
        (
            RunRequest("f:v1", "s.csv", idempotency_key="mine", webhook_url="https://x/hook"),
            b'{"flow_version":"f:v1","source_path":"s.csv","force_rerun":false,"webhook_url":"https://x/hook"}',
        ),
        (
            RunRequest("f:v1", "s.csv", {}),
            b'{"flow_version":"f:v1","source_path":"s.csv","force_rerun":false,"run_metadata":{}}',
        ),
    ],
)
def test_submit(request_: RunRequest, body: bytes) -> None:
    call = endpoints.submit(request_, "key-1")

    assert (call.operation, call.method, call.path) == ("POST /v1/runs", "POST", "/v1/runs")
    assert call.headers == {"Content-Type": "application/json", "Idempotency-Key": "key-1"}
    assert call.body == body
    assert call.submits is request_
    assert call.run_id is None
    assert call.keyed


@pytest.mark.parametrize(("status", "replayed"), [(201, False), (200, True), (202, False)])
def test_an_old_run_is_told_from_a_new_one(status: int, replayed: bool) -> None:
    call = endpoints.submit(RunRequest("f", "s"), "k")

    submitted = call.decode(answer(status, run_json("run_1", "CREATED"), ETag='"e"'))

    assert submitted.replayed is replayed
    assert (submitted.record.id, submitted.record.etag) == ("run_1", '"e"')


@pytest.mark.parametrize(
    ("arguments", "headers", "hold"),
    [
        ({}, {}, 0),
        ({"etag": '"e"'}, {"If-None-Match": '"e"'}, 0),
        ({"etag": None, "hold": 0.0}, {}, 0),
        ({"etag": 'W/"e"', "hold": 30.0}, {"If-None-Match": 'W/"e"', "Prefer": "wait=30"}, 30),
        ({"hold": 7.0}, {"Prefer": "wait=7"}, 7),
    ],
)
def test_status(arguments: dict[str, Any], headers: dict[str, str], hold: float) -> None:
    call = endpoints.status("run_1", **arguments)

    assert (call.operation, call.method, call.path) == ("GET /v1/runs/{id}", "GET", "/v1/runs/run_1")
    assert call.headers == headers
    assert call.hold == hold
    assert call.run_id == "run_1"
    assert call.body is None
    assert call.submits is None


def test_a_run_is_asked_for_by_its_id_alone() -> None:
    call = endpoints.run("run_1")

    assert (call.operation, call.method, call.path) == ("GET /v1/runs/{id}", "GET", "/v1/runs/run_1")
    assert (call.run_id, call.headers, call.hold, call.submits) == ("run_1", {}, 0, None)
    record = call.decode(answer(200, run_json("run_1", "CREATED"), ETag='"2"'))
    assert (record.id, record.status, record.etag) == ("run_1", "CREATED", '"2"')
    with pytest.raises(ResponseDecodeError, match="expected the run run_1"):
        call.decode(answer(200, run_json("run_2", "CREATED")))


def test_a_look_gives_the_run_and_the_pause_that_was_asked_for() -> None:
    seen = endpoints.status("run_1").decode(
        answer(200, run_json("run_1", "CREATED"), ETag='"2"', Retry_After="4")
    )

    assert seen.record is not None
    assert (seen.record.status, seen.record.etag, seen.not_before) == ("CREATED", '"2"', 4)


def test_an_unchanged_run_has_no_record() -> None:
    seen = endpoints.status("run_1", etag='"e"').decode(answer(304, None))

    assert (seen.record, seen.not_before) == (None, 0)


def test_cancel() -> None:
    call = endpoints.cancel("run_1")

    assert (call.operation, call.method) == ("POST /v1/runs/{id}/cancel", "POST")
    assert (call.path, call.headers, call.body) == ("/v1/runs/run_1/cancel", {}, None)
    assert call.submits is None
    assert call.decode(answer(202, run_json("run_1", "CANCELLED"))).status == "CANCELLED"


def test_health_needs_no_key() -> None:
    call = endpoints.health()

    assert (call.method, call.path, call.keyed) == ("GET", "/healthz", False)
    assert call.decode(answer(200, "anything")) is None


@pytest.mark.parametrize(
    ("filters", "cursor", "path"),
    [
        ({}, None, "/v1/runs"),
        ({"limit": "10"}, None, "/v1/runs?limit=10"),
        ({"status": "FAILED", "limit": "10"}, "c 1", "/v1/runs?status=FAILED&limit=10&cursor=c+1"),
        ({"source_path": "s3://a/b?c&d=ü"}, None, "/v1/runs?source_path=s3%3A%2F%2Fa%2Fb%3Fc%26d%3D%C3%BC"),
    ],
)
def test_list(filters: dict[str, str], cursor: str | None, path: str) -> None:
    call = endpoints.runs(filters, cursor)

    assert (call.operation, call.method, call.path) == ("GET /v1/runs", "GET", path)


def test_a_page_of_runs() -> None:
    raw = {"items": [run_json("a", "CREATED"), run_json("b", "FAILED")], "next_cursor": "c"}

    page = endpoints.runs({}, None).decode(answer(200, raw))

    assert [record.id for record in page.items] == ["a", "b"]
    assert page.cursor == "c"


@pytest.mark.parametrize(
    ("after", "hold", "path", "headers"),
    [
        (None, 0.0, "/v1/changes", {}),
        ("7", 0.0, "/v1/changes?after=7", {}),
        ("a&b", 30.0, "/v1/changes?after=a%26b", {"Prefer": "wait=30"}),
    ],
)
def test_changes(after: str | None, hold: float, path: str, headers: dict[str, str]) -> None:
    call = endpoints.changes(after, hold=hold)

    assert (call.operation, call.method, call.path) == ("GET /v1/changes", "GET", path)
    assert call.headers == headers
    assert call.hold == hold


def test_a_page_of_changes() -> None:
    raw = {"items": [{"id": "a", "status": "FAILED", "finished_at": None, "new": 1}], "next_cursor": "8"}

    page = endpoints.changes("7").decode(answer(200, raw))

    assert page.items == [endpoints.Change("a", "FAILED")]
    assert page.cursor == "8"


@pytest.mark.parametrize(
    ("call", "raw", "place"),
    [
        (endpoints.runs({}, None), [], "@ $"),
        (endpoints.runs({}, None), {"items": None}, "@ $.items"),
        (endpoints.runs({}, None), {"items": [], "next_cursor": 5}, "@ $.next_cursor"),
        (
            endpoints.runs({}, None),
            {"items": [run_json("a", "CREATED"), {"id": "b"}]},
            "@ $.items[1].status",
        ),
        (endpoints.changes(None), {"items": []}, "@ $.next_cursor"),
        (endpoints.changes(None), {"items": [{"id": "a"}], "next_cursor": "1"}, "@ $.items[0].status"),
        (endpoints.changes(None), {"items": ["a"], "next_cursor": "1"}, "@ $.items[0]"),
    ],
)
def test_a_page_that_is_not_the_contract_says_where(call: endpoints.Call[Any], raw: Any, place: str) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        call.decode(answer(200, raw))

    assert place in str(caught.value)


def test_a_layout_is_sent_if_it_is_named_and_a_server_that_ignores_it_is_noticed() -> None:
    plain = RunRequest("f:v1", "a.csv")
    assert endpoints.submit(plain, "key").body == (
        b'{"flow_version":"f:v1","source_path":"a.csv","force_rerun":false}'
    )
    request = RunRequest("f:v1", "a.csv", layout="shop")
    call, run = endpoints.submit(request, "key"), run_json("run_1", "CREATED")
    assert orjson.loads(call.body or b"")["layout"] == "shop"
    with pytest.raises(NotSupportedError, match="takes no layout: it has ignored it in run run_1"):
        call.decode(answer(201, run))
    assert call.decode(answer(201, run | {"layout": "shop"})).record.id == "run_1"
    dry = report_endpoints.dry_run(request, 1, "key", 1.0)
    with pytest.raises(NotSupportedError, match="has ignored it"):
        dry.decode(answer(200, run | {"dry_run": True, "rows": {}}))


def test_a_server_that_ignores_the_seeds_of_a_run_is_noticed() -> None:
    request = RunRequest("f:v1", "a.csv", seeds={"countries": "upload://c.csv"})
    call = endpoints.submit(request, "key")
    assert orjson.loads(call.body or b"")["seeds"] == {"countries": "upload://c.csv"}
    plain = run_json("run_1", "CREATED")
    with pytest.raises(NotSupportedError, match="has ignored them in run run_1"):
        call.decode(answer(201, plain))
    seeds = {"countries": {"source_path": "upload://c.csv", "sha256": "0" * 64}}
    assert call.decode(answer(201, plain | {"seeds": seeds})).record.id == "run_1"
    dry = report_endpoints.dry_run(request, 1, "key", 1.0)
    with pytest.raises(NotSupportedError, match="has ignored them"):
        dry.decode(answer(200, plain | {"dry_run": True, "rows": {}}))
