"""Prism, which knows nothing but openapi.yaml: as a proxy that judges what passes, or as a server of its own."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from components import component

import lume_local

# The JSON form has the examples in it; Prism reads none that lie elsewhere.
DESCRIPTION = Path(lume_local.__file__).parent / "openapi.json"
_LISTENS = re.compile(r"listening on (http://\S+)")
_VIOLATION = re.compile(r"Violation: (response\S* .*)")
_START = 60.0
"""Seconds that it may take to start."""


@frozen
class Prism:
    """One under way.

    Attributes:
        url: where it listens.
        log: what it has written so far.
    """

    url: str
    log: Path

    @property
    def requests(self) -> int:
        """How many it has passed on and had an answer to."""
        return self.log.read_text().count("The upstream call to")

    @property
    def violations(self) -> list[str]:
        """What was wrong with responses. Requests may be wrong on purpose: those only show in its log."""
        return _VIOLATION.findall(self.log.read_text())


@contextmanager
def started(folder: Path, *words: str) -> Iterator[Prism]:
    """`prism proxy` or `prism mock` on a free port, as long as the block lasts."""
    log = folder / f"prism-{os.urandom(4).hex()}.log"
    with log.open("wb") as output:
        command = [component("prism"), *words, "--port", "0"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
    try:
        yield Prism(_url(process, log), log)
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
