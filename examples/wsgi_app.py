"""A plain WSGI application: `lume_sync` in the worker threads and forked processes of an ordinary web server.

    python examples/server.py                # prints the `export` line for the terminal of the next command
    python examples/wsgi_app.py                                # wsgiref, a thread per request, or:
    gunicorn --workers 2 --threads 8 examples.wsgi_app:app     # with or without --preload

    curl -d examples/data/customers.csv localhost:8000/cleanings
    curl localhost:8000/cleanings/run_...

gunicorn needs `pip install gunicorn`; the rest needs nothing more.
"""

import json
import os
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIServer, make_server

import lume_sync as lume

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATIENCE = 10  # seconds that a request may block a worker thread: less than the server's own timeout

# Created at import time. No connection is opened before the first call, so it survives a preloading server's fork.
# Each worker process has its own connections, shared by its threads.
client = lume.Client()


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    try:
        status, answer = route(environ)
    except lume.InvalidRequestError as error:  # also RunNotFoundError
        status, answer = HTTPStatus(error.status_code or 400), {"error": str(error)}
    except lume.ApiError as error:
        status, answer = HTTPStatus.BAD_GATEWAY, {"error": str(error)}
    body = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]


def route(environ: "WSGIEnvironment") -> tuple[HTTPStatus, dict[str, Any]]:
    match environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/"):
        case "POST", ["cleanings"]:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            return clean(environ["wsgi.input"].read(length).decode(errors="replace"))
        case "GET", ["cleanings", run_id]:
            return HTTPStatus.OK, shown(client.run_status(run_id))
        case _:
            return HTTPStatus.NOT_FOUND, {"error": "POST /cleanings or GET /cleanings/<id>"}


def clean(source: str) -> tuple[HTTPStatus, dict[str, Any]]:
    run = client.run("customer_cleaner:v1", source, on_duplicate="attach")
    try:
        run.wait(timeout=PATIENCE)
    except lume.RunTimeoutError:  # the run keeps running: the caller asks again
        return HTTPStatus.ACCEPTED, shown(run)
    except lume.RunFailedError:
        pass  # that is an answer, too
    return HTTPStatus.OK, shown(run)


def shown(run: lume.LumeRun) -> dict[str, Any]:
    return {"id": run.id, "status": run.status, "output": run.mapped_location}


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    with make_server("127.0.0.1", port, app, server_class=ThreadingServer) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
