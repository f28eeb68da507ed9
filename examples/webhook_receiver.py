"""Webhooks in Starlette: a delivery makes a `Monitor` poll the run, which also finds runs whose delivery is lost.

    python examples/server.py                # prints the `export` line for the terminal of the next command
    uvicorn examples.webhook_receiver:app

    curl -d examples/data/customers.csv localhost:8000/cleanings
    curl localhost:8000/cleanings/run_...

Needs `pip install starlette uvicorn`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

import lume_async as lume
from lume_async import webhooks

# The address of this receiver. A mounted handler needs the slash at the end: without it Starlette redirects, and
# deliveries don't follow redirects.
ADDRESS = os.environ.get("LUME_WEBHOOK_URL", "http://127.0.0.1:8000/lume/")

client = lume.Client()
monitor = client.monitor(poll_interval=60)  # the safety net: a lost delivery costs a minute, not the result
# In a real service this is a table; at the start, add the runs that are not in it to the monitor.
ended: dict[str, lume.RunEvent[lume.LumeRun]] = {}


def wake(event: webhooks.WebhookEvent) -> None:
    # The body is only a hint and may come twice or late: it makes the monitor poll the run, and decides nothing.
    monitor.notify(event.run_id)


async def follow() -> None:
    async for event in monitor:
        if event.error or event.run.is_terminal:
            ended[event.run.id] = event


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with client, asyncio.TaskGroup() as tasks, monitor:  # leaving `monitor` ends `follow`
        tasks.create_task(follow())
        yield


async def submit(request: Request) -> JSONResponse:
    source = (await request.body()).decode()
    try:
        run = await client.run("customer_cleaner:v1", source, webhook_url=ADDRESS, on_duplicate="attach")
    except lume.InvalidRequestError as error:
        return JSONResponse({"error": str(error)}, error.status_code or 400)
    monitor.add(run)  # polls at once: the webhook of a short run may come before this
    return JSONResponse({"id": run.id}, 202)


async def status(request: Request) -> JSONResponse:
    event = ended.get(request.path_params["run_id"])
    return JSONResponse({"status": str(event.error or event.run.status) if event else None})


receiver = webhooks.asgi_app(wake, os.environ["LUME_WEBHOOK_SECRET"])
routes = [Mount("/lume", receiver), Route("/cleanings", submit, methods=["POST"])]
app = Starlette(routes=[*routes, Route("/cleanings/{run_id}", status)], lifespan=lifespan)
