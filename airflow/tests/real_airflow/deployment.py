"""The four processes of Airflow, bound to loopback: started, killed and started again."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
AIRFLOW = str(Path(sys.executable).with_name("airflow"))

COMMANDS = {  # without the log servers, which listen on every interface
    "api-server": ["api-server", "--host", "127.0.0.1"],
    "dag-processor": ["dag-processor"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Deployment:
    """Airflow in a folder of its own.

    Args:
        database: PostgreSQL's address.
        lume: the address and the key of the Lume server.
    """

    def __init__(self, home: Path, database: str, lume: tuple[str, str], dags: Path = HERE / "dags") -> None:
        self.home = home
        self.database = database
        self.port = free_port()
        self.lineage = home / "lineage.jsonl"
        self.env = {**os.environ, **self._settings(lume, dags)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _settings(self, lume: tuple[str, str], dags: Path) -> dict[str, str]:
        address, key = lume
        connection = {"conn_type": "lume", "host": address, "password": key}
        told = {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "8",
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": "3000",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_FOLDER": str(dags),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "CORE__MAX_MAP_LENGTH": "5000",
            "API__PORT": str(self.port),
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "API_AUTH__JWT_LEEWAY": "60",
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.database}",
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "LOGGING__LOGGING_LEVEL": "WARNING",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # So that a killed process is missed within seconds.
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
            "SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",
            "SCHEDULER__MAX_TIS_PER_QUERY": "64",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "TRIGGERER__CAPACITY": "5000",
            "CONN_LUME_DEFAULT": json.dumps(connection),
            "OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(self.lineage), "append": True}
            ),
            "HOME": str(self.home),
        }
        names = {
            f"AIRFLOW__{name}" if "__" in name else f"AIRFLOW_{name}": value for name, value in told.items()
        }
        return {
            **names,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'airflow/tests'}",
            "LUME_TEST_HOME": str(self.home),
            "no_proxy": "127.0.0.1",
        }

    def migrate(self) -> None:
        """Make the tables."""
        with (self.home / "migrate.log").open("wb") as log:
            subprocess.run(
                [AIRFLOW, "db", "migrate"], env=self.env, stdout=log, stderr=log, check=True, timeout=600
            )

    def start(self, name: str) -> None:
        """Start one of the processes, in a group of its own."""
        log = (self.home / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [AIRFLOW, *COMMANDS[name]], env=self.env, stdout=log, stderr=log, start_new_session=True
        )

    def kill(self, name: str) -> None:
        """`kill -9` of the process and all that it has forked."""
        process = self.processes[name]
        for child in [*descendants(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.wait()

    def restart(self, name: str) -> None:
        """Kill it, and start it anew."""
        self.kill(name)
        self.start(name)

    def kill_tasks(self, *, workers: bool) -> int:
        """`kill -9` of every process that runs a task; how many there were.

        Args:
            workers: also of the executor's processes that supervise them, so that nobody reports the end.
        """
        executors = {pid: descendants(pid) for pid in _children(self.processes["scheduler"].pid)}
        busy = {pid: tasks for pid, tasks in executors.items() if tasks}
        for pid, tasks in busy.items():
            for each in [pid, *tasks] if workers else tasks:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        return len(busy)

    def stop(self) -> None:
        """End everything."""
        for name in self.processes:
            self.kill(name)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@contextmanager
def deployment(home: Path, database: str, lume: tuple[str, str], **others: Any) -> Iterator[Deployment]:
    """All four, until the block ends."""
    made = Deployment(home, database, lume, **others)
    made.migrate()
    try:
        for name in COMMANDS:
            made.start(name)
        yield made
    finally:
        made.stop()


def until(what: str, condition: Any, timeout: float = 300.0, every: float = 0.5) -> Any:
    """Wait for a condition; its value."""
    begun = time.monotonic()
    while not (value := condition()):
        if time.monotonic() - begun > timeout:
            raise TimeoutError(f"not within {timeout:.0f} s: {what}")
        time.sleep(every)
    return value
