"""Rows as Arrow: every row once, never short without a word, and JSON where the server sends nothing else."""

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lume_sync
from lume_async import (
    ApiConnectionError,
    ApiError,
    InvalidRequestError,
    MissingLibraryError,
    NotSupportedError,
    ResponseDecodeError,
    RunNotFoundError,
)
from lume_async._run.results import frames, rows
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

pyarrow = pytest.importorskip("pyarrow")

ARROW = "application/vnd.apache.arrow.stream"
SCHEMA = pyarrow.schema({"n": pyarrow.int64(), "text": pyarrow.string()})
Answer = FakeAnswer | Exception


def table(first: int, end: int) -> Any:
    return pyarrow.table({"n": range(first, end), "text": [f"row {n}" for n in range(first, end)]}, SCHEMA)


def page(first: int, end: int, cursor: str | None = None) -> FakeAnswer:
    return as_page(table(first, end), cursor)


def query(request: FakeRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def served(count: int, most: int) -> Callable[[FakeRequest], Answer]:
    """A server of so many rows, with at most so many in a page, and sometimes none."""

    def answer(request: FakeRequest) -> Answer:
        assert request.headers["Accept"] == ARROW
        asked = query(request)
        start, empty = map(int, asked.get("cursor", "0-0").split("-"))
        if not empty and start % 3 == 1:
            return page(start, start, f"{start}-1")
        end = min(start + int(asked["limit"]), start + most, count)
        return page(start, end, f"{end}-0" if end < count else None)

    return answer


@given(count=st.integers(0, 30), most=st.integers(1, 7), limit=st.none() | st.integers(1, 40))
async def test_every_row_comes_once(count: int, most: int, limit: int | None) -> None:
    client, transport = fake_client(served(count, most))
    wanted = table(0, min(count, limit or count))
    found = client.attach("run_1").mapped(limit=limit)

    assert await found.to_arrow() == wanted
    batches = [batch async for batch in found.to_arrow_batches()]

    assert pyarrow.Table.from_batches(batches, SCHEMA) == wanted
    assert all(int(query(one)["limit"]) <= (limit or rows.ARROW_PAGE) for one in transport.requests)


@pytest.mark.parametrize("reason", [None, "out of range"])
async def test_no_rows_have_the_columns_of_arrow(reason: str | None) -> None:
    def answer(request: FakeRequest) -> Answer:
        if request.path == "/v1/runs/run_1":
            return FakeAnswer(200, run_json("run_1", "PARTIAL_FAILED"))
        is_arrow = request.headers.get("Accept") == ARROW
        return page(0, 0) if is_arrow else FakeAnswer(200, {"items": [], "next_cursor": None})

    client, _ = fake_client(answer)
    found = client.attach("run_1").rejects(reason=reason)
    polars, pandas = await found.to_polars(), await found.to_pandas()

    assert await found.to_arrow() == table(0, 0)
    assert polars.to_arrow().schema == pyarrow.schema({"n": pyarrow.int64(), "text": pyarrow.large_string()})
    assert (len(polars), len(pandas)) == (0, 0)
    assert dict(pandas.dtypes) == dict(table(0, 0).to_pandas().dtypes)
    assert list(pandas.columns) == ["n", "text"]


async def test_no_rows_without_arrow_have_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = fake_client(lambda _request: FakeAnswer(200, {"items": [], "next_cursor": None}))
    found = client.attach("run_1").mapped()

    assert (await found.to_polars()).shape == (await found.to_pandas()).shape == (0, 0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert (await found.to_polars()).shape == (await found.to_pandas()).shape == (0, 0)


async def test_a_server_that_sends_more_than_was_requested() -> None:
    client, _ = fake_client([page(0, 9)])
    assert await client.attach("run_1").mapped(limit=4).to_arrow() == table(0, 4)


def as_page(rows: Any, cursor: str | None = None) -> FakeAnswer:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=3)
    more = {} if cursor is None else {"Lume-Next-Cursor": cursor}
    return FakeAnswer(200, sink.getvalue().to_pybytes(), {"Content-Type": ARROW, **more})


NOT_NULL = pyarrow.schema([pyarrow.field("n", pyarrow.int64(), nullable=False), SCHEMA.field("text")])
CHANGES = {
    "column 'n' is string, in the batches before it was int64": {"n": ["8"], "text": ["row 8"]},
    "column 'n' is null, in the batches before it was int64": {"n": [None], "text": ["row 8"]},
    "column 'n' is missing, in the batches before it was int64": {"text": ["row 8"]},
    "column 'more' is int64, in the batches before it was missing": {"n": [8], "text": ["a"], "more": [1]},
    "the columns are in another order than before": {"text": ["row 8"], "n": [8]},
    "column 'n' is int64 not null, in the batches before it was int64": table(8, 9).cast(NOT_NULL),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_the_schema_is_an_error_that_says_where(change: str) -> None:
    def answer(request: FakeRequest) -> FakeAnswer:
        pages = {None: page(0, 7, "1"), "1": page(7, 8, "2"), "2": as_page(pyarrow.table(CHANGES[change]))}
        return pages[query(request).get("cursor")]

    found = fake_client(answer)[0].attach("run_1").mapped()
    batches = []

    with pytest.raises(ResponseDecodeError) as caught:
        async for batch in found.to_arrow_batches():
            batches.append(batch)
    with pytest.raises(ResponseDecodeError) as whole:
        await found.to_arrow()

    assert str(caught.value) == str(whole.value) == f"batch 5 of the rows: {change}"
    assert not caught.value.retryable
    assert sum(batch.num_rows for batch in batches) == 8


async def test_other_metadata_is_no_other_schema() -> None:
    noted = table(7, 9).replace_schema_metadata({"by": "someone"})
    client, _ = fake_client([page(0, 7, "1"), as_page(noted)])
    assert await client.attach("run_1").mapped().to_arrow() == table(0, 9)


@pytest.mark.parametrize("method", ["to_arrow", "to_polars", "to_pandas"])
async def test_rows_that_no_table_takes_are_our_error(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(library: Any, rows: Any) -> Any:
        return pyarrow.array([1, "a"])  # the library's own error

    monkeypatch.setattr(frames, method, refusing)
    client, _ = fake_client(lambda _request: FakeAnswer(200, {"items": [{"a": 1}], "next_cursor": None}))

    with pytest.raises(
        ResponseDecodeError, match=r"the rows can't become a table: ArrowInvalid: .*'a'"
    ) as caught:
        await getattr(client.attach("run_1").mapped(), method)()
    assert caught.value.__context__ is None


async def test_a_text_that_arrow_does_not_take_is_our_error() -> None:
    body = b'{"items": [{"a": "\\ud800"}], "next_cursor": null}'
    client, _ = fake_client(lambda _request: FakeAnswer(200, body))
    with pytest.raises(ResponseDecodeError):
        await client.attach("run_1").mapped().to_arrow()


async def test_what_is_asked_for() -> None:
    client, transport = fake_client([page(0, 1)])
    await client.attach("run_1").rejects("no & email", limit=5).to_arrow()
    assert transport.requests[0].path == "/v1/runs/run_1/rejects?limit=5&reason=no+%26+email"


def test_the_facade() -> None:
    run = lume_sync.Client._wrap(fake_client(served(9, 4))[0]).attach("run_1")
    assert run.mapped().to_arrow() == table(0, 9)
    batches = run.mapped().to_arrow_batches()
    assert next(batches).num_rows == 3
    assert sum(batch.num_rows for batch in batches) == 6


# Never short without a word


@pytest.mark.parametrize("cut", [1, 8, 9, 50, 10**6])
async def test_a_page_that_is_cut_off_is_requested_again(cut: int) -> None:
    whole = page(0, 5)
    broken = FakeAnswer(200, whole.body[:-cut], whole.headers)
    client, transport = fake_client([broken, whole, broken, ApiConnectionError("cut"), whole])
    assert await client.attach("run_1").mapped().to_arrow() == table(0, 5)
    assert len(transport.requests) == 2
    assert [b.num_rows async for b in client.attach("run_1").mapped().to_arrow_batches()] == [3, 2]


@pytest.mark.parametrize("cut", [1, 8, 9, 50, 10**6])
async def test_a_page_that_is_always_cut_off_is_an_error(cut: int) -> None:
    second = page(5, 9)
    broken = FakeAnswer(200, second.body[:-cut], second.headers)
    client, _ = fake_client(lambda request: broken if "cursor" in request.path else page(0, 5, "5"))
    with pytest.raises(ResponseDecodeError, match="cut off: its end mark is missing"):
        await client.attach("run_1").mapped().to_arrow()
    seen = 0
    with pytest.raises(ResponseDecodeError):
        async for batch in client.attach("run_1").mapped().to_arrow_batches():
            seen += batch.num_rows
    assert seen == 5


async def test_what_is_no_arrow_stream() -> None:
    body = b"PAR1 and more" + page(0, 0).body[-8:]
    client, transport = fake_client([FakeAnswer(200, body, {"Content-Type": ARROW})])
    with pytest.raises(ResponseDecodeError, match="the Arrow stream can't be read: "):
        await client.attach("run_1").mapped().to_arrow()
    assert len(transport.requests) == 1


# A server without Arrow

ITEMS = [{"n": 1, "text": "a"}, {"n": 2, "text": "b"}]
JSON_PAGE = FakeAnswer(200, {"items": ITEMS, "next_cursor": None}, {"Content-Type": "application/json"})


def json_only(refusal: FakeAnswer | None) -> Callable[[FakeRequest], Answer]:
    """A server that knows no Arrow: it refuses it, or the size of the page, or sends JSON."""

    def answer(request: FakeRequest) -> Answer:
        if request.headers.get("Accept") == ARROW and refusal is not None:
            return refusal
        return JSON_PAGE

    return answer


REFUSALS = {
    "ignored": None,
    "the form": FakeAnswer(406, {"type": "urn:lume:problem:not-acceptable", "detail": "no nanoarrow"}),
    "the size": FakeAnswer(400, {"type": "urn:lume:problem:invalid-query", "detail": "limit must be less"}),
    "a gateway": FakeAnswer(406, b"<html>"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_server_that_sends_json_only(refusal: str) -> None:
    client, transport = fake_client(json_only(REFUSALS[refusal]))
    found = client.attach("run_1").mapped()
    assert (await found.to_arrow()).to_pylist() == ITEMS
    batches = [batch async for batch in found.to_arrow_batches()]
    assert [row for batch in batches for row in batch.to_pylist()] == ITEMS
    assert len(transport.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "run-not-found", RunNotFoundError),
        (404, "no-output", InvalidRequestError),
        (404, "not-found", NotSupportedError),
        (409, "run-not-ended", InvalidRequestError),
        (409, "output-changed", InvalidRequestError),
        (410, "output-gone", ApiError),
        (422, "not-supported", InvalidRequestError),
    ],
)
async def test_what_is_wrong_is_said(status: int, kind: str, error: type[ApiError]) -> None:
    body = {"type": f"urn:lume:problem:{kind}", "detail": "so it is"}
    client, _ = fake_client(lambda request: FakeAnswer(status, body))
    for rows_of in (client.attach("run_1").mapped, client.attach("run_1").rejects):
        with pytest.raises(error) as caught:
            await rows_of().to_arrow()
        assert type(caught.value) is error
        with pytest.raises(error):
            await anext(rows_of().to_arrow_batches())


async def test_a_page_in_the_middle_that_can_not_be_sent() -> None:
    refusal = REFUSALS["the form"]
    client, _ = fake_client(lambda request: refusal if "cursor" in request.path else page(0, 5, "5"))
    with pytest.raises(NotSupportedError, match="no nanoarrow"):
        await client.attach("run_1").mapped().to_arrow()


async def test_a_reason_that_no_row_has_is_told() -> None:
    counted = run_json("run_1", "PARTIAL_FAILED", metadata={"metrics": {"reject_reasons": {"is empty": 2}}})
    client, _ = fake_client(
        lambda request: page(0, 0) if "/rejects" in request.path else FakeAnswer(200, counted)
    )
    with pytest.warns(UserWarning, match="did you mean 'is empty'"):
        assert (await client.attach("run_1").rejects("is emty").to_arrow()).num_rows == 0


async def test_pyarrow_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    client, transport = fake_client([])
    with pytest.raises(MissingLibraryError, match=r"pyarrow is not installed: .*pip install .*pyarrow$"):
        await anext(client.attach("run_1").mapped().to_arrow_batches())
    assert transport.requests == []
    assert frames.library("json")
