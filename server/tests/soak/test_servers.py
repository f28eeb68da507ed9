"""Two servers over one PostgreSQL, killed, stopped, cut off; PostgreSQL crashes, too: `./scripts/soak servers`.

SOAK_SEED chooses other moments (0 by default), SOAK_KILLS how often something happens (60 by default), SOAK_RUNS how
many sources 8 clients submit at least (2,000 by default). Whatever happens, no run is lost, none is published twice
(files, a table, objects), no wait hangs, and the feed has no gap.
"""

import asyncio
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import moto_server
import postgres_server
import pytest
from local import stores
from local.servers_oracle import Clients, write_flows
from local.several_servers import Cluster

SEED = int(os.environ.get("SOAK_SEED", "0"))
KILLS = int(os.environ.get("SOAK_KILLS", "60"))
RUNS = int(os.environ.get("SOAK_RUNS", "2000"))
CLIENTS = 8
KINDS = ["files", "table", "objects"]
pytestmark = pytest.mark.timeout(7200)


async def harm(cluster: Cluster, dice: random.Random) -> str:
    """Something happens to one of the servers, or to PostgreSQL; what it was."""
    holder = await cluster.until_one_works(90)
    member = holder if dice.random() < 0.8 else dice.choice(cluster.members)
    match dice.choices(["kill", "freeze", "line", "postgres"], [6, 2, 2, 1])[0]:
        case "kill":
            await cluster.kill(member)
            return f"kill -9 of {member.name}"
        case "freeze":
            seconds = dice.uniform(1, 9)
            await cluster.freeze(member, seconds)
            return f"{member.name} stopped for {seconds:.1f} s"
        case "line":
            seconds = dice.choice([2.0, 8.0, 20.0])
            await member.line.down(seconds)
            return f"network of {member.name} down for {seconds:.0f} s"
        case _:
            await cluster.crash_postgres()
            return "pg_ctl stop -m immediate"


async def test_servers() -> None:
    dice, folder = random.Random(SEED), Path(tempfile.mkdtemp(prefix="lume-servers-"))
    write_flows(folder / "flows", KINDS)
    with postgres_server.running() as server, moto_server.running() as bucket:
        bucket.empty()
        environment = {**moto_server.KEYS, "AWS_ENDPOINT_URL": bucket.url, "WAREHOUSE_URL": server.url}
        with stores.database(server) as url:
            cluster = Cluster(folder, server, url, environment)
            roots = [str(folder), f"s3://{moto_server.BUCKET}"]
            async with cluster.running(max_active=2, roots=roots):
                await _soak(Clients(cluster, KINDS), dice)
    shutil.rmtree(folder)


async def _soak(clients: Clients, dice: random.Random) -> None:
    began = time.monotonic()
    async with clients.following(), asyncio.TaskGroup() as work:
        for _ in range(CLIENTS):
            work.create_task(clients.work(RUNS // CLIENTS))
        for number in range(KILLS):
            await asyncio.sleep(dice.uniform(0, 4))
            what = await harm(clients.cluster, dice)
            print(f"{time.monotonic() - began:6.1f} s: {number + 1}/{KILLS} {what}", flush=True)
        await clients.cluster.until_one_works(90)
        clients.enough.set()
    found = clients.judge()
    print(
        f"{len(clients.sources)} sources, {sum(found.values())} runs: {found}, {KILLS} times something happened"
    )
