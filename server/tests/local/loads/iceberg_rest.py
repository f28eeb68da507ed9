"""A REST catalog on loopback: Iceberg's protocol over a SQL catalog, with failures on request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from attrs import define, field
from local.loads import iceberg
from pyiceberg import exceptions
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest

TOKEN = "t0ken"


@define
class Rest:
    """`lost` commits are carried out, but their answers are an error; `busy` ones are neither.

    `silent` are all requests, or `commits` after they are carried out: no answer comes before `released`. After a
    `closed` commit the connection ends without one.
    """

    url: str = ""
    lost: int = 0
    busy: int = 0
    silent: str = ""
    released: threading.Event = field(factory=threading.Event)
    commits: list[int] = field(factory=list)
    """The status of each commit."""


class _Server(ThreadingHTTPServer):
    def __init__(self, folder: Path) -> None:
        self.folder, self.rest = folder, Rest()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.carry_out()

    do_POST = do_HEAD = do_GET

    def carry_out(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.rest.silent == "all":
            self.server.rest.released.wait(60)
            self.close_connection = True
            return
        with iceberg.opened(self.server.folder) as catalog:
            try:
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    return self.answer(401, _error(401, "NotAuthorizedException", "no token"))
                self.answer(*self.found(catalog, self.path.partition("/v1/")[2].split("/"), body))
            except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError) as error:
                self.answer(404, _error(404, type(error).__name__.replace("Error", "Exception"), str(error)))
            except exceptions.TableAlreadyExistsError as error:
                self.answer(409, _error(409, "AlreadyExistsException", str(error)))

    def found(self, catalog: Any, path: list[str], body: bytes) -> tuple[int, Any]:
        match self.command, path:
            case _, ["config"]:
                return 200, {"defaults": {}, "overrides": {}}
            case _, ["namespaces", namespace]:
                there = catalog.namespace_exists(namespace)
                return (200, {"namespace": [namespace], "properties": {}}) if there else (404, None)
            case "POST", ["namespaces", namespace, "tables"]:
                given = json.loads(body)
                schema = Schema.model_validate(given["schema"])
                table = catalog.create_table(
                    (namespace, given["name"]), schema, properties=given["properties"]
                )
                return 200, _table(table)
            case "POST", ["namespaces", namespace, "tables", name]:
                status, answer = self.commit(catalog, catalog.load_table((namespace, name)), body)
                self.server.rest.commits.append(status)
                return status, answer
            case _, ["namespaces", namespace, "tables", name]:
                return 200, _table(catalog.load_table((namespace, name)))
        return 404, _error(404, "NotFound", self.path)

    def commit(self, catalog: Any, table: Any, body: bytes) -> tuple[int, Any]:
        request = CommitTableRequest.model_validate_json(body)
        if self.server.rest.busy:
            self.server.rest.busy -= 1
            return 503, _error(503, "ServiceUnavailable", "busy")
        try:
            done = catalog.commit_table(table, request.requirements, request.updates)
        except exceptions.CommitFailedException as error:
            return 409, _error(409, "CommitFailedException", str(error))
        if self.server.rest.silent == "commits":
            self.server.rest.released.wait(60)
        if self.server.rest.lost:
            self.server.rest.lost -= 1
            return 500, _error(500, "InternalServerError", "the answer was lost")
        return 200, done.model_dump_json()

    def answer(self, status: int, body: Any) -> None:
        if self.server.rest.silent == "closed" and self.command == "POST":
            self.close_connection = True
            return
        text = (body if isinstance(body, str) else json.dumps(body or {})).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # a client that has waited for long enough is gone
                self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Rest]:
    with _Server(folder) as server:
        rest = server.rest
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        rest.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield rest
        finally:
            rest.released.set()
            server.shutdown()
            thread.join()


def _table(table: Any) -> dict[str, Any]:
    metadata = json.loads(table.metadata.model_dump_json())
    return {"metadata-location": table.metadata_location, "metadata": metadata, "config": {}}


def _error(code: int, kind: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "type": kind, "message": message}}
