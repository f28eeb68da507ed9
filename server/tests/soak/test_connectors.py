"""Servers and workers killed while they load a table, update one, or upload an object: `./scripts/soak connectors`.

SOAK_SEED chooses other moments (0 by default), SOAK_KILLS how many kills for each of the three (50 by default).

Most kills come when a run has begun something outside of its folder. After every kill the next server must find each
run ended, its rows in the target all or not at all; at the end each source is there once, and no upload is left over.
"""

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import moto_server
import postgres_server
import pytest
from local.processes import gone, workers
from local.servers import Process, process
from local.wire import Wire

SEED = int(os.environ.get("SOAK_SEED", "0"))
KILLS = int(os.environ.get("SOAK_KILLS", "50"))
ROWS = 20_000
REJECTED = ROWS // 200
pytestmark = pytest.mark.timeout(7200)

FLOW = """
flow = "orders"
version = "v1"
[target]
TARGET
[columns.id]
type = "integer"
required = true
unique = true
[columns.amount]
type = "number"
sql_type = "DECIMAL(12,2)"
minimum = 0
"""


class Place(Protocol):
    target: str
    roots: tuple[str, ...]

    def rows_of(self, run_id: str) -> int: ...
    def check_at_the_end(self, rows: int) -> None: ...


class Table:
    """A table of PostgreSQL."""

    roots = ()

    def __init__(self, server: postgres_server.Server, mode: str) -> None:
        key = ', key = ["id"]' if mode == "upsert" else ""
        self.target = f'mapped = {{ url_env = "WAREHOUSE_URL", table = "clean", mode = "{mode}"{key} }}'
        self._server = server
        server.execute("DROP TABLE IF EXISTS clean, _lume_loads")
        server.execute("CREATE TABLE clean (id bigint PRIMARY KEY, amount numeric(12,2), _lume_run_id text)")

    def rows_of(self, run_id: str) -> int:
        return self._server.execute("SELECT count(*) FROM clean WHERE _lume_run_id = %s", [run_id])[0][0]

    def check_at_the_end(self, rows: int) -> None:
        assert self._server.execute("SELECT count(*) FROM clean") == [(rows,)]
        (loads,) = self._server.execute("SELECT count(*) FROM _lume_loads")
        assert loads == self._server.execute("SELECT count(DISTINCT _lume_run_id) FROM clean")[0]


class Objects:
    """Objects in a bucket."""

    roots = (f"s3://{moto_server.BUCKET}",)
    target = "\n".join(
        f'{part} = "s3://{moto_server.BUCKET}/out/{{run_id}}/{part}.csv"' for part in ("mapped", "rejects")
    )

    def __init__(self, bucket: moto_server.Bucket) -> None:
        self._bucket = bucket
        bucket.empty()

    def rows_of(self, run_id: str) -> int:
        names = [name for name in self._bucket.names() if name.startswith(f"out/{run_id}/")]
        if not names:
            return 0
        mapped, rejects = (self._bucket.get(name) for name in names)
        assert rejects.count(b"\n") == REJECTED + 1
        return mapped.count(b"\n") - 1

    def check_at_the_end(self, rows: int) -> None:
        assert self._bucket.uploads() == []


@pytest.fixture(params=["append", "upsert", "s3"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if request.param == "s3":
        with moto_server.running() as bucket:
            moto_server.in_environment(bucket, monkeypatch)
            yield Objects(bucket)
    else:
        with postgres_server.running() as server:
            monkeypatch.setenv("WAREHOUSE_URL", server.url)
            yield Table(server, request.param)


def write_source(home: Path, number: int) -> str:
    ids = range(number * ROWS, (number + 1) * ROWS)
    rows = "".join(f"{n},{'-1' if n % 200 == 0 else '2.50'}\n" for n in ids)
    (home / f"{number}.csv").write_text("id,amount\n" + rows)
    return f"{number}.csv"


async def something_has_begun(home: Path) -> None:
    """Until a run has begun what must be undone or finished, or all of them have ended meanwhile."""
    deadline = asyncio.get_running_loop().time() + 5
    while not any(list(home.glob(f".lume/state/runs/*/{name}.json")) for name in ("begun", "commit")):
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.002)


async def kill(server: Process, dice: random.Random) -> None:
    """The workers, the server, or both."""
    pids = workers(server.pid)
    whom = dice.choice(["workers", "server", "both"])
    for pid in pids if whom != "server" else ():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if whom == "workers":
        await asyncio.sleep(dice.uniform(0, 0.2))
    server.kill()
    await server.wait()
    assert await gone(pids)


async def judge(wire: Wire, place: Place, accepted: dict[str, str]) -> list[str]:
    """The sources that are to be sent again."""
    again = []
    for source, run_id in accepted.items():
        run: dict[str, Any] = await wire.until(run_id)
        rows = place.rows_of(run_id)
        if run["status"] == "PARTIAL_FAILED":
            assert rows == ROWS - REJECTED == run["metadata"]["metrics"]["rows_mapped"]
        else:
            assert (run["status"], rows) == ("CRASHED", 0), run["metadata"]["error_message"]
            again.append(source)
    accepted.clear()
    return again


async def submit(wire: Wire, sources: list[str], accepted: dict[str, str], key: Callable[[str], str]) -> None:
    for source in sources:
        try:
            answer = await wire.submit("orders:v1", source, key=key(source))
        except (aiohttp.ClientError, ConnectionError):
            return
        assert answer.status in (200, 201), answer.document
        accepted[source] = answer.document["id"]


async def test_kills(tmp_path: Path, place: Place) -> None:
    dice = random.Random(SEED)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/orders.v1.toml").write_text(FLOW.replace("TARGET", place.target))
    options: dict[str, Any] = {"roots": [str(tmp_path), *place.roots], "max_active": 2, "keep": None}
    accepted: dict[str, str] = {}
    again: list[str] = []
    crashed = 0
    for number in range(KILLS):
        async with process(tmp_path, **options) as (server, wire):
            again = await judge(wire, place, accepted)
            crashed += len(again)
            sources = [*again, write_source(tmp_path, number)]
            await submit(wire, sources, accepted, lambda source, n=number: f"{source}-{n}")
            if dice.random() < 0.8:
                await something_has_begun(tmp_path)
            await asyncio.sleep(dice.uniform(0, 0.3))
            await kill(server, dice)
    async with process(tmp_path, **options) as (_, wire):
        again = await judge(wire, place, accepted)
        crashed += len(again)
        await submit(wire, again, accepted, lambda source: f"{source}-last")
        assert await judge(wire, place, accepted) == []
    place.check_at_the_end(KILLS * (ROWS - REJECTED))
    assert not list(tmp_path.glob(".lume/state/runs/*"))
    print(f"{KILLS} kills: {KILLS} sources, each there once; {crashed} runs crashed and left nothing")
