"""Whatever a source or a request holds, what is said of it is short: answers, records, log lines, exceptions."""

import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from local.flows import people
from local.wire import Wire

import lume_async
import lume_local

LIMIT = 500
MIB = 1024 * 1024
HUGE = "x" * 1_000_000
ANY = {"id": {"type": "integer", "required": True}}


def texts(value: Any) -> Iterator[str]:
    """Every text of a JSON document, names of members included."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def flow(format: str = "csv", column: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return people(
        source={"format": format, **more.pop("source", {})},
        columns={**ANY, **({"name": column} if column else {})},
        **more,
    )


def csv(text: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def sheet(header: str, value: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        book = openpyxl.Workbook()
        assert book.active is not None
        book.active.append(["id", header])
        book.active.append([1, value])
        book.save(path)

    return write


FAILS = {"sql": "CAST(name AS INTEGER) + 1", "type": "integer"}
WARNS: dict[str, Any] = {"source": {"on_unknown_columns": "warn"}}
SOURCES: dict[str, tuple[dict[str, Any], Callable[[Path], object]]] = {
    "4 MB of NUL without a line end": (flow(), csv(bytes(4 * MIB))),
    "4 MB without a line end": (flow(), csv("x" * 4 * MIB)),
    "a line of 4 MB": (flow(), csv(f"id\n{'7' * 4 * MIB}\n")),
    "a name of 1 MB": (flow(), csv(f"{HUGE},b\n1,2\n")),
    "a name of 1 MB that is not read": (flow(), csv(f"id,{HUGE}\n1,2\n")),
    "a name of 1 MB that is reported": (flow(**WARNS), csv(f"id,{HUGE}\n1,2\n")),
    "a name of 1 MB that is refused": (
        flow(source={"on_unknown_columns": "fail"}),
        csv(f"id,{HUGE}\n1,2\n"),
    ),
    "a value of 1 MB that is no number": (flow(column=FAILS), csv(f"id,name\n1,{HUGE}\n")),
    "a name of 1 MB with control characters": (flow(), csv(f"{chr(7) * 1_000_000},b\n1,2\n")),
    "a member of 1 MB": (flow("ndjson"), csv(json.dumps({HUGE: 1}) + "\n")),
    "a member of 1 MB that is reported": (
        flow("ndjson", **WARNS),
        csv(json.dumps({"id": 1, HUGE: 1}) + "\n"),
    ),
    "a member of 1 MB twice": (flow("ndjson"), csv(f'{{"id": 1, "{HUGE}": 1, "{HUGE}": 2}}\n')),
    "a line of 4 MB in NDJSON": (flow("ndjson"), csv(json.dumps({"id": "x" * 4 * MIB}) + "\n")),
    "JSON that ends in a text of 4 MB": (flow("json"), csv('[{"id": "' + "x" * 4 * MIB)),
    "a member of 1 MB in JSON": (flow("json"), csv(json.dumps([{HUGE: 1}]))),
    "a cell that Excel's header has": (flow("excel"), sheet("x" * 32_000, "a")),
    "a cell of Excel that is no number": (flow("excel", FAILS), sheet("name", "x" * 32_000)),
    "4 MB that are no Parquet": (flow("parquet"), csv("PAR1" + "x" * 4 * MIB)),
}


async def test_no_source_makes_a_long_text(wire: Wire, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for n, (name, (definition, write)) in enumerate(SOURCES.items(), 9):
        source = f"source{n}.{ {'excel': 'xlsx'}.get(definition['source']['format'], 'csv') }"
        write(home / source)
        answer = await wire.ask(
            "PUT", f"/v1/flows/people/versions/v{n}", json={**definition, "version": f"v{n}"}
        )
        assert answer.status == 201, answer.document
        body = {"flow_version": f"people:v{n}", "source_path": source, "dry_run": True, "limit": 0}
        for run in (
            (await wire.ask("POST", "/v1/runs", json=body)).document,
            await wire.run(f"people:v{n}", source),
        ):
            assert max(map(len, texts(run))) <= LIMIT, name
            assert len(json.dumps(run)) < 16_000
            assert "\0" not in json.dumps(run)
            said = run["metadata"]["error_message"] or ""
            assert not [char for char in said if ord(char) < 32 and char != "\n"]
        assert all(len(line) < 2000 for line in caplog.messages)


@pytest.mark.thorough
async def test_a_message_that_is_in_the_state_already_is_served_short(home: Path, wire: Wire) -> None:
    """By whatever it was written: a list with eight such runs was more than clients accept."""
    ids = [(await wire.run("people:v1", "people.csv", force_rerun=True))["id"] for _ in range(8)]
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as state, state:
        state.execute("UPDATE runs SET status = 'FAILED', error_message = ?", ["x" * 4 * MIB])
    listed = (await wire.ask("GET", "/v1/runs?limit=100")).document["items"]
    for run in (*listed, (await wire.get(ids[0])).document):
        assert len(run["metadata"]["error_message"]) <= LIMIT
        assert "(4,194,304 characters)" in run["metadata"]["error_message"]
    assert len(listed) == 8


Request = tuple[str, str, dict[str, Any]]


def post(**body: Any) -> Request:
    return "POST", "/v1/runs", {"json": {"flow_version": "people:v1", "source_path": "people.csv", **body}}


def raw(data: str, content_type: str = "application/json") -> Request:
    return "POST", "/v1/runs", {"data": data, "headers": {"Content-Type": content_type}}


def put(**changes: Any) -> Request:
    return "PUT", "/v1/flows/people/versions/v3", {"json": people(version="v3", **changes)}


HUGE_BODY = HUGE[:900_000]
HUGE_URL = "x" * 7000
LONG: dict[str, Request] = {
    "a member": post(**{HUGE: 1}),
    "a flow version": post(flow_version=HUGE_BODY),
    "an unknown flow version": post(flow_version="a" * 256, source_path="a" * 4096),
    "a source path": post(source_path=HUGE_BODY),
    "a long source path": post(source_path="/" + "a" * 4000),
    "metadata": post(run_metadata={HUGE_BODY: 1e30}),
    "a webhook": post(webhook_url="http://" + "a" * 2000),
    "no JSON": raw(HUGE),
    "a constant": raw('{"a": NaN}' + HUGE_BODY),
    "a member twice": raw(f'{{"{HUGE_BODY[:400_000]}": 1, "{HUGE_BODY[:400_000]}": 2}}'),
    "a content type": raw("{}", f"x/{HUGE_URL}"),
    "a path": ("GET", f"/{HUGE_URL}", {}),
    "a run": ("GET", f"/v1/runs/{HUGE_URL}", {}),
    "an output": ("GET", f"/v1/runs/run_1/outputs/{HUGE_URL}", {}),
    "a file of the console": ("GET", f"/console/files/{HUGE_URL}", {}),
    "a file of the documentation": ("GET", f"/docs/{HUGE_URL}", {}),
    "a host": ("GET", "/", {"headers": {"Host": HUGE_URL}}),
    "a parameter": ("GET", f"/v1/runs?{HUGE_URL}=1", {}),
    "a status": ("GET", f"/v1/runs?status={HUGE_URL}", {}),
    "a time": ("GET", f"/v1/runs?since={HUGE_URL}", {}),
    "a cursor": ("GET", f"/v1/runs?cursor={HUGE_URL}", {}),
    "an upload": ("PUT", f"/v1/uploads/{HUGE_URL}", {"data": b"x"}),
    "a method": ("GET", f"/v1/uploads/{HUGE_URL}", {}),
    "a flow's name": ("PUT", f"/v1/flows/{HUGE_URL}/versions/v1", {"json": people()}),
    "a column": put(columns={HUGE_BODY: {}}),
    "a member of a flow": put(**{HUGE_BODY: 1}),
    "a value of a flow": put(description=[HUGE_BODY]),
    "an expression": put(columns={"id": {"sql": f"no_such_function('{HUGE_BODY}')"}}),
}


async def test_no_request_makes_a_long_answer(server: lume_local.Server, wire: Wire) -> None:
    for name, (method, path, options) in LONG.items():
        async with wire.session.request(method, path, **options) as response:
            body = await response.read()
        assert response.status >= 400, name
        document = json.loads(body)
        assert max(map(len, texts(document))) <= LIMIT, name
        assert len(body) < 4000, name
        detail = document["detail"]
        if HUGE_URL in path and "xxx" in detail:
            assert re.search(r" … \([\d,]+ characters\) … ", detail), detail


async def test_an_exception_of_the_client_is_short() -> None:
    with pytest.raises(lume_async.InvalidRequestError) as refused:
        lume_async.RunRequest("people:v1", HUGE)
    assert len(str(refused.value)) <= LIMIT
    with pytest.raises(lume_async.ConfigurationError) as wrong:
        lume_async.Client(base_url=f"ftp://{HUGE}", api_key="k")
    assert len(str(wrong.value)) <= LIMIT
    error = lume_async.ApiTimeoutError(f"a\0{HUGE}", status_code=500)
    assert len(str(error)) <= LIMIT
    assert "(1,000,002 characters)" in str(error)
    assert "\0" not in str(error)
