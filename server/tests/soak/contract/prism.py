"""Prism, which knows nothing but openapi.yaml, as a server of its own."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components import component

import lume_local

# The JSON form has the examples in it; Prism reads none that lie elsewhere.
DESCRIPTION = Path(lume_local.__file__).parent / "openapi.json"
_LISTENS = re.compile(r"listening on (http://\S+)")
_START = 60.0
"""Seconds that it may take to start."""


@contextmanager
def started(folder: Path, *words: str) -> Iterator[str]:
    """The URL of `prism mock` on a free port, as long as the block lasts."""
    log = folder / f"prism-{os.urandom(4).hex()}.log"
    with log.open("wb") as output:
        command = [component("prism"), "mock", *words, "--port", "0"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
    try:
        yield _url(process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START
    while not (found := _LISTENS.search(log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]
