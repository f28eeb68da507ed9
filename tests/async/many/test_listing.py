"""list_runs: pages by itself, stops where it was told to, survives a server that goes round in circles."""

import math
import re
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_service import Service

from lume_async import Client, ResponseDecodeError, RunStatus
from lume_async._run.pages import EMPTY
from lume_async.testing import FakeAnswer, FakeClock, fake_client, run_json


async def filled(runs: int) -> tuple[Service, Client]:
    service = Service(lasts=0.0)
    client, _ = fake_client(service, clock=service.clock)
    for n in range(runs):
        await client.run("f:v1" if n % 2 else "g:v1", f"source-{n}")
    service.log.clear()
    return service, client


@pytest.mark.parametrize(("limit", "requests"), [(1, 1), (100, 1), (101, 2), (1000, 3)])
async def test_limit(limit: int, requests: int) -> None:
    service, client = await filled(250)
    assert len([run async for run in client.list_runs(limit=limit)]) == min(limit, 250)
    assert len(service.log) == requests


async def test_filters() -> None:
    _service, client = await filled(10)
    assert [run.id async for run in client.list_runs(flow_version="f:v1", status="SUCCEEDED", limit=2)] == [
        "run_9",
        "run_7",
    ]
    assert [run.source_path async for run in client.list_runs(source_path="source-3")] == ["source-3"]


async def test_pages_without_items_come_to_an_end() -> None:
    answers = (FakeAnswer(200, {"items": [], "next_cursor": str(number)}) for number in range(2 * EMPTY))
    client, transport = fake_client(answers)
    with pytest.raises(ResponseDecodeError, match="1,000 pages in a row without an item"):
        [run async for run in client.list_runs()]
    assert len(transport.requests) == EMPTY


async def test_a_few_of_them_are_passed_and_an_empty_cursor_is_none() -> None:
    pages = [([], "a"), ([], "b"), ([run_json("r", "SUCCEEDED")], "")]
    client, _ = fake_client([FakeAnswer(200, {"items": items, "next_cursor": at}) for items, at in pages])
    assert [run.id async for run in client.list_runs()] == ["r"]


@pytest.mark.parametrize("cursors", ["a", "ab", "abc"])
async def test_the_same_cursor_twice_is_no_endless_loop(cursors: str) -> None:
    answers = (
        FakeAnswer(200, {"items": [run_json("r", "SUCCEEDED")], "next_cursor": cursor})
        for cursor in cycle(cursors)
    )
    client, transport = fake_client(answers)
    with pytest.raises(ResponseDecodeError, match="cursor"):
        async for _run in client.list_runs():
            assert len(transport.requests) < 10
    assert len(transport.requests) == len(cursors) + 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"items": None}, "$.items"),
        ({"items": [{"id": "a"}], "next_cursor": None}, r"$.items\[0\].status"),
        ({"items": [], "next_cursor": 7}, "$.next_cursor"),
        ([], "$"),
    ],
)
async def test_what_is_no_page_is_told_with_its_place(body: object, place: str) -> None:
    client, _ = fake_client(lambda request: FakeAnswer(200, body))
    with pytest.raises(ResponseDecodeError, match=place.replace("$", r"\$")):
        await anext(client.list_runs())


async def test_one_status_or_several() -> None:
    client, transport = fake_client([FakeAnswer(200, {"items": [], "next_cursor": None})] * 3)

    for status in ("FAILED", ["FAILED", RunStatus.CRASHED], (RunStatus.SUCCEEDED,)):
        assert [run async for run in client.list_runs(status=status)] == []

    asked = [parse_qs(urlsplit(request.path).query)["status"] for request in transport.requests]
    assert asked == [["FAILED"], ["FAILED", "CRASHED"], ["SUCCEEDED"]]


@pytest.mark.parametrize(
    ("status", "asked"),
    [("failed", "FAILED"), (" Crashed", "CRASHED"), ("banana", "BANANA"), ("PAUSED", "PAUSED")],
)
async def test_a_status_in_whatever_case_and_that_of_a_newer_server(status: str, asked: str) -> None:
    client, transport = fake_client([FakeAnswer(200, {"items": [], "next_cursor": None})])
    assert [run async for run in client.list_runs(status=status)] == []
    assert parse_qs(urlsplit(transport.requests[0].path).query)["status"] == [asked]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("FAILD", "unknown status 'FAILD'; did you mean FAILED?"),
        (["FAILED", "succeded"], "unknown status 'succeded'; did you mean SUCCEEDED?"),
        ("", "status must be a RunStatus or its name, not ''"),
        ([None], "status must be a RunStatus or its name, not None"),
    ],
)
def test_a_status_that_is_a_slip_is_refused_at_once(status: Any, said: str) -> None:
    client, transport = fake_client([])
    with pytest.raises(ValueError, match=re.escape(said)):
        client.list_runs(status=status)
    assert not transport.requests


@pytest.mark.parametrize("since", [datetime(2026, 1, 1, 12, tzinfo=UTC), timedelta(hours=2), 7200])
async def test_runs_since_a_moment_end_with_the_first_that_is_older(since: Any) -> None:
    clock = FakeClock(offset=datetime(2026, 1, 1, 14, tzinfo=UTC).timestamp() - 1_000.0)
    pages = [
        {"items": [run_at("run_5", "14:00"), run_at("run_4", "13:00")], "next_cursor": "a"},
        {
            "items": [run_at("run_3", "12:00"), run_at("run_2", "11:59"), run_at("run_1", "13:00")],
            "next_cursor": "b",
        },
    ]
    client, transport = fake_client([FakeAnswer(200, page) for page in pages], clock=clock)

    assert [run.id async for run in client.list_runs(since=since)] == ["run_5", "run_4", "run_3"]
    assert len(transport.requests) == 2


@pytest.mark.parametrize("since", [1e12, math.inf, timedelta.max])
async def test_any_time_is_long_ago_enough_for_all_runs(since: Any) -> None:
    page = {"items": [run_at("run_1", "14:00")], "next_cursor": None}
    client, _ = fake_client([FakeAnswer(200, page)])

    assert [run.id async for run in client.list_runs(since=since)] == ["run_1"]


def run_at(run_id: str, time: str) -> dict[str, Any]:
    return run_json(run_id, "SUCCEEDED", created_at=f"2026-01-01T{time}:00Z")


@pytest.mark.parametrize(
    "arguments", [{"status": []}, {"since": datetime(2026, 1, 1)}, {"since": -1}], ids=str
)
def test_filters_that_make_no_sense_are_refused_at_once(arguments: dict[str, Any]) -> None:
    client, transport = fake_client([])

    with pytest.raises(ValueError, match=next(iter(arguments))):
        client.list_runs(**arguments)
    assert not transport.requests


def test_it_says_what_it_is() -> None:
    client, _ = fake_client([])
    assert repr(client.list_runs()) == "<runs, fetched as needed: [item async for item in ...]>"
    assert repr(client.list_flows()) == "<flow versions, fetched as needed: [item async for item in ...]>"
