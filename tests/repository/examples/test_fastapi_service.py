"""examples/fastapi_service.py under a real uvicorn."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from examples.support import ADDRESS, busy, command, line_with

import lume_local


@asynccontextmanager
async def service(home: Path, settings: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    uvicorn = command(
        *("-m", "uvicorn", "examples.fastapi_service:app", "--port", "0"), folder=home, env=settings
    )
    async with uvicorn as script:
        url = await line_with(script.process.stderr, ADDRESS)
        async with aiohttp.ClientSession(url) as session:
            yield session
        script.process.terminate()
        done = await script.end()
        assert "Application shutdown complete" in done.err
        assert "Traceback" not in done.err


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, dict[str, str]]:
    async with session.get(path) as answer:
        return answer.status, await answer.json()


async def post(session: aiohttp.ClientSession, source: str, key: str | None) -> tuple[int, dict[str, str]]:
    headers = {"Idempotency-Key": key} if key else {}
    async with session.post("/cleanings", json={"source": source}, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_run_is_submitted_looked_at_and_awaited(
    home: Path, settings: dict[str, str], source: Callable[[str], str]
) -> None:
    async with service(home, settings) as session:
        status, run = await post(session, source("a.csv"), "order-1")
        assert (status, run["status"]) == (202, "CREATED")

        status, ended = await get(session, f"/cleanings/{run['id']}/result")
        assert (status, ended["status"]) == (200, "PARTIAL_FAILED")
        assert Path(ended["output"]).is_file()
        assert await get(session, f"/cleanings/{run['id']}") == (200, ended)


@pytest.mark.thorough
async def test_the_same_key_gives_the_same_run_and_past_the_deadline_comes_a_504(
    home: Path, settings: dict[str, str], server: lume_local.ThreadedServer, source: Callable[[str], str]
) -> None:
    async with service(home, settings) as session:
        async with busy(server):
            answers = [await post(session, source("a.csv"), "order-1") for _ in range(2)]
            assert (await post(session, source("a.csv"), None))[0] == 422
            _, other = await post(session, source("b.csv"), "order-2")
            assert {status for status, _ in answers} == {202}
            assert len({run["id"] for _, run in answers}) == 1
            assert other["id"] != answers[0][1]["id"]

            run = answers[0][1]
            status, told = await get(session, f"/cleanings/{run['id']}/result?timeout=0.1")
            assert (status, told["error"]) == (504, "RunTimeoutError")
            assert (await get(session, f"/cleanings/{run['id']}"))[1]["status"] == "CREATED"

        status, ended = await get(session, f"/cleanings/{run['id']}/result")
        assert (status, ended["status"]) == (200, "PARTIAL_FAILED")


@pytest.mark.thorough
async def test_errors_have_statuses_of_their_own(home: Path, settings: dict[str, str]) -> None:
    async with service(home, settings) as session:
        _, run = await post(session, "nobody.csv", "order-1")
        status, told = await get(session, f"/cleanings/{run['id']}/result")
        assert (status, told["error"]) == (422, "RunFailedError")
        status, told = await get(session, "/cleanings/run_unknown")
        assert (status, told["error"]) == (404, "RunNotFoundError")
        status, told = await post(session, "../secret.csv", "order-2")
        assert (status, told["error"]) == (422, "InvalidRequestError")

    async with service(home, {**settings, "LUME_API_KEY": "wrong"}) as session:
        status, told = await post(session, "a.csv", "order-1")
        assert (status, told["error"]) == (502, "AuthenticationError")
