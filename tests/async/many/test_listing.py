"""list_runs: pages by itself, stops where it was told to, survives a server that goes round in circles."""

from itertools import cycle

import pytest
from fake_service import Service

from lume_async import Client, ResponseDecodeError
from lume_async.testing import FakeAnswer, fake_client, run_json


async def filled(runs: int) -> tuple[Service, Client]:
    service = Service(lasts=0.0)
    client, _ = fake_client(service, clock=service.clock)
    for n in range(runs):
        await client.run("f:v1" if n % 2 else "g:v1", f"source-{n}")
    service.log.clear()
    return service, client


async def test_newest_first_over_all_pages() -> None:
    service, client = await filled(250)
    ids = [run.id async for run in client.list_runs()]
    assert ids == [f"run_{n}" for n in reversed(range(250))]
    assert len(service.log) == 3


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


@pytest.mark.parametrize("limit", [0, -1, True, 1.5])
async def test_a_bad_limit(limit: object) -> None:
    service, client = await filled(0)
    with pytest.raises(ValueError, match="limit"):
        client.list_runs(limit=limit)  # type: ignore[arg-type]
    assert not service.log


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
