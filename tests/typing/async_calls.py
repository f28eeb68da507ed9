"""Calls that type checkers accept or refuse, of the asynchronous API. For mypy and pyright, never run.

Each `type: ignore` is a call that has to be refused: both checkers report one that nothing needs.
"""

# mypy: warn-unused-ignores
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Iterator
from datetime import date
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, Unpack

import pandas
import polars
import pyarrow

import lume_async as lume
from lume_async.testing import fake_client, run_json
from lume_local import Server


class Sent:
    """As Starlette's `UploadFile`."""

    async def read(self, size: int = -1) -> bytes:
        return b""


class Customer(TypedDict):
    id: int
    name: str


def rows() -> Iterator[Customer]:
    yield {"id": 1, "name": "Ann"}


async def later_rows() -> AsyncIterator[dict[str, object]]:
    yield {"id": 1, "since": date(2026, 1, 1)}


async def later_bytes() -> AsyncIterator[bytes]:
    yield b"id\n1\n"


async def accepted(client: lume.Client, run: lume.LumeRun, file: BinaryIO, path: Path) -> None:
    texts: dict[str, str] = {"team": "sales"}
    numbers: dict[str, list[int]] = {"weeks": [1, 2]}
    loaded: dict[str, Any] = {}
    metadata: list[lume.JsonObject] = [texts, numbers, loaded, {"a": {"b": [1, None, "c", True]}}]
    for each in metadata:
        await client.run("f:v1", "a.csv", each)
        lume.RunRequest("f:v1", "a.csv", each)
    await lume.run("f:v1", "a.csv", texts)
    await client.dry_run("f:v1", "a.csv", texts)
    frame = pandas.DataFrame({"id": [1]})
    other = polars.DataFrame({"id": [1]})
    table = pyarrow.table({"id": [1]})
    dicts = [{"id": 1}, {"id": 2}]
    several: list[lume.SourceData] = [
        *(frame, other, table, dicts, rows(), later_rows(), later_bytes(), [b"id", b"1"]),
        *("a.csv", path, b"id\n", bytearray(b"id\n"), memoryview(b"id\n"), file, BytesIO(b"id\n"), Sent()),
        *([{"price": Decimal(1), "since": date(2026, 1, 1)}], ({"id": n} for n in range(3))),
    ]
    for data in several:
        await client.run("f:v1", data=data)
    await client.run("f:v1", data=frame, seeds={"countries": other})
    await client.run("f:v1", data=other)
    await client.run("f:v1", data=table)
    await client.run("f:v1", data=rows())
    await client.run("f:v1", data=dicts)
    await client.run("f:v1", data=file)
    with path.open("rb") as opened:
        await client.upload(opened)
    await run.resubmit([row async for row in run.rejects()])
    await run.resubmit(await run.rejects().to_polars())
    seeds: dict[str, str] = {"countries": "countries.csv"}
    await client.run("f:v1", "a.csv", seeds=seeds)
    await client.register_flow({"flow": "f", "version": "v1", "columns": {"id": {"from": "ID"}}})


async def refused(client: lume.Client, run: lume.LumeRun, path: Path) -> None:
    await client.run("f:v1", data=3.14)  # type: ignore[arg-type]
    await client.run("f:v1", data=3)  # type: ignore[arg-type]
    await client.run("f:v1", data=object())  # type: ignore[arg-type]
    await client.run("f:v1", data={"id": 1})  # type: ignore[arg-type]
    await client.run("f:v1", data=[1, 2])  # type: ignore[arg-type]
    await client.run("f:v1", data=["id", "1"])  # type: ignore[arg-type]
    await client.run("f:v1", data=StringIO("id"))  # type: ignore[arg-type]
    await client.run("f:v1", data=polars.LazyFrame())  # type: ignore[arg-type]
    await client.run("f:v1", data=print)  # type: ignore[arg-type]
    with path.open() as text:
        await client.upload(text)  # type: ignore[arg-type]
    await client.upload(None)  # type: ignore[arg-type]
    await client.upload(3.14)  # type: ignore[arg-type]
    await run.resubmit(3.14)  # type: ignore[arg-type]
    await lume.run("f:v1", data=3.14)  # type: ignore[arg-type]
    await client.run("f:v1", "a.csv", seeds={"countries": 3.14})  # type: ignore[dict-item]
    await client.run("f:v1", "a.csv", seeds="countries.csv")  # type: ignore[arg-type]
    await client.run("f:v1", "a.csv", {"since": date(2026, 1, 1)})  # type: ignore[dict-item]
    await client.run("f:v1", "a.csv", {"a": {"b": {1, 2}}})  # type: ignore[dict-item]
    await client.run("f:v1", "a.csv", {1: "a"})  # type: ignore[dict-item]
    await client.run("f:v1", "a.csv", "sales")  # type: ignore[arg-type]
    lume.RunRequest("f:v1", "a.csv", {"since": date(2026, 1, 1)})  # type: ignore[dict-item]
    await client.dry_run("f:v1", "a.csv", {"since": date(2026, 1, 1)})  # type: ignore[dict-item]
    await client.run("f:v1", "a.csv", on_duplicate="ignore")  # type: ignore[arg-type]
    await client.register_flow({"since": date(2026, 1, 1)})  # type: ignore[dict-item]
    await client.propose("f", "a.csv", source={"csv": {"delim": date(2026, 1, 1)}})  # type: ignore[dict-item]
    lume.progress([1, 2])  # type: ignore[list-item]
    lume.Summary.of([1, 2])  # type: ignore[list-item]
    (await run.mapped().to_polars()).colums  # type: ignore[attr-defined]  # noqa: B018


class MoreOptions(lume.ClientOptions, total=False):
    team: str


def wrapped(team: str, **options: Unpack[lume.ClientOptions]) -> lume.Client:
    return lume.Client("key", base_url=f"https://{team}.example.com", **options)


def options(server: Server) -> None:
    lume.init("key", retry=lume.Retry(attempts=1), max_connections=5, hooks=[print], token="t", ssl="ca.pem")
    wrapped("sales", max_connections=5)
    server.client(request_timeout=3, max_connections=5)
    fake_client([], api_key=None, token="t", request_timeout=3, max_response_bytes=1)
    lume.init(max_conections=5)  # type: ignore[call-arg]
    lume.init(max_connections="5")  # type: ignore[arg-type]
    lume.init(api_key=5)  # type: ignore[arg-type]
    lume.init(retry=3)  # type: ignore[arg-type]
    lume.Client(max_conections=5)  # type: ignore[call-arg]
    wrapped("sales", max_conections=5)  # type: ignore[call-arg]
    server.client(max_conections=5)  # type: ignore[call-arg]
    fake_client([], max_conections=5)  # type: ignore[call-arg]
    run_json("run_1", "FAILED", metadata={"since": date(2026, 1, 1)})  # type: ignore[dict-item]


class Canned(lume.Transport):
    """One that inherits needs no `aclose`."""

    async def request(self, method: str, path: str, **more: object) -> lume.Response:
        return lume.Response(204)


class Wrapped(Canned):
    def __init__(self, inner: lume.Transport) -> None:
        self._inner = inner


def transports() -> None:
    lume.Client(transport=Canned())
    lume.Client(transport=Wrapped)
    lume.Client(transport=lambda inner: Wrapped(inner))
    lume.Client(transport=Canned)  # type: ignore[arg-type]
    lume.Client(transport=print)  # type: ignore[arg-type]
    lume.Client(transport=5)  # type: ignore[arg-type]


def errors() -> None:
    lume.ApiConnectionError("gone", reached=False, status_code=500)
    lume.DuplicateRunError(run_id="run_1", status_code=409)
    lume.LumeError("gone", status_code=500)  # type: ignore[arg-type]
    lume.ApiConnectionError("gone", status=500)  # type: ignore[call-arg]
