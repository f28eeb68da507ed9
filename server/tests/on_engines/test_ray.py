"""The executor on a Ray of this machine, by Ray Client. It is killed in the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from local.shards import contract, tasks
from on_engines.twice import same_as_alone

from lume_local._shards.engines.ray import Ray
from lume_local._shards.executor import ExecutorLost

pytestmark = [
    pytest.mark.timeout(500),
    # Ray's own threads and processes, once its head is killed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TESTS = str(Path(__file__).parents[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A node with a Ray Client server, in a group of processes of its own."""
    port, folder = free_port(), tmp_path_factory.mktemp("ray")
    words = ["--head", "--block", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    ports = [f"--port={free_port()}", f"--ray-client-server-port={port}", "--node-ip-address=127.0.0.1"]
    command = [str(Path(sys.executable).with_name("ray")), "start", *words, *ports]
    settings = {
        "PYTHONPATH": TESTS,
        "RAY_TMPDIR": f"/tmp/{folder.name}-{port}",
        "RAY_AUTH_MODE": "disabled",
        # Else four of ten processes that it forks for clients die of gRPC's fork handlers; it waits 30 s for each.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
    with subprocess.Popen(command, start_new_session=True, env=os.environ | settings) as head:
        try:
            limit = time.monotonic() + 100
            while time.monotonic() < limit and head.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"ray://127.0.0.1:{port}", head
        finally:
            kill(head)


def kill(head: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)


def test_ray(
    tmp_path: Path, head: tuple[str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, node = head
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with Ray(url) as executor:
        contract.keeps_the_order(executor)
        contract.begins_a_killed_task_again(executor, tmp_path)
        contract.gives_up_a_task_that_is_killed_every_time(executor, tmp_path)
        contract.stops_its_tasks(executor, tmp_path)
        contract.says_what_raised(executor)
        same_as_alone(tmp_path, url)

        mark, killed = tmp_path / "again", []

        def pause() -> None:
            if mark.exists() and not killed:
                killed.append(True)
                kill(node)

        with pytest.raises(ExecutorLost, match="the engine ray://"):
            list(executor.map(tasks.work_on, [{"mark": str(mark)}], pause))


def test_nobody_listens() -> None:
    with pytest.raises(ExecutorLost, match=r"the engine ray://127.0.0.1:1 can't be reached: \[Errno 111\]"):
        Ray("ray://127.0.0.1:1").__enter__()
