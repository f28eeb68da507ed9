"""Two servers with one state: whatever happens to one of them, the other goes on with its work."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import moto_server
import postgres_server
import pytest
from components import component
from local import stores
from local.runs.recovery.servers_oracle import Clients, write_flows
from local.several_servers import KEY, Cluster, Member

from lume_local._runs.postgres.lease import LEASE

component("haproxy")
pytestmark = pytest.mark.timeout(180)
TAKEN_WITHIN = 10.0
"""Seconds after which the other server must work."""


@pytest.fixture
async def clients(
    tmp_path: Path, own_postgres: postgres_server.Server, moto: moto_server.Bucket
) -> AsyncIterator[Clients]:
    moto.empty()
    kinds = ["files", "table", "objects"]
    write_flows(tmp_path / "flows", kinds)
    own_postgres.execute("DROP TABLE IF EXISTS public.people, public._lume_loads")
    environment = {**moto_server.KEYS, "AWS_ENDPOINT_URL": moto.url, "WAREHOUSE_URL": own_postgres.url}
    with stores.database(own_postgres) as url:
        cluster = Cluster(tmp_path, own_postgres, url, environment)
        roots = [str(tmp_path), f"s3://{moto_server.BUCKET}"]
        async with cluster.running(max_active=2, roots=roots):
            yield Clients(cluster, kinds)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[postgres_server.Server]:
    """One that a test may crash."""
    with postgres_server.running() as server:
        yield server


@pytest.mark.thorough
async def test_the_other_server_takes_over(clients: Clients) -> None:
    """One after the other: the process dies, it is stopped for longer than its lease."""
    cluster = clients.cluster
    harms: list[Callable[[Member], Awaitable[None]]] = [
        cluster.kill,
        lambda one: cluster.freeze(one, 8),
    ]
    async with clients.following(), asyncio.TaskGroup() as work:
        for _ in range(4):
            work.create_task(clients.work(2))
        for harm in harms:
            first = await cluster.until_one_works()
            pid, starts = first.pid, first.starts
            harmed = work.create_task(done(harm(first)))
            await cluster.until_one_works(TAKEN_WITHIN, besides=pid)  # a new process of it may be first, too
            await harmed
            async with asyncio.timeout(20):
                while first.starts == starts:
                    await asyncio.sleep(0.05)
        clients.enough.set()
    clients.judge()


async def done(harm: Awaitable[None]) -> None:
    await harm


@pytest.mark.thorough
async def test_a_server_that_ends_gives_the_state_to_the_other_at_once(clients: Clients) -> None:
    cluster = clients.cluster
    first = await cluster.until_one_works()
    await until_it_stands_by(next(one for one in cluster.members if one is not first))
    began = asyncio.get_running_loop().time()
    pid = first.pid
    os.kill(pid, signal.SIGINT)
    await cluster.until_one_works(TAKEN_WITHIN, besides=pid)
    assert asyncio.get_running_loop().time() - began < LEASE


async def test_what_a_server_answers_that_waits(clients: Clients) -> None:
    first = await clients.cluster.until_one_works()
    (other,) = (one for one in clients.cluster.members if one is not first)
    await until_it_stands_by(other)
    url = f"http://127.0.0.1:{other.port}"
    async with aiohttp.ClientSession(url, headers={"lume-api-key": KEY}) as session:
        for path in ("/readyz", "/healthz", "/v1/runs", "/nothing"):
            async with session.get(path) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert (await answer.json())["type"] == "urn:lume:problem:unavailable"
                assert answer.headers["Connection"] == "close"


async def until_it_stands_by(member: Member) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession(f"http://127.0.0.1:{member.port}") as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get("/livez") as answer:
                    assert answer.status == 200
                    return
            await asyncio.sleep(0.05)
