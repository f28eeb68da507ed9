"""The executor on a Dask cluster of this machine: a scheduler and two workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from components import package
from local import processes
from local.shards import contract, dask_cluster, tasks

from lume_local._shards.executor import ExecutorLost

package("distributed")
from lume_local._shards.engines.dask import Dask  # noqa: E402 - it needs that package


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dask_cluster.Cluster]:
    with dask_cluster.started(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def executor(cluster: dask_cluster.Cluster) -> Iterator[Dask]:
    with Dask(cluster.url) as executor:
        executor._client.wait_for_workers(2, timeout=100)
        yield executor


@pytest.mark.thorough
def test_it_does_what_executors_do(executor: Dask, tmp_path: Path) -> None:
    contract.keeps_the_order(executor)
    contract.begins_a_killed_task_again(executor, tmp_path)
    contract.gives_up_a_task_that_is_killed_every_time(executor, tmp_path)
    contract.stops_its_tasks(executor, tmp_path)
    contract.says_what_raised(executor)


@pytest.mark.thorough
def test_a_killed_worker_and_a_killed_scheduler(tmp_path: Path) -> None:
    mark, parent = tmp_path / "mark", processes.parent_of
    with dask_cluster.started(tmp_path) as cluster, Dask(cluster.url) as executor:
        executor._client.wait_for_workers(2, timeout=100)
        again = executor.map(
            tasks.work_on_the_first_time,
            [{"mark": str(mark), "value": 7}],
            contract.killing(mark, parent),
        )
        assert [one["value"] for one in again] == [7]

        mark.unlink()
        with pytest.raises(ExecutorLost, match=f"the engine {cluster.url} is gone: its scheduler was lost"):
            list(
                executor.map(
                    tasks.work_on,
                    [{"mark": str(mark)}],
                    contract.killing(mark, lambda _: cluster.scheduler.pid),
                )
            )


def test_nobody_listens() -> None:
    with pytest.raises(ExecutorLost, match=r"the engine dask://127.0.0.1:1 can't be reached: .*refused"):
        Dask("dask://user:secret@127.0.0.1:1").__enter__()
