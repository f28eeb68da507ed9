"""nginx in front of the service: it cuts off what says nothing for two seconds, and refuses large files."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from components import component
from faults.programs import free_port, running
from faults.support import ENOUGH, KEY
from run_service import RunService

from lume_async import Client, InvalidRequestError

NGINX = component("nginx")

IDLE = 7.0
"""Seconds in which nothing happens: enough for three requests that nginx cuts off, and for giving the feed up."""


def configuration(folder: str, port: int, upstream: str) -> str:
    places = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
        daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{
            access_log off; {places}
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_pass {upstream}; proxy_read_timeout 2s; proxy_http_version 1.1; }}
                client_max_body_size 1m;
            }}
        }}
    """


@contextlib.asynccontextmanager
async def nginx(upstream: str) -> AsyncIterator[str]:
    """Its address; what waits for it elsewhere waits for two seconds."""
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), Path(folder, "error.log")
        config = Path(folder, "nginx.conf")
        config.write_text(configuration(folder, port, upstream))
        async with running(NGINX, "-e", log, "-c", config, "-p", folder, port=port, log=log):
            yield f"http://127.0.0.1:{port}"


@pytest.mark.thorough
@pytest.mark.parametrize("runs", [300])
async def test_a_gateway_that_cuts_the_feed_off_costs_no_poll_of_the_runs(runs: int) -> None:
    async with (
        RunService(by_hand=True) as service,
        nginx(service.url) as url,
        Client(KEY, base_url=url, proxy=False) as client,
        client.monitor() as monitor,
    ):
        watched = [service.add(source_path=f"{n}.csv") for n in range(runs)]
        await client.run_status(watched[0].id)
        for run in watched:
            monitor.add(run.id)
        async with asyncio.timeout(ENOUGH):
            while any(run.looks == 0 for run in watched):
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # until those that were polled around the feed's beginning are done
        before = len(service.requests)
        await asyncio.sleep(IDLE)
        idle = len(service.requests) - before

        for run in watched:
            service.move(run, "SUCCEEDED")
        ended = 0
        async with asyncio.timeout(ENOUGH):
            while ended < runs:
                ended += (await anext(monitor)).run.is_terminal

    assert idle < 3 * IDLE  # a few for the feed and for sampling; each cut polled every run twice


async def test_a_large_file_that_the_gateway_refuses_while_it_is_sent_is_told_by_its_status(
    tmp_path: Path,
) -> None:
    """nginx answers at the first bytes and hangs up: the answer counts, not the broken connection."""
    file = tmp_path / "rows.csv"
    file.write_bytes(b"a,b\n" * 2_000_000)
    async with (
        RunService() as service,
        nginx(service.url) as url,
        Client(KEY, base_url=url, proxy=False, request_timeout=ENOUGH) as client,
    ):
        for _ in range(5):
            with pytest.raises(InvalidRequestError, match="413"):
                await client.upload_file(file)

    assert service.requests == []
