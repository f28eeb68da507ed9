"""A server with a cluster as its engine: its runs, large and small, and what becomes of them without the cluster."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from components import package
from local import processes
from local.flows import PEOPLE_CSV, write_flows
from local.servers import serve
from local.shards import dask_cluster

from lume_async.errors import ConfigurationError
from lume_local._shards.engines.broker import check_workers
from lume_local._shards.engines.pool import Pool
from lume_local._shards.executor import ExecutorLost

package("distributed")
pytestmark = pytest.mark.timeout(120)

LARGE = "id,Email,Age\n" + "".join(f"{n},P{n}@Example.org,{n % 200}\n" for n in range(2000))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dask_cluster.Cluster]:
    with dask_cluster.started(tmp_path_factory.mktemp("dask"), workers=1, threads=3) as cluster:
        yield cluster


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write_flows(tmp_path / "flows")
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    (tmp_path / "large.csv").write_text(LARGE)
    return tmp_path


def output(run: dict[str, Any]) -> dict[str, list[Any]]:
    places = run["metadata"]["target_locations"]
    return {part: duckdb.sql(f"FROM '{place}'").fetchall() for part, place in places.items() if place}


def metrics(run: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run["metadata"]["metrics"].items() if name != "shards"}


async def test_runs_give_what_they_give_without_it(sources: Path, cluster: dask_cluster.Cluster) -> None:
    async with serve(sources) as wire:
        alone = [await wire.run("people:v1", name) for name in ("people.csv", "large.csv")]
    async with serve(sources, engine=cluster.url, shard_bytes=16_000) as wire:
        spread = [await wire.run("people:v1", name, force_rerun=True) for name in ("people.csv", "large.csv")]
    shards = [run["metadata"]["metrics"]["shards"] for run in spread]

    assert [one["count"] for one in shards] == [1, len(LARGE) // 16_000 + 1]
    assert {one["engine"] for one in shards} == {"dask"}
    assert [metrics(run) for run in spread] == [metrics(run) for run in alone]
    assert [output(run) for run in spread] == [output(run) for run in alone]


@pytest.mark.thorough
async def test_as_many_runs_at_a_time_as_it_has_slots(sources: Path, cluster: dask_cluster.Cluster) -> None:
    for n in range(4):
        (sources / f"slow{n}.csv").write_text("id\n" + "".join(f"{row}\n" for row in range(5000)))
    async with serve(sources, engine=cluster.url, max_active=None) as wire:
        runs = [(await wire.submit("slow:v1", f"slow{n}.csv")).document["id"] for n in range(4)]
        for run_id in runs[:3]:
            await wire.until(run_id, "TRANSFORMING")
        assert (await wire.get(runs[3])).document["status"] == "CREATED"
        for run_id in runs:
            await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
        ended = [await wire.until(run_id) for run_id in runs]

    assert {run["status"] for run in ended} == {"CANCELLED"}


@pytest.mark.thorough
async def test_a_lost_cluster_fails_its_runs_and_is_told(tmp_path: Path, sources: Path) -> None:
    (sources / "slow.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(20_000)))
    with dask_cluster.started(tmp_path) as cluster:
        async with serve(sources, engine=cluster.url, shard_bytes=16_000) as wire:
            run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
            await wire.until(run_id, "TRANSFORMING")
            os.kill(cluster.scheduler.pid, signal.SIGKILL)
            run = await wire.until(run_id)
            while (await wire.ask("GET", "/healthz")).status == 200:
                await asyncio.sleep(0.1)
            health = (await wire.ask("GET", "/healthz")).document
    message = run["metadata"]["error_message"]

    assert run["status"] == "FAILED"
    assert message.startswith(f"the engine {cluster.url} ")
    assert message.endswith(". Nothing was written: submit the run again")
    assert run["metadata"]["target_locations"] == {"mapped": None, "rejects": None}
    assert not list((sources / ".lume/state/runs").iterdir())
    assert "the engine: " in health["detail"]


@pytest.mark.thorough
@pytest.mark.usefixtures("real_processes")
async def test_nobody_is_there(sources: Path) -> None:
    before = processes.children(os.getpid())
    with pytest.raises(
        ConfigurationError, match=r"the engine dask://127.0.0.1:1 can't be reached: .*refused"
    ):
        async with serve(sources, engine="dask://someone:secret@127.0.0.1:1"):
            pass
    assert processes.children(os.getpid()) == before


@pytest.mark.thorough
def test_workers_must_see_the_data_folder() -> None:
    # Each process has another file there.
    with (
        Pool(1) as executor,
        pytest.raises(
            ExecutorLost, match=r"can't read /proc/self/stat \(another file is there\): the work folder"
        ),
    ):
        check_workers(executor, "dask://h:1", "/proc/self/stat")
