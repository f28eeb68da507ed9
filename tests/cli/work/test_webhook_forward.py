"""`lume webhook listen --forward`: deliveries passed on to a user's own receiver, and its answers brought back."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cli.deliveries import BODY, SECRET, listen, send, signed
from cli.shell import DEADLINE, Shell, environment

from lume_async import webhooks


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Shell(tmp_path, environment(tmp_path, LUME_WEBHOOK_SECRET=SECRET)) as shell:
        yield shell


class Target:
    """A user's own receiver: what it got, and what it answers once it may."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 202
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.came = threading.Semaphore(0)


@pytest.fixture
def target() -> Iterator[Target]:
    here = Target()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here.got.append((dict(self.headers), body))
            here.came.release()
            here.may_answer.wait(DEADLINE)
            self.send_response(here.status)
            self.send_header("Content-Type", "text/x-mine")
            self.end_headers()
            self.wfile.write(b"as you say")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        here.url = f"http://127.0.0.1:{server.server_port}/mine?x=1"
        yield here
        here.may_answer.set()
        server.shutdown()
        thread.join()


def test_a_delivery_is_passed_on_as_it_came(shell: Shell, target: Target) -> None:
    body = b'{ "event":"run.finished",\n "run_id":"run_1", "status":"FAILED", "\\u0041":"\xc3\xa4" }\n'
    headers = signed(body) | {"Content-Type": "application/json", "User-Agent": "them", "X-More": "1"}
    started, url = listen(shell, "--count", "1", "--forward", target.url)
    assert send(url, BODY, {})[0] == 401
    assert send(url, body, headers) == (202, b"as you say")
    done = started.end()
    ((got, got_body),) = target.got  # what is refused is not passed on
    assert got_body == body
    assert {name: got[name] for name in headers} == headers
    webhooks.verify(got_body, got["X-Lume-Signature-256"], SECRET)
    assert (done.code, done.out.splitlines()[1].split("FAILED  ")[1]) == (
        0,
        "verified, answered 202",
    )


def test_a_receiver_that_fails_does_not_count(shell: Shell, target: Target) -> None:
    started, url = listen(shell, "--once", "--forward", target.url, "-o", "ndjson")
    target.status = 500
    assert send(url, BODY, signed(BODY)) == (500, b"as you say")
    target.status = 200
    assert send(url, BODY, signed(BODY)) == (200, b"as you say")
    done = started.end()
    assert (done.code, [json.loads(line)["status_code"] for line in done.out.splitlines()]) == (0, [500, 200])


def test_a_receiver_that_is_not_there(shell: Shell) -> None:
    with socket.socket() as closed:  # bound, but nobody listens: the port can't be given to another
        closed.bind(("127.0.0.1", 0))
        there = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        started, url = listen(shell, "--once", "--forward", there)
        assert send(url, BODY, signed(BODY)) == (502, b"")
        started.until(lambda: "answered 502: the receiver can't be reached" in started.out)


def test_no_more_than_so_many_are_taken(shell: Shell, target: Target) -> None:
    target.may_answer.clear()
    started, url = listen(shell, "--once", "--forward", target.url)
    first: list[tuple[int, bytes]] = []
    thread = threading.Thread(target=lambda: first.append(send(url, BODY, signed(BODY))), daemon=True)
    thread.start()
    assert target.came.acquire(timeout=DEADLINE)
    assert send(url, BODY, signed(BODY)) == (503, b"")
    target.may_answer.set()
    done = started.end()
    thread.join(DEADLINE)
    assert (done.code, first, len(done.out.splitlines())) == (0, [(202, b"as you say")], 1)
