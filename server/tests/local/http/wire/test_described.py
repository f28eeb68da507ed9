"""The running server against openapi.yaml, both ways: routes, methods, headers, statuses of faults."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.http.access.test_keys import entry
from local.http.wire.test_listener import connection
from local.routes import ROUTES, needed
from local.wire import SPEC, Answer, Wire, check

import lume_local
from lume_local._http import front
from lume_local._http.access import limits
from lume_local._http.access.keys import Role
from lume_local._runs.store.records import StoreUnavailable

FOR_PEOPLE = {
    "/",
    "/console/files/{file}",
    "/console/issuers",
    "/console/session",
    "/console/links",
    "/docs",
    "/docs/{file}",
    "/metrics",
}
"""Pages, and what only they use: not part of the contract."""
VALUES = {"run_id": "run_0", "flow": "people", "version": "v1", "name": "a.csv", "output": "mapped"}
FAULTS = {"400", "401", "403", "405", "408", "413", "415", "429", "500", "503"}
"""Statuses that say nothing about what a request names: each is described exactly where a request can get it."""


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each."""
    for path, described in SPEC["paths"].items():
        for method, operation in described.items():
            if method != "parameters":
                yield method.upper(), path, operation


def test_the_routes_are_those_of_the_document() -> None:
    described = {(method, path) for method, path, _ in operations()}
    heads = {("HEAD", path) for method, path in described if method == "GET"}
    assert {(method, path) for method, path in ROUTES if path not in FOR_PEOPLE} == described | heads
    assert {path for _, path in ROUTES} >= FOR_PEOPLE


@pytest.fixture
async def server(home: Path) -> AsyncIterator[lume_local.Server]:
    (home / "keys.toml").write_text(entry("read"))
    folders = home / "flows", home / ".lume", [home]
    async with lume_local.serve(
        *folders, keys=home / "keys.toml", max_upload_bytes=1000, max_active=1
    ) as server:
        yield server


PART = {
    "Content-Type": "application/partial-upload",
    "Upload-Offset": "0",
    "Upload-Complete": "?0",
}
"""What a PATCH needs for its body to be read, beside an upload that has begun."""


async def unfinished(server: lume_local.Server, method: str, path: str) -> int:
    """The status for a request whose body never arrives."""
    more = "".join(f"{name}: {value}\r\n" for name, value in PART.items()) if method == "PATCH" else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nlume-api-key: {server.api_key}\r\n{more}\r\n"
    async with connection(server) as (reader, writer):
        writer.write(head.encode())
        return int((await reader.readline()).split()[1])


async def test_the_faults_that_a_request_may_have(
    server: lume_local.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AT_ONCE", 1_000_000)
    wire, reader, nobody = (Wire(server.base_url, key) for key in (server.api_key, "read", "wrong"))
    async with wire.session, reader.session, nobody.session:
        for method, path, described in operations():
            place, statuses = path.format(**VALUES), set[str]()

            async def ask(
                who: Wire, method: str = method, place: str = place, seen: set[str] = statuses, **options: Any
            ) -> Answer:
                answer = await who.ask(method, place, **options)  # which holds it against the document
                seen.add(str(answer.status))
                return answer

            if method == "PATCH" and "name" in path:
                await wire.ask("PUT", place, data=b"", headers={"Upload-Complete": "?0"})
                await ask(wire, data=b"x" * 1001, headers=PART)
                await wire.ask("PUT", place, data=b"", headers={"Upload-Complete": "?0"})
            assert (await ask(wire, place=f"{place}?nonsense=1")).kind == "invalid-query", (method, path)
            assert (await ask(wire, "OPTIONS")).headers["Allow"] == allowed(path), path
            await ask(wire, data=io.BytesIO(b"x" * 1_100_000))
            await ask(wire, data=b"x", headers={"Content-Encoding": "gzip"})
            await ask(nobody)
            await ask(reader, headers={"Content-Encoding": "gzip"})
            with monkeypatch.context() as patch:
                patch.setattr(front, "BODY_LIMIT", 0.01)
                patch.setattr(front, "CHUNK_LIMIT", 0.01)
                statuses.add(str(await unfinished(server, method, place)))
            with monkeypatch.context() as patch:
                patch.setattr(limits, "LONGEST", -1e9)
                await ask(nobody)
            for error in (RuntimeError("broken"), StoreUnavailable("away")):
                with monkeypatch.context() as patch:
                    patch.setattr(front, "_ask", raising(error))
                    await ask(wire)
            assert statuses & FAULTS == set(described["responses"]) & FAULTS, (method, path)
            assert ("403" in statuses) is (needed(method, path) > Role.READ), (method, path)


def allowed(path: str) -> str:
    methods = {method for method, other, _ in operations() if other == path}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def raising(error: Exception) -> Any:
    async def ask(*_: object) -> None:
        raise error

    return ask


async def test_a_head_is_answered_as_a_get_without_the_body(server: lume_local.Server) -> None:
    wire = Wire(server.base_url, server.api_key)
    async with wire.session as http:
        for path in sorted({path for method, path, _ in operations() if method == "GET"}):
            place = path.format(**VALUES)
            async with http.get(place) as got, http.head(place) as head, http.get(place) as again:
                assert (head.status, await head.read()) == (got.status, b""), path
                assert {*head.headers} == {*got.headers}, path
                assert head.headers["Content-Type"] == got.headers["Content-Type"], path
                # Some texts grow meanwhile, as that of the health with the first backup.
                lengths = {len(await got.read()), len(await again.read())}
                assert int(head.headers["Content-Length"]) in lengths, path


def test_what_the_document_does_not_describe_is_found() -> None:
    """The check that every test uses can fail."""
    from multidict import CIMultiDict

    fine = {
        "X-Request-Id": "1",
        "Lume-Capabilities": "idempotency, wait, changes, cancel, table",
        "Date": "now",
        "Content-Type": "application/json",
        "X-Content-Type-Options": "nosniff",
    }
    document = json.loads((Path(__file__).parents[5] / "tests/contract/health.json").read_text())
    check("GET", "/healthz", Answer(200, CIMultiDict(fine), document))
    for headers in (fine | {"X-Other": "1"}, {**fine, "X-Content-Type-Options": "other"}):
        with pytest.raises(AssertionError):
            check("GET", "/healthz", Answer(200, CIMultiDict(headers), document))
    with pytest.raises(KeyError):
        check("GET", "/healthz", Answer(418, CIMultiDict(fine), document))
