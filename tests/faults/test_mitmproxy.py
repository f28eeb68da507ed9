"""mitmproxy between the client and the service: a proxy that reads TLS, as in the networks of large companies."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from components import component
from faults.certificates import Authority
from faults.programs import free_port
from faults.support import ENOUGH, FLOW, KEY, SOURCE
from run_service import RunService

from lume_async import ApiConnectionError, Client, Retry, RunRequest

MITMDUMP = component("mitmdump")

ONCE = Retry(attempts=1)
FRAGILE = "fragile"
ADDON = f"""
seen = 0

def response(flow):
    global seen
    if "{FRAGILE}" in flow.request.headers["User-Agent"]:
        seen += 1
        if seen % 3 == 0:
            flow.kill()
"""


@dataclass
class Middle:
    url: str
    ca_file: Path


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Middle]:
    """One for all tests: it takes seconds to begin."""
    folder = tmp_path_factory.mktemp("mitmproxy")
    (folder / "addon.py").write_text(ADDON)
    port, log = free_port(), folder / "log"
    options = ["--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={folder}"]
    with log.open("wb") as output:
        program = subprocess.Popen(
            [MITMDUMP, *options, "--ssl-insecure", "-s", str(folder / "addon.py")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 2 * ENOUGH
        while b"listening at" not in log.read_bytes():
            assert program.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield Middle(f"http://127.0.0.1:{port}", folder / "mitmproxy-ca-cert.pem")
    finally:
        program.terminate()
        program.wait()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class SecureService(RunService):
    def __init__(self, authority: Authority, **options: Any) -> None:
        super().__init__(**options)
        self._ssl = authority.server()


async def test_all_works_where_the_authority_of_the_proxy_is_trusted(
    middle: Middle, authority: Authority
) -> None:
    async with (
        SecureService(authority) as service,
        Client(KEY, base_url=service.url, proxy=middle.url, ssl=middle.ca_file) as client,
    ):
        requests = [RunRequest(FLOW, f"{number}.csv") for number in range(20)]
        ended = [outcome.result().succeeded async for outcome in client.run_many(requests, timeout=20)]
        run = await client.run(FLOW, SOURCE)
        assert (await run.wait(timeout=20)).succeeded  # by long polls

    assert ended == [True] * 20
    assert len(service.runs) == 21


async def test_a_proxy_whose_authority_is_not_trusted_gets_no_key(
    middle: Middle, authority: Authority
) -> None:
    async with (
        SecureService(authority) as service,
        Client(KEY, base_url=service.url, proxy=middle.url, ssl=authority.ca_file, retry=ONCE) as client,
    ):
        with pytest.raises(ApiConnectionError, match="trust store: ") as caught:
            await client.run(FLOW, SOURCE, force_rerun=True)

    assert not caught.value.reached
    assert service.requests == []


@pytest.mark.thorough
async def test_answers_that_the_proxy_kills_end_no_run_and_make_none(
    middle: Middle, authority: Authority
) -> None:
    """Every third answer is lost on its way: the service has seen the request."""
    async with (
        SecureService(authority, capabilities=("idempotency",)) as service,
        Client(KEY, base_url=service.url, proxy=middle.url, ssl=middle.ca_file, user_agent=FRAGILE) as client,
    ):
        runs = [await client.run(FLOW, f"{number}.csv", force_rerun=True) for number in range(6)]
        for run in runs:
            assert (await run.wait(timeout=20)).succeeded

    assert len(service.runs) == 6
    assert service.count("POST") > 6


@pytest.mark.thorough
async def test_while_the_proxy_does_not_reach_the_service_nothing_is_lost(
    middle: Middle, authority: Authority
) -> None:
    async with (
        SecureService(authority, capabilities=()) as service,
        Client(
            KEY, base_url=service.url, proxy=middle.url, ssl=middle.ca_file, retry=Retry(attempts=8)
        ) as client,
    ):
        await service.refuse()
        submission = asyncio.create_task(client.run(FLOW, SOURCE, force_rerun=True))
        await asyncio.sleep(1.0)
        assert not submission.done()
        await service.accept()
        assert (await (await submission).wait(timeout=20)).succeeded

    assert len(service.runs) == 1
