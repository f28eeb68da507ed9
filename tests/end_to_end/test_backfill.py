"""A backfill that is killed again and again: nothing twice, nothing lost, one summary of the whole input.

The server is a bare one in this process (POST and GET only, or with more): what counts is how many runs it made.
"""

import asyncio
import json
import os
import random
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fork_server import fork_server
from forked import CLIENTS, ForkedProcess, fork

A_KILL = 6
"""So many requests of a backfill for each time that it is killed."""

WORKER = """
import asyncio, json, sys
import lume_async as lume

async def main(url, journal, count):
    requests = (lume.RunRequest("f:v1", f"s{n}", {"n": n}, force_rerun=True) for n in range(count))
    summary = lume.Summary()
    async with lume.Client("key", base_url=url, proxy=False) as client:
        async for outcome in client.run_many(requests, journal=journal, max_active=25, poll_interval=0.02):
            summary.add(outcome)
    print(json.dumps(summary.to_dict()))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Server:
    """Makes a run for every POST that it has not seen the key of, or for every one if it knows no keys."""

    def __init__(self, capabilities: str) -> None:
        self.headers = {"Lume-Capabilities": capabilities}
        self.replays = "idempotency" in capabilities
        self.runs: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.requests = 0
        self.at: dict[int, asyncio.Event] = {}

    @property
    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.count])
        app.router.add_post("/v1/runs", self.post)
        app.router.add_get("/v1/runs/{id}", self.get)
        app.router.add_get("/v1/runs", self.list)
        app.router.add_get("/healthz", self.health)
        return app

    async def until(self, requests: int) -> None:
        """Return when so many requests have come."""
        await self.at.setdefault(requests, asyncio.Event()).wait()

    @web.middleware
    async def count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests += 1
        for wanted in [number for number in self.at if number <= self.requests]:
            self.at.pop(wanted).set()
        answer: web.StreamResponse = await handler(request)
        return answer

    async def post(self, request: web.Request) -> web.Response:
        body, key = await request.json(), request.headers["Idempotency-Key"]
        if self.replays and key in self.keys:
            return self.answer(self.runs[self.keys[key]])
        run_id = f"run_{len(self.runs)}"
        self.keys[key] = run_id
        self.runs[run_id] = {
            "id": run_id,
            "status": "CREATED",
            "created_at": datetime.now(UTC).isoformat(),
            "metadata": {
                "metrics": {"rows_read": 1, "rows_mapped": 1, "rows_rejected": 0, "reject_reasons": {}}
            },
            **body,
        }
        return self.answer(self.runs[run_id], 201)

    async def get(self, request: web.Request) -> web.Response:
        run = self.runs[request.match_info["id"]]
        run["status"] = "SUCCEEDED" if run["status"] == "TRANSFORMING" else "TRANSFORMING"
        return self.answer(run)

    async def list(self, request: web.Request) -> web.Response:
        wanted = request.query["source_path"]
        found = [run for run in reversed(self.runs.values()) if run["source_path"] == wanted]
        return self.answer({"items": found, "next_cursor": None})

    async def health(self, _request: web.Request) -> web.Response:
        return self.answer({})

    def answer(self, body: Any, status: int = 200) -> web.Response:
        return web.json_response(body, status=status, headers=self.headers)


async def start(url: str, journal: Path, requests: int) -> ForkedProcess:
    arguments = (url, str(journal), str(requests))
    return await fork(fork_server(*CLIENTS), WORKER, os.environ, arguments)


@pytest.mark.thorough
@pytest.mark.timeout(240)
@pytest.mark.parametrize("capabilities", ["idempotency", ""])
async def test_killed_at_random_moments_and_started_again(tmp_path: Path, capabilities: str) -> None:
    most = 10
    requests = most * A_KILL
    rng = random.Random(20260101)
    server = Server(capabilities)
    runner = web.AppRunner(server.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    journal = tmp_path / "state.db"
    kills = 0
    try:
        while kills < most:
            worker = await start(url, journal, requests)
            # A moment is a number of requests and a few microseconds: it needs no luck, and hits every step.
            reached = asyncio.ensure_future(server.until(server.requests + rng.randrange(1, 25)))
            ended = asyncio.ensure_future(worker.wait())
            await asyncio.wait({reached, ended}, return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if ended.done():
                break
            for _ in range(rng.randrange(20)):
                await asyncio.sleep(0)
            worker.send_signal(signal.SIGKILL)
            await ended
            kills += 1
        worker = await start(url, journal, requests)
        out, _ = await worker.communicate()
    finally:
        await runner.cleanup()
    assert worker.returncode == 0
    assert kills == most
    summary = json.loads(out)
    assert summary["outcomes"] == requests
    assert len({run["source_path"] for run in server.runs.values()}) == len(server.runs)
    unknown = summary["statuses"].get("SubmissionUnknownError", 0)
    assert summary["statuses"].get("SUCCEEDED", 0) + unknown == requests
    if server.replays:
        assert len(server.runs) == requests
        assert unknown == 0
    else:  # without keys, a request that died before it arrived can't be told from one that is still on its way
        assert len(server.runs) == requests - unknown
