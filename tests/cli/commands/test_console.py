"""`lume console` beside servers that give no link; a real one is in `test_server_file.py`."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from lume_cli._app import app


@pytest.mark.parametrize(
    ("status", "body", "code", "words", "given"),
    [
        (201, b'{"token": "t"}', 0, "/#token=t", []),
        (201, b'{"token": "t", "name": "server:me"}', 0, "/#token=t", []),
        (401, b"", 4, "401 Unauthorized", []),
        (403, b'{"detail": "this key submits only"}', 4, "403 Forbidden: this key submits only", []),
        (404, b"", 1, "has no console (POST /console/links: 404", []),
        (200, b"<html>", 1, "has no console (POST /console/links: the body is not JSON", []),
        (200, b"[]", 1, "has no console", []),
        (200, b"{}", 1, "has no console", []),
        (201, b'{"token": "t", "name": "server:anna"}', 0, "/#token=t", ["--name", "anna"]),
        (
            201,
            b'{"token": "t", "name": "bob"}',
            1,
            "this key is bob's, and so are its links",
            ["--name", "anna"],
        ),
    ],
)
def test_what_the_server_says_is_said(
    no_server: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: bytes,
    code: int,
    words: str,
    given: list[str],
) -> None:
    sent = []
    monkeypatch.setattr("getpass.getuser", lambda: "me")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert (self.path, self.headers["lume-api-key"]) == ("/console/links", "sEcReT")
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.timeout = 30
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("LUME_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("LUME_API_KEY", "sEcReT")
        done = CliRunner().invoke(app, ["console", *given])
        thread.join()
    assert (done.exit_code, words in done.output) == (code, True), done.output
    assert sent == [{"name": "anna" if given else "me"}]
