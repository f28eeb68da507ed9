"""Under trio every operation says in one sentence what is wrong, and what to do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import lume_async
import lume_sync
from lume_async import Client, RunRequest

FLOW = Path(__file__).parents[2] / "examples/flows/customer_cleaner.v1.toml"
REQUESTS = [RunRequest("flow:v1", "a.csv")]


async def drained(items: AsyncIterator[Any]) -> None:
    async for _item in items:
        pass


async def monitored(client: Client) -> None:
    async with client.monitor() as monitor:
        monitor.add("run_1")
        await anext(monitor)


OPERATIONS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "run": lambda client: client.run("flow:v1", "a.csv"),
    "run_status": lambda client: client.run_status("run_1"),
    "wait": lambda client: client.attach("run_1").wait(),
    "refresh": lambda client: client.attach("run_1").refresh(),
    "cancel": lambda client: client.attach("run_1").cancel(),
    "watch": lambda client: drained(client.watch("run_1")),
    "wait_for_run_completion": lambda client: client.wait_for_run_completion("run_1"),
    "as_completed": lambda client: drained(client.as_completed(["run_1"])),
    "wait_all": lambda client: client.wait_all(["run_1"]),
    "run_many": lambda client: drained(client.run_many(REQUESTS)),
    "progress": lambda client: drained(lume_async.progress(client.run_many(REQUESTS))),
    "monitor": monitored,
    "list_runs": lambda client: drained(client.list_runs()),
    "upload_file": lambda client: client.upload_file(__file__),
    "register_flow": lambda client: client.register_flow({"flow": "f", "version": "v1"}),
    "register_flow, a file": lambda client: client.register_flow(FLOW),
    "flow_version": lambda client: client.flow_version("f:v1"),
    "list_flows": lambda client: drained(client.list_flows()),
    "rejects": lambda client: drained(client.attach("run_1").rejects()),
    "to_pandas": lambda client: client.attach("run_1").mapped().to_pandas(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_clear_sentence(name: str) -> None:
    async def main() -> None:
        client = Client("test-key", base_url="http://lume.test")
        with trio.fail_after(60):  # the first one imports pandas
            await OPERATIONS[name](client)

    with pytest.raises(RuntimeError, match=r"lume_async runs on asyncio.* does not run on trio.*lume_sync"):
        trio.run(main)


def test_with_a_journal_too(tmp_path: Path) -> None:
    async def main() -> None:
        client = Client("test-key", base_url="http://lume.test")
        await drained(client.run_many(REQUESTS, journal=tmp_path / "journal.db"))

    with pytest.raises(RuntimeError, match="lume_async runs on asyncio"):
        trio.run(main)


def test_what_the_sentence_says_works() -> None:
    client = lume_sync.Client("test-key", base_url="http://127.0.0.1:1", retry=lume_sync.Retry(attempts=1))

    async def main() -> None:
        with pytest.raises(lume_sync.ApiConnectionError):
            await trio.to_thread.run_sync(client.run_status, "run_1")
        await trio.to_thread.run_sync(client.close)

    trio.run(main)
