"""One run of the engine in this process from objects of a store to others."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from attrs import evolve
from local.flows import people
from local.loads import table_run
from local.one_run import carried_out

from lume_local._flow.definition import read_definition
from lume_local._worker.connection import connect

OUT = "s3://warehouse/out/clean.csv"


def execute(
    folder: Path,
    urls: Sequence[str | dict[str, str]],
    kind: str = "store",
    mapped: str = OUT,
    rejects: str = "s3://warehouse/out/rejects.csv",
    run_id: str = "run_1",
    **source: Any,
) -> dict[str, Any]:
    """A run from the objects to two others; what its commit records."""
    flow = read_definition(people(source=source))
    objects = [url if isinstance(url, dict) else {"url": url, "pattern": ""} for url in urls]
    job = table_run.job_of(flow, folder / run_id, run_id, source={"kind": "store", "objects": objects})
    where = "path" if kind == "file" else "url"
    job = evolve(job, mapped={"kind": kind, where: mapped}, rejects={"kind": kind, where: rejects})
    Path(job.folder).mkdir()
    with connect() as connection:
        return carried_out(connection, job)


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A store that says the same to everything; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body.encode())

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
