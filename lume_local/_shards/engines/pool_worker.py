"""A process of the pool: tasks come in on stdin, one line each, and their results go out on stdout.

`{"function": "module:name", "argument": {…}}` is answered by `{"result": {…}}`, or by `{"error": "…"}` where the
function raises. In between there are empty objects every few seconds. The end of stdin ends the process at once.
"""

import importlib
import os
import queue
import sys
import threading
from typing import Any, BinaryIO

import orjson

_HEARTBEAT = 5.0


def main() -> None:
    """Do tasks until stdin ends."""
    # The answers keep the real stdout; whatever else prints in this process goes to stderr.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks,), name="leash", daemon=True).start()
    while True:
        line, ended = tasks.get(), threading.Event()
        heart = threading.Thread(target=_beat, args=(out, ended), name="heartbeat", daemon=True)
        heart.start()
        answer = _answer(line)
        ended.set()
        heart.join()
        _say(out, answer)


def _read(tasks: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        tasks.put(line)
    os._exit(1)  # without a leash there is no worker


def _beat(out: BinaryIO, ended: threading.Event) -> None:
    while not ended.wait(_HEARTBEAT):
        _say(out, {})


def _answer(line: bytes) -> dict[str, Any]:
    try:
        task = orjson.loads(line)
        module, _, name = task["function"].partition(":")
        return {"result": getattr(importlib.import_module(module), name)(task["argument"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _say(out: BinaryIO, answer: dict[str, Any]) -> None:
    try:
        out.write(orjson.dumps(answer) + b"\n")
    except OSError:  # nobody listens
        os._exit(1)
