"""haproxy before the service: it cuts off what is silent, queues, answers for a dead backend, repeats requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from components import component
from faults.programs import free_port, running
from faults.support import FLOW, KEY, SOURCE
from loopback import reset
from run_service import RunService

from lume_async import Client, Retry, RunRequest, SubmissionUnknownError

HAPROXY = component("haproxy")


@dataclass
class Balancer:
    """haproxy's configuration; `defaults` and `server` are further lines of it."""

    folder: Path
    service: RunService
    defaults: str = ""
    server: str = ""
    port: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address, which stays the same when it begins again."""
        self.port = self.port or free_port()
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""
global
    maxconn 200
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 1s
    timeout queue 5s
    timeout http-keep-alive 300ms
    {self.defaults}
listen service
    bind 127.0.0.1:{self.port}
    server one 127.0.0.1:{self.service.port} {self.server}
""")
        async with running(HAPROXY, "-db", "-f", config, port=self.port, log=self.folder / "haproxy.log"):
            yield f"http://127.0.0.1:{self.port}"


def client_at(url: str, **options: object) -> Client:
    return Client(KEY, base_url=url, proxy=False, **options)  # type: ignore[arg-type]


@pytest.mark.thorough
async def test_a_wait_outlives_every_504_and_every_connection_that_is_closed_under_it(tmp_path: Path) -> None:
    """Long polls are held for longer than haproxy's second, and idle connections closed before ours."""
    async with (
        RunService(by_hand=True) as service,
        Balancer(tmp_path, service).running() as url,
        client_at(url) as client,
    ):
        run = await client.run(FLOW, SOURCE)
        waiting = asyncio.create_task(run.wait(timeout=20))
        await asyncio.sleep(2.5)
        assert not waiting.done()
        service.move(service.runs[run.id], "SUCCEEDED")
        assert (await waiting).succeeded

    assert len(service.runs) == 1


@pytest.mark.thorough
async def test_while_there_is_no_backend_nothing_is_lost(tmp_path: Path) -> None:
    """haproxy answers 503 then: the request was sent to nobody."""
    async with RunService(capabilities=()) as service, Balancer(tmp_path, service).running() as url:
        await service.refuse()
        async with client_at(url, retry=Retry(attempts=8)) as client:
            submission = asyncio.create_task(client.run(FLOW, SOURCE, force_rerun=True))
            await asyncio.sleep(1.5)
            assert not submission.done()
            await service.accept()
            assert (await (await submission).wait(timeout=20)).succeeded

    assert len(service.runs) == 1


@pytest.mark.parametrize("capabilities", [("idempotency",), ()], ids=["idempotency", "bare"])
async def test_a_502_after_a_broken_backend_hides_at_most_one_run(
    capabilities: tuple[str, ...], tmp_path: Path
) -> None:
    async with RunService(capabilities=capabilities) as service, Balancer(tmp_path, service).running() as url:
        service.lose(reset(), committed=True)
        async with client_at(url) as client:
            if capabilities:
                await client.run(FLOW, SOURCE, force_rerun=True)
            else:
                with pytest.raises(SubmissionUnknownError):
                    await client.run(FLOW, SOURCE, force_rerun=True)

    assert len(service.runs) == 1


async def test_a_balancer_that_repeats_the_submission_itself_makes_one_run(tmp_path: Path) -> None:
    async with RunService(capabilities=("idempotency",)) as service:
        service.lose(reset(), committed=True)
        repeating = "retry-on all-retryable-errors\n    retries 3"
        async with (
            Balancer(tmp_path, service, defaults=repeating).running() as url,
            client_at(url, retry=Retry(attempts=1)) as client,
        ):
            run = await client.run(FLOW, SOURCE, force_rerun=True)

    assert list(service.runs) == [run.id]
    assert service.count("POST") == 2


@pytest.mark.thorough
async def test_a_balancer_that_begins_again_ends_no_wait(tmp_path: Path) -> None:
    async with RunService(by_hand=True) as service:
        balancer = Balancer(tmp_path, service)
        async with contextlib.AsyncExitStack() as stack:
            async with balancer.running() as url:
                client = await stack.enter_async_context(client_at(url))
                runs = [await client.run(FLOW, f"{number}.csv") for number in range(20)]
                waits = [asyncio.create_task(run.wait(timeout=20)) for run in runs]
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.5)  # every poll is refused
            async with balancer.running():
                for run in runs:
                    service.move(service.runs[run.id], "SUCCEEDED")
                assert all(run.succeeded for run in await asyncio.gather(*waits))


async def test_two_connections_are_enough_for_a_hundred_runs(tmp_path: Path) -> None:
    """haproxy queues what the backend does not take, and answers 503 to what has queued for too long."""
    async with (
        RunService() as service,
        Balancer(tmp_path, service, server="maxconn 2").running() as url,
        client_at(url) as client,
    ):
        requests = [RunRequest(FLOW, f"{number}.csv") for number in range(100)]
        ended = [outcome.result().succeeded async for outcome in client.run_many(requests, timeout=30)]

    assert ended == [True] * 100
    assert len(service.runs) == 100
