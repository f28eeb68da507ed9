"""A FastAPI service: respond at once with a run's ID, return its status, or wait for its end with a deadline.

    python examples/server.py                # prints the `export` line for the terminal of the next command
    uvicorn examples.fastapi_service:app

    curl -H 'Idempotency-Key: order-7' --json '{"source": "examples/data/customers.csv"}' localhost:8000/cleanings
    curl localhost:8000/cleanings/run_...
    curl 'localhost:8000/cleanings/run_.../result?timeout=20'

Needs `pip install fastapi uvicorn`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse

import lume_async as lume

# The response to an error of the library: that of the most specific class that is listed.
STATUSES: dict[type[lume.LumeError], int] = {
    lume.RunTimeoutError: 504,  # the run keeps running: ask again
    lume.RunFailedError: 422,  # FAILED, CRASHED or CANCELLED: there is no output
    lume.RunNotFoundError: 404,
    lume.InvalidRequestError: 422,
    lume.SubmissionUnknownError: 503,  # with the same Idempotency-Key it is safe to ask again
    lume.RateLimitError: 503,
    lume.LumeError: 502,  # the Lume service, or our settings for it: nothing that the caller can correct
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, lume.Client]]:
    async with lume.Client() as client:  # one for the life of the service: it keeps the connections
        yield {"lume": client}


def client_of(request: Request) -> Any:
    return request.state.lume


Client = Annotated[lume.Client, Depends(client_of)]
app = FastAPI(lifespan=lifespan)


@app.exception_handler(lume.LumeError)
async def respond(request: Request, error: lume.LumeError) -> JSONResponse:
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return JSONResponse({"error": type(error).__name__, "detail": str(error)}, status)


@app.post("/cleanings", status_code=202)
async def submit(
    client: Client, source: Annotated[str, Body(embed=True)], idempotency_key: Annotated[str, Header()]
) -> dict[str, Any]:
    # The caller's key is passed on, so that there is one run even if the caller or this service repeats the request.
    # If callers may choose the same keys, put the caller's name in front of the key.
    run = await client.run(
        "customer_cleaner:v1", source, idempotency_key=idempotency_key, on_duplicate="attach"
    )
    return shown(run)


@app.get("/cleanings/{run_id}")
async def status(client: Client, run_id: str) -> dict[str, Any]:
    return shown(await client.run_status(run_id))


@app.get("/cleanings/{run_id}/result")
async def result(
    client: Client, run_id: str, timeout: Annotated[float, Query(ge=0, le=60)] = 20
) -> dict[str, Any]:
    # Keep `le` below the timeout of any proxy in front of this service.
    return shown(await client.attach(run_id).wait(timeout=timeout))


def shown(run: lume.LumeRun) -> dict[str, Any]:
    return {"id": run.id, "status": str(run.status), "output": run.mapped_location}
