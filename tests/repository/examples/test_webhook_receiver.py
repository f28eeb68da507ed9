"""examples/webhook_receiver.py under a real uvicorn, with the embedded server as the sender."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from examples.support import ADDRESS, busy, line_with
from faults.support import ENOUGH, Finished, Script

import lume_local
from lume_async.webhooks import SIGNATURE_HEADER

# It must know its own address before it is imported: so the port is taken first.
UVICORN = """
    import os, socket, uvicorn
    taken = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    os.environ["LUME_WEBHOOK_URL"] = f"http://127.0.0.1:{taken.getsockname()[1]}/lume/"
    print(os.environ["LUME_WEBHOOK_URL"], flush=True)
    from examples.webhook_receiver import app
    uvicorn.Server(uvicorn.Config(app)).run(sockets=[taken])
"""


class Receiver:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.done: Finished | None = None

    async def submit(self, source: str) -> str:
        async with self.session.post("/cleanings", data=source) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["id"])

    async def status(self, run_id: str) -> str | None:
        async with self.session.get(f"/cleanings/{run_id}") as answer:
            told: str | None = (await answer.json())["status"]
            return told

    async def end_of(self, run_id: str) -> str:
        async with asyncio.timeout(ENOUGH):  # the monitor's own looks are a minute apart
            while (told := await self.status(run_id)) is None:
                await asyncio.sleep(0.02)
        return told


@asynccontextmanager
async def running(settings: dict[str, str]) -> AsyncIterator[Receiver]:
    async with Script(UVICORN, env=settings) as script:
        url = await line_with(script.process.stdout, ADDRESS)
        async with aiohttp.ClientSession(url) as session:
            receiver = Receiver(session)
            yield receiver
        script.process.terminate()
        receiver.done = await script.end()


async def test_a_delivery_wakes_the_monitor(
    settings: dict[str, str], server: lume_local.ThreadedServer, source: Callable[[str], str]
) -> None:
    async with running(settings) as receiver:
        async with busy(server):
            run_id = await receiver.submit(source("a.csv"))
            assert await receiver.status(run_id) is None
        assert await receiver.end_of(run_id) == "PARTIAL_FAILED"
        # The same source once more: the run that holds it.
        assert await receiver.submit("a.csv") == run_id

    assert receiver.done is not None
    assert '"POST /lume/ HTTP/1.1" 204' in receiver.done.out
    assert "Application shutdown complete" in receiver.done.err
    assert "Traceback" not in receiver.done.err


async def test_several_runs_are_followed_and_what_is_not_signed_is_refused(
    settings: dict[str, str], source: Callable[[str], str]
) -> None:
    body = b'{"event": "run.finished", "run_id": "run_1", "status": "SUCCEEDED"}'
    async with running(settings) as receiver:
        ids = [await receiver.submit(source(f"{n}.csv")) for n in range(5)]
        ids.append(await receiver.submit("nobody.csv"))
        told = [await receiver.end_of(run_id) for run_id in ids]
        assert told == ["PARTIAL_FAILED"] * 5 + ["FAILED"]
        for headers in ({}, {SIGNATURE_HEADER: "sha256=" + "0" * 64}):
            async with receiver.session.post("/lume/", data=body, headers=headers) as answer:
                assert answer.status == 401
        async with receiver.session.post("/cleanings", data="../secret.csv") as answer:
            assert answer.status in (400, 422)
        # Why ADDRESS ends in a slash.
        async with receiver.session.post("/lume", data=body, allow_redirects=False) as answer:
            assert answer.status == 307
