"""The executors on a Spark of this machine: with a driver of its own, and by Spark Connect. Each is killed."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from components import component
from local import processes
from local.shards import contract, tasks
from on_engines.twice import same_as_alone

from lume_local._shards.engines.spark import Spark
from lume_local._shards.executor import ExecutorLost

component("java")
pytestmark = [
    pytest.mark.timeout(500),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]
TESTS = str(Path(__file__).parents[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def connect() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Spark Connect server."""
    port, home = free_port(), Path(pyspark.__file__).parent
    settings = {"spark.connect.grpc.binding.port": port, "spark.ui.enabled": "false"}
    given = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    kind = ("--class", "org.apache.spark.sql.connect.service.SparkConnectServer")
    command = [str(home / "bin/spark-submit"), "--master", "local[2,3]", *given, *kind, "spark-internal"]
    environment = os.environ | {"PYTHONPATH": TESTS, "PYSPARK_PYTHON": sys.executable}
    with subprocess.Popen(command, start_new_session=True, env=environment) as server:
        try:
            limit = time.monotonic() + 100
            while time.monotonic() < limit and server.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"sc://127.0.0.1:{port}", server
        finally:
            server.kill()


def lives_on(executor: Spark, tmp_path: Path) -> None:
    contract.keeps_the_order(executor)
    contract.begins_a_killed_task_again(executor, tmp_path)
    contract.gives_up_a_task_that_is_killed_every_time(executor, tmp_path)
    contract.stops_its_tasks(executor, tmp_path)
    contract.says_what_raised(executor)


def is_lost(executor: Spark, mark: Path, pid: int) -> None:
    with pytest.raises(ExecutorLost, match="the engine s"):
        list(
            executor.map(tasks.work_on, [{"mark": str(mark)}], contract.killing(mark, lambda _: pid)),
        )


def java() -> int:
    """The driver that this process has started."""
    (found,) = [
        pid for pid in processes.children(os.getpid()) if b"java" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


def test_a_driver_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    with Spark("spark-local://2") as executor:
        lives_on(executor, tmp_path)
        is_lost(executor, tmp_path / "again", java())


def test_spark_connect(
    tmp_path: Path, connect: tuple[str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = connect
    with Spark(url) as executor:
        lives_on(executor, tmp_path)
    same_as_alone(tmp_path, url)
    with Spark(url) as executor:
        is_lost(executor, tmp_path / "again", server.pid)


def test_nobody_listens() -> None:
    for url in ("sc://127.0.0.1:1/;token=secret", "spark://127.0.0.1:1"):
        words = rf"the engine {url.partition('/;')[0]} can't be reached: \[Errno 111\] Connection refused"
        with pytest.raises(ExecutorLost, match=words) as raised:
            Spark(url).__enter__()
        assert "secret" not in str(raised.value)
