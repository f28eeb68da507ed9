"""gunicorn with --preload: a client that is made and used in the master, and then in the workers that it forks."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from examples.support import ADDRESS, command, line_with
from faults.support import DIES_WITH_US, ENOUGH, Script
from sync.service import NOISE, Service

LEASHED = f"import os; os.register_at_fork(after_in_child=lambda: exec({DIES_WITH_US!r}))\n"
"""A worker would find out only after a quarter of a minute that its master was killed."""

# The master is busy with calls of its own for as long as it lives, also in the moments of its forks.
APP = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
import lume_sync as lume

client = lume.Client()
assert client.run_status("done-master").succeeded
waiting = threading.Thread(target=lambda: client.attach("x-master").wait(poll_interval=0.01), daemon=True)
waiting.start()

def app(environ, start_response):
    process = os.getpid()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(client.run_status, [f"done-{process}-{n}" for n in range(4)]))
    runs.append(lume.attach(f"done-{process}-default").wait())
    runs.extend(client.watch(f"done-{process}-watched"))
    assert all(run.succeeded for run in runs)
    body = str(process).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

GUNICORN = (
    *("-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "3", "--preload", "--no-control-socket"),
    "app:app",
)


class Web:
    """The running program."""

    def __init__(self, script: Script, url: str, session: aiohttp.ClientSession) -> None:
        self.script = script
        self._url = url
        self._session = session

    async def ask(self) -> str:
        """The process that answered; a worker that goes away may drop a connection that it has not read from."""
        while True:
            try:
                async with self._session.get(self._url) as answer:
                    assert answer.status == 200
                    return await answer.text()
            except aiohttp.ServerDisconnectedError:
                continue

    async def ask_until(self, processes: set[str], count: int) -> set[str]:
        """Ask, many at once, until so many processes have answered."""
        async with asyncio.timeout(ENOUGH):
            while len(processes) < count:
                processes = processes.union(await asyncio.gather(*(self.ask() for _ in range(12))))
        return processes

    async def stop(self) -> None:
        begun = time.monotonic()
        self.script.process.terminate()
        done = await self.script.end()
        assert time.monotonic() - begun < 10
        assert done.code == 0
        assert not [line for line in done.err.splitlines() if NOISE.search(line)], done.err


@pytest.fixture(params=["sync", "gthread"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--threads", "4") if request.param == "gthread" else ()


@asynccontextmanager
async def gunicorn(folder: Path, service: Service, *options: str) -> AsyncIterator[Web]:
    (folder / "app.py").write_text(LEASHED + APP)
    script = command(
        *GUNICORN, *options, folder=folder, env={"LUME_BASE_URL": service.url}, flags=("-X", "dev")
    )
    # A connection for each request, so that any worker may take it.
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=ENOUGH)
    async with script, aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Web(script, await line_with(script.process.stderr, ADDRESS), session)


@pytest.mark.thorough
async def test_each_process_has_connections_of_its_own(
    workers: tuple[str, ...], service: Service, tmp_path: Path
) -> None:
    async with gunicorn(tmp_path, service, *workers) as web:
        processes = await web.ask_until(set(), 3)
        os.kill(int(min(processes)), signal.SIGTERM)
        processes = await web.ask_until(processes, 4)
        service.wait_for("x-master", looks=service.count("x-master") + 2)
        await web.stop()

    found = service.connections_by_process()
    assert set(found) == {"master", *processes}
    assert len(found["master"]) == 1, "a child has ended the master's connection"
    assert sum(map(len, found.values())) == len(set.union(*found.values())), "processes share a connection"
