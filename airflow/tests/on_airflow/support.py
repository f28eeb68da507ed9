"""What a task is given by Airflow, as far as the operators use it."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

import lume_async
from lume_airflow import _supervisor
from lume_airflow._identity import TaskTry
from lume_async.testing import FakeAnswer, FakeRequest, run_json

ROOT = Path(__file__).parents[3]


class Service(NamedTuple):
    """Where the server is, where the sources of the present test are, and when it began."""

    base_url: str
    api_key: str
    folder: Path
    since: datetime


def this_dag() -> str:
    """A DAG for each test, so that no other test has its keys."""
    return os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]


def task_try(**others: Any) -> TaskTry:
    """A try of the test's task."""
    return TaskTry(**{"dag_id": this_dag(), "run_id": "manual__1", "task_id": "clean", **others})


class FakeTI:
    """A task instance: its place, its tries, and the XComs that were pushed."""

    def __init__(self, *, try_number: int = 1, max_tries: int = 0, map_index: int = -1, **place: str) -> None:
        self.dag_id = place.get("dag_id", this_dag())
        self.run_id = place.get("run_id", "manual__1")
        self.task_id = place.get("task_id", "clean")
        self.map_index = map_index
        self.try_number = try_number
        self.max_tries = max_tries
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.xcoms.get(key)


def context(**ti: Any) -> dict[str, Any]:
    return {"ti": FakeTI(**ti)}


async def events(trigger: Any) -> list[Any]:
    """What the triggerer would see."""
    return [event async for event in trigger.run()]


async def runs(server: Service) -> list[Any]:
    """The server's count is the judge: every run of the test's sources, newest first."""
    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        known = [run async for run in client.list_runs(since=server.since)]
    return [run for run in known if server.folder in Path(run.source_path).parents]


async def ended(server: Service, *, of: str = "clean") -> list[str]:
    """The statuses of the runs of that task, when all runs of the test have ended."""
    with anyio.fail_after(50):
        while not all(run.is_terminal for run in await runs(server)):
            await anyio.sleep(0.05)
    told = [((run.run_metadata or {}).get("airflow", {}), run) for run in await runs(server)]
    return [str(run.status) for place, run in told if place.get("task_id") == of]


async def keep_busy(server: Service, sources: Any) -> None:
    """Runs of somebody else, so that the next one waits for its turn."""
    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        for n in range(6):
            metadata = {"airflow": {"task_id": "other"}}
            await client.run("customer_cleaner:v1", sources.good(f"other{n}.csv"), metadata)


def use(monkeypatch: pytest.MonkeyPatch, base_url: str, api_key: str) -> None:
    """Make it the connection `lume_default`."""
    told = {"conn_type": "lume", "host": base_url, "password": api_key}
    monkeypatch.setenv("AIRFLOW_CONN_LUME_DEFAULT", json.dumps(told))
    _supervisor._QUESTIONS.clear()  # nobody takes an answer from before


class Keyless:
    """A server without idempotency keys, and where `lists` is false without a list of runs."""

    def __init__(self, *, lists: bool = True) -> None:
        self.lists = lists
        self.runs: list[dict[str, Any]] = []
        self.most = 0  # unfinished at once

    def __call__(self, request: FakeRequest) -> FakeAnswer:
        if request.path.endswith("/cancel"):
            (run,) = (run for run in self.runs if run["id"] in request.path)
            run["status"] = "CANCELLED"
            return FakeAnswer(202, run)
        if request.method == "POST":
            said = {**request.json(), "created_at": datetime.now(UTC).isoformat()}
            self.runs.insert(0, run_json(f"run_{len(self.runs)}", "TRANSFORMING", **said))
            self.most = max(self.most, sum(run["status"] == "TRANSFORMING" for run in self.runs))
            return FakeAnswer(201, self.runs[0])
        if request.path.startswith("/v1/runs?"):
            return (
                FakeAnswer(200, {"items": self.runs, "next_cursor": None})
                if self.lists
                else FakeAnswer(405, {})
            )
        if request.path.startswith("/v1/runs/"):
            (run,) = (run for run in self.runs if run["id"] in request.path)
            run["status"] = "SUCCEEDED"
            return FakeAnswer(200, run)
        return FakeAnswer(200, {})
