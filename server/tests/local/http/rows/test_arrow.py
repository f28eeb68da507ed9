"""Rows as Arrow over the wire: as a page, as one stream, and what is said where that is not possible."""

import asyncio
import importlib.util
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow
import pytest
from aiohttp import web
from attrs import evolve
from local.http.rows.test_rows import mixed, rows
from local.wire import ARROW, Answer, Wire

from lume_local._http import requests, responses, result_operations
from lume_local._runs.row_reader import RowReader
from lume_local._runs.workers.worker import WorkerDied
from lume_local._shared.protocol import Read, Unreadable
from lume_local._worker.outputs.pages import read_page

ACCEPT = {"Accept": ARROW}
COUNT = 1_500


def table(answer: Answer) -> pyarrow.Table:
    assert answer.status == 200, answer.document
    assert answer.document.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    return pyarrow.ipc.open_stream(answer.document).read_all()


async def many(wire: Wire, home: Path, suffix: str) -> str:
    """A run of many rows, half of them rejected, with outputs in that format."""
    definition = {
        "flow": "many",
        "version": suffix[1:],
        "target": {"mapped": f"{{data}}/m-{{run_id}}{suffix}", "rejects": f"{{data}}/r-{{run_id}}{suffix}"},
        "columns": {
            "id": {"type": "integer", "required": True},
            "price": {"type": "number", "sql_type": "DECIMAL(38,2)"},
            "at": {"format": "date-time"},
        },
    }
    await wire.ask("PUT", f"/v1/flows/many/versions/{suffix[1:]}", json=definition)
    lines = [
        f"{n if n % 2 else 'x'},{n}2345678901234567890.{n % 100:02},2026-01-02T03:04:05.{n:06}Z"
        for n in range(COUNT)
    ]
    (home / "many.csv").write_text("id,price,at\n" + "\n".join(lines) + "\n")
    return str((await wire.run(f"many:{suffix[1:]}", "many.csv"))["id"])


TYPES = {"id": "int64", "price": "decimal128(38, 2)", "at": "timestamp[us, tz=UTC]"}


@pytest.mark.parametrize("suffix", [".parquet", pytest.param(".ndjson", marks=pytest.mark.thorough)])
async def test_a_whole_output_is_one_stream(
    wire: Wire, home: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_operations, "_MOST_ARROW", 200)
    run_id = await many(wire, home, suffix)

    found = table(await wire.ask("GET", f"/v1/runs/{run_id}/mapped", headers=ACCEPT))

    assert {field.name: str(field.type) for field in found.schema} == TYPES
    assert found.column("id").num_chunks == 4, "several pages"
    wanted = await rows(wire, run_id, "mapped", 1000)
    assert len(wanted) == COUNT // 2
    assert [row["id"] for row in found.to_pylist()] == [row["id"] for row in wanted]
    assert [str(row["price"]) for row in found.slice(0, 3).to_pylist()] == [
        f"{n}2345678901234567890.{n:02}" for n in (1, 3, 5)
    ]
    head = await wire.ask("HEAD", f"/v1/runs/{run_id}/mapped", headers=ACCEPT)
    assert (head.status, head.headers["Content-Type"]) == (200, ARROW)


@pytest.mark.parametrize("failure", [Unreadable("output-changed", "so it is"), WorkerDied("it is gone")])
async def test_a_stream_that_breaks_has_no_end(
    wire: Wire, home: Path, failure: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The headers are sent by then: the connection is closed within the body."""
    run = await mixed(wire, home)
    read, calls = RowReader.page, 0

    async def page_of(self: RowReader, job: Read) -> Any:
        nonlocal calls
        calls += 1
        page = await read(self, job)
        if calls == 1 and not isinstance(page, Unreadable):
            return evolve(page[0], position="5"), page[1]
        if isinstance(failure, Exception):
            raise failure
        return failure

    monkeypatch.setattr(RowReader, "page", page_of)
    async with wire.session.get(f"/v1/runs/{run['id']}/mapped", headers=ACCEPT) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert calls == 2
    assert "a stream of rows broke off: " in caplog.text


async def test_a_client_that_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "_WRITE_LIMIT", 0.05)
    pages = 0

    async def blocks() -> AsyncGenerator[bytes, None]:
        nonlocal pages
        while True:
            pages += 1
            yield bytes(4_000_000)

    ended = asyncio.get_running_loop().create_future()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await responses.streamed(request, blocks(), {})
        except ConnectionError as error:
            ended.set_result(error)
            raise

    server = await asyncio.get_running_loop().create_server(web.Server(handle), "127.0.0.1", 0)
    async with server:
        _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        error = await ended
        writer.close()
        await writer.wait_closed()
    assert "took nothing for 0.05 s" in str(error)
    assert pages < 10, "what it did not take was not read"


@pytest.mark.parametrize(("suffix", "limit"), [(".parquet", 400), (".csv", 1_000_000)])
async def test_pages_and_reasons(wire: Wire, home: Path, suffix: str, limit: int) -> None:
    run_id = await many(wire, home, suffix)
    wanted = await rows(wire, run_id, "rejects", 1000)
    reason = wanted[0]["_lume_reasons"][0]
    for more, count in (({}, COUNT // 2), ({"reason": reason}, COUNT // 2), ({"reason": "no such"}, 0)):
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            query = {"limit": str(limit), **more, **cursor}
            answer = await wire.ask("GET", f"/v1/runs/{run_id}/rejects", params=query, headers=ACCEPT)
            page = table(answer).to_pylist()
            assert len(page) <= limit
            found += page
            if "Lume-Next-Cursor" not in answer.headers:
                break
            cursor = {"cursor": answer.headers["Lume-Next-Cursor"]}
        assert len(found) == count
        assert [row["_lume_row"] for row in found] == [row["_lume_row"] for row in wanted][:count]
    assert found == [] or found[0]["_lume_reasons"] == [reason]


async def test_rejects_without_common_columns(wire: Wire, home: Path) -> None:
    (home / "notes.ndjson").write_text('{"text":"good","stars":5}\n{"text":"x","more":{"deep":[1.50]}}\n')
    run = await wire.run("notes:v1", "notes.ndjson")
    answer = await wire.ask("GET", f"/v1/runs/{run['id']}/rejects", headers=ACCEPT)
    assert (answer.status, answer.kind) == (406, "not-acceptable")
    assert answer.document["detail"].endswith("objects without common columns; request the rows as JSON")
    assert table(await wire.ask("GET", f"/v1/runs/{run['id']}/mapped", headers=ACCEPT)).to_pylist() == [
        {"text": "good", "stars": 5}
    ]


def test_a_server_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "lume_async._base.extras.find_spec", lambda name: None if name == "nanoarrow" else find(name)
    )
    job = Read("a.csv", "", {}, "utf-8", {}, "0", row=0, rows=1, limit=1, folder=str(tmp_path), arrow=True)
    answer = read_page(job)
    assert isinstance(answer, Unreadable)
    assert answer.kind == "not-acceptable"
    assert "sending rows as Arrow needs nanoarrow: " in answer.problem
    assert answer.problem.endswith("; request the rows as JSON")


async def test_the_rows_and_the_problems_are_those_of_the_pages(wire: Wire, home: Path) -> None:
    run = await mixed(wire, home)
    url = f"/v1/runs/{run['id']}/rejects"
    found = table(await wire.ask("GET", url, headers=ACCEPT)).to_pylist()
    wanted = await rows(wire, run["id"], "rejects")
    for row, other in zip(found, wanted, strict=True):  # malformed lines, too
        assert {name: value for name, value in row.items() if name in other} == other
    for query in ("limit=0", "limit=1000001", "cursor=nonsense", "limit=5&limit=6"):
        assert (await wire.ask("GET", f"{url}?{query}", headers=ACCEPT)).status == 400, query
    first = await wire.ask("GET", f"{url}?limit=1", headers=ACCEPT)
    assert table(first).num_rows == 1
    path = Path(run["metadata"]["target_locations"]["rejects"])
    path.write_bytes(path.read_bytes() + b"\n")
    for query in ("", "?limit=1", f"?limit=1&cursor={first.headers['Lume-Next-Cursor']}"):
        answer = await wire.ask("GET", url + query, headers=ACCEPT)
        assert (answer.status, answer.kind) == (409, "output-changed")
    path.unlink()
    answer = await wire.ask("GET", url, headers=ACCEPT)
    assert (answer.status, answer.kind) == (410, "output-gone")
    absent = await wire.ask("GET", "/v1/runs/run_1/rejects", headers=ACCEPT)
    assert (absent.status, absent.kind) == (404, "run-not-found")


@pytest.mark.parametrize(
    ("accept", "is_arrow"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        (ARROW, True),
        (ARROW.upper(), True),
        (f"{ARROW}, application/json", True),
        (f"{ARROW};q=0.5, application/json;q=0.4", True),
        (f"{ARROW};q=0.5, application/json", False),
        (f"{ARROW};q=0", False),
        (f"text/html, */*;q=0.8,{ARROW} ; q=0.9", True),
        (f"{ARROW};q=much", False),
        (";;,,=", False),
    ],
)
def test_what_is_accepted(accept: str | None, is_arrow: bool) -> None:
    headers: Mapping[str, str] = {} if accept is None else {"Accept": accept}
    assert requests.accepts(headers, ARROW, "application/json") is is_arrow
