"""A Lume service for programs in processes of their own: it tells whose connection is whose."""

import itertools
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOISE = re.compile(
    "Unclosed|was destroyed|never awaited|never retrieved|Exception ignored|Traceback|lume_|asyncio"
)
"""What a program's stderr must not hold."""


class Service(ThreadingHTTPServer):
    """One run for each id: `done…` has succeeded, `gone` is unknown, any other is at work for ever.

    A submission makes `done-<source>`. A look at `held…` is answered once somebody has looked at `release`.

    Attributes:
        looks: each request's connection (a number that is never used again, unlike a port) and run.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.looks: list[tuple[int, str]] = []
        self.connections = itertools.count()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None: ...  # programs that end drop their connections

    def count(self, run_id: str) -> int:
        """How often that run was looked at."""
        return sum(seen == run_id for _, seen in self.looks)

    def connections_of(self, run_id: str) -> set[int]:
        """Over which connections that run was looked at."""
        return {connection for connection, seen in self.looks if seen == run_id}

    def connections_by_process(self) -> dict[str, set[int]]:
        """Of runs that are called `done-<process>-<anything>`, or `x-<process>`."""
        found: dict[str, set[int]] = defaultdict(set)
        for connection, run_id in self.looks:
            if "-" in run_id:
                found[run_id.split("-")[1]].add(connection)
        return found

    def wait_for(self, run_id: str, looks: int = 1, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while self.count(run_id) < looks:
            assert time.monotonic() < deadline, f"nobody asked for {run_id}: {self.looks}"
            time.sleep(0.005)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Service

    def setup(self) -> None:
        super().setup()
        self.connection_number = next(self.server.connections)

    def do_GET(self) -> None:
        run_id = self.path.rpartition("/")[2]
        if run_id.startswith("runs?"):
            return self._send(200, {"items": [], "next_cursor": None})
        self.server.looks.append((self.connection_number, run_id))
        if run_id == "gone":
            return self._send(404, {"title": "no such run"})
        if run_id == "release":
            self.server.released.set()
        if run_id.startswith("held"):
            self.server.released.wait()
        self._send_run(200, run_id, "SUCCEEDED" if run_id.startswith("done") else "TRANSFORMING")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        run_id = f"done-{body['source_path']}"
        self.server.looks.append((self.connection_number, run_id))
        self._send_run(201, run_id, "CREATED")

    def _send_run(self, code: int, run_id: str, status: str) -> None:
        run = {"id": run_id, "status": status, "flow_version": "f:v1", "source_path": "s", "metadata": {}}
        self._send(code, {**run, "created_at": "2026-01-01T00:00:00Z"})

    def _send(self, code: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def serving() -> Iterator[Service]:
    """The service, in a thread."""
    with Service() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.released.set()
        service.shutdown()
