"""Under trio every operation says in one sentence what is wrong, and what to do."""

from pathlib import Path

import pytest
import trio
from faults.test_cancellation import OPERATIONS

import lume_async
import lume_sync
from lume_async import Client, RunRequest


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_one_clear_sentence(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        client = Client("test-key", base_url="http://lume.test")
        with trio.fail_after(60):  # the first one imports pandas
            await OPERATIONS[name](client, tmp_path)

    with pytest.raises(RuntimeError, match=r"lume_async runs on asyncio.* does not run on trio.*lume_sync"):
        trio.run(main)


def test_so_does_progress() -> None:
    async def main() -> None:
        client = Client("test-key", base_url="http://lume.test")
        await anext(lume_async.progress(client.run_many([RunRequest("flow:v1", "a.csv")])))

    with pytest.raises(RuntimeError, match="lume_async runs on asyncio"):
        trio.run(main)


def test_what_the_sentence_says_works() -> None:
    client = lume_sync.Client("test-key", base_url="http://127.0.0.1:1", retry=lume_sync.Retry(attempts=1))

    async def main() -> None:
        with pytest.raises(lume_sync.ApiConnectionError):
            await trio.to_thread.run_sync(client.run_status, "run_1")
        await trio.to_thread.run_sync(client.close)

    trio.run(main)
