"""What most providers do: submit on a worker, then a trigger of its own that polls. For comparison only."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from airflow.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

POLL = 5.0
"""Seconds, as in the providers."""


def _session(connection: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connection.host, headers={"lume-api-key": connection.password})


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
            while True:
                async with session.get(f"/v1/runs/{self.run_id}") as answer:
                    status = (await answer.json())["status"]
                if status in ("SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED"):
                    break
                await asyncio.sleep(POLL)
        yield TriggerEvent({"status": status})


class PollingOperator(BaseOperator):
    """Submits, and defers."""

    template_fields = ("source_path",)

    def __init__(self, *, source_path: str, flow_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_path = source_path
        self.flow_version = flow_version

    def execute(self, context: Any) -> None:
        connection = BaseHook.get_connection("lume_default")
        run_id = asyncio.run(self._submit(connection))
        self.defer(trigger=PollingTrigger(run_id), method_name="execute_complete")

    async def _submit(self, connection: Any) -> str:
        body = {"flow_version": self.flow_version, "source_path": self.source_path, "force_rerun": True}
        async with _session(connection) as session, session.post("/v1/runs", json=body) as answer:
            return str((await answer.json())["id"])

    def execute_complete(self, context: Any, event: dict[str, str]) -> None:
        if event["status"] != "SUCCEEDED":
            raise RuntimeError(event["status"])
