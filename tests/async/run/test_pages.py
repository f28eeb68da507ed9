"""`list_runs(...).pages()` and `cursor=`: whole pages, and where to go on later."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_service import Service

from lume_async import Client, InvalidRequestError, Items, LumeRun, Page, Paged
from lume_async.testing import FakeAnswer, FakeTransport, fake_client, run_json


async def filled(runs: int) -> tuple[Service, Client]:
    service = Service(lasts=0.0)
    client, _ = fake_client(service, clock=service.clock)
    for n in range(runs):
        await client.run("f:v1", f"source-{n}")
    service.log.clear()
    return service, client


def pages_of(*pages: tuple[list[str], str | None]) -> tuple[Client, FakeTransport]:
    answers = [{"items": [run_json(one, "FAILED") for one in ids], "next_cursor": at} for ids, at in pages]
    return fake_client([FakeAnswer(200, answer) for answer in answers])


def ids(page: Page[LumeRun]) -> list[str]:
    return [run.id for run in page.items]


def query(transport: FakeTransport) -> list[dict[str, str]]:
    queries = (parse_qs(urlsplit(request.path).query) for request in transport.requests)
    return [{name: value for name, (value,) in query.items()} for query in queries]


async def test_pages_have_all_items_in_order_and_a_cursor_but_the_last() -> None:
    _, client = await filled(250)
    found = client.list_runs()
    assert isinstance(found, Paged)
    assert isinstance(found.pages(), Items)

    pages = [page async for page in found.pages()]

    assert [len(page.items) for page in pages] == [100, 100, 50]
    assert [run.id for page in pages for run in page.items] == [run.id async for run in client.list_runs()]
    assert [page.cursor is None for page in pages] == [False, False, True]


@pytest.mark.parametrize("limit", [1, 7, 100, 130])
async def test_each_cursor_goes_on_after_its_page(limit: int) -> None:
    """As another process would, with a client of its own."""
    service, client = await filled(250)
    whole = [run.id async for run in client.list_runs()]

    got: list[str] = []
    cursor: str | None = None
    while True:
        other, _ = fake_client(service, clock=service.clock)
        last = [page async for page in other.list_runs(cursor=cursor, limit=limit).pages()]
        got += [one for page in last for one in ids(page)]
        if (cursor := last[-1].cursor) is None:
            break

    assert got == whole


async def test_an_iteration_and_its_pages_do_not_disturb_each_other() -> None:
    _, client = await filled(150)
    found = client.list_runs(limit=120)
    first = await anext(found)
    async with found.pages() as pages:
        page = await anext(pages)

    assert page.items[0].id == first.id
    assert len([run async for run in found]) == 119


async def test_the_cursor_is_sent_with_the_filters_and_replaced_by_the_next() -> None:
    client, transport = pages_of((["r2"], "b"), (["r1"], None))

    assert [run.id async for run in client.list_runs(flow="f", cursor="a b&c")] == ["r2", "r1"]

    assert query(transport) == [
        {"flow": "f", "cursor": "a b&c", "limit": "100"},
        {"flow": "f", "cursor": "b", "limit": "100"},
    ]


async def test_a_server_that_sends_more_than_asked_loses_nothing_between_pages() -> None:
    client, _ = pages_of((["r5", "r4", "r3"], "c"), (["r2"], None))
    assert [(ids(page), page.cursor) async for page in client.list_runs(limit=2).pages()] == [
        (["r5", "r4", "r3"], "c")
    ]
    client, _ = pages_of((["r5", "r4", "r3"], "c"))
    assert [run.id async for run in client.list_runs(limit=2)] == ["r5", "r4"]


async def test_an_empty_page_is_a_page() -> None:
    client, _ = pages_of(([], "a"), (["r1"], None))

    assert [(ids(page), page.cursor) async for page in client.list_runs().pages()] == [
        ([], "a"),
        (["r1"], None),
    ]


async def test_what_is_too_old_ends_the_pages() -> None:
    client, _ = fake_client(
        [
            FakeAnswer(
                200,
                {"items": [run_json("r1", "FAILED", created_at="2020-01-01T00:00:00Z")], "next_cursor": "a"},
            )
        ]
    )

    assert await anext(client.list_runs(since=60).pages()) == Page([], None)


@pytest.mark.parametrize("cursor", ["", 5, "a\nb"])
def test_a_cursor_is_a_text(cursor: Any) -> None:
    client, _ = fake_client([])
    for ask in (client.list_runs, client.open_rejects, client.audit):
        with pytest.raises(InvalidRequestError, match="cursor") as caught:
            ask(cursor=cursor)
        assert len(str(caught.value)) < 200
