"""A receiver under way as a process, and what is sent to it by hand."""

import hashlib
import hmac
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from cli.shell import DEADLINE, Shell, Started

SECRET = "whisper, wind"
BODY = json.dumps({"event": "run.finished", "run_id": "run_1", "status": "SUCCEEDED", "extra": 7}).encode()


def listen(shell: Shell, *words: str, **options: Any) -> tuple[Started, str]:
    """A receiver under way, and its URL."""
    started = shell.start("webhook", "listen", *words, **options)
    started.until(lambda: "http://" in started.err and started.err.endswith("\n"))
    last = started.err.splitlines()[-1]
    return started, json.loads(last)["listening"]["url"] if last.startswith("{") else last.strip()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Lume-Signature-256": f"sha256={signature}", "X-Lume-Delivery": "dlv_1"}


def send(url: str, body: bytes | None, headers: dict[str, str], method: str = "POST") -> tuple[int, bytes]:
    """One request; the status and the body of its answer."""
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE)
    try:
        connection.request(method, parts.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
