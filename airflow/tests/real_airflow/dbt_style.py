"""What most providers do, for comparison: submit on a worker, ask once, then a trigger of its own that polls.

As dbt Cloud's operator, with the retries of a poll that Databricks' has.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from airflow.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

POLL = 5.0
"""Seconds; the providers' defaults are 30 and 60, for jobs that take minutes."""

ATTEMPTS = 3
"""So often is a poll tried, a second apart."""

ENDED = ("SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED")


def _session(connection: Any) -> aiohttp.ClientSession:
    headers = {"lume-api-key": connection.password}
    return aiohttp.ClientSession(connection.host, headers=headers, raise_for_status=True)


async def _status(session: aiohttp.ClientSession, run_id: str) -> str:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with session.get(f"/v1/runs/{run_id}") as answer:
                return str((await answer.json())["status"])
        except (aiohttp.ClientError, TimeoutError):
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(1)
    raise AssertionError("the last attempt returns or raises")


class PollingTrigger(BaseTrigger):
    """Polls one run with a connection of its own."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "real_airflow.dbt_style.PollingTrigger", {"run_id": self.run_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        connection = await BaseHook.aget_connection("lume_default")
        async with _session(connection) as session:
            while (status := await _status(session, self.run_id)) not in ENDED:
                await asyncio.sleep(POLL)
        yield TriggerEvent({"status": status, "run_id": self.run_id})


class PollingOperator(BaseOperator):
    """Submits; defers where the run has not ended by then."""

    template_fields = ("source_path",)

    def __init__(self, *, source_path: str, flow_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_path = source_path
        self.flow_version = flow_version

    def execute(self, context: Any) -> str:
        connection = BaseHook.get_connection("lume_default")
        run_id, status = asyncio.run(self._submit(connection))
        context["ti"].xcom_push(key="run_url", value=f"{connection.host}/#/runs/{run_id}")
        event = {"status": status, "run_id": run_id}
        if status not in ENDED:
            self.defer(trigger=PollingTrigger(run_id), method_name="execute_complete")
        return self.execute_complete(context, event)

    async def _submit(self, connection: Any) -> tuple[str, str]:
        body = {"flow_version": self.flow_version, "source_path": self.source_path, "force_rerun": True}
        async with _session(connection) as session:
            async with session.post("/v1/runs", json=body) as answer:
                run_id = str((await answer.json())["id"])
            return run_id, await _status(session, run_id)

    def execute_complete(self, context: Any, event: dict[str, str]) -> str:
        if event["status"] != "SUCCEEDED":
            raise RuntimeError(event["status"])
        return event["run_id"]
