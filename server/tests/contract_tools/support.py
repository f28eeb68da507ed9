"""Servers for tools that others wrote, and those tools as processes."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen
from components import component
from local.flows import PEOPLE_CSV, write_flows

import lume_local
from lume_local._http.access import limits

DESCRIPTION = Path(lume_local.__file__).parent / "openapi.yaml"
CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
KEY = "key-of-the-tools"


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The base URL of an embedded server with flow versions and one source."""
    write_flows(home / "flows")
    (home / "people.csv").write_text(PEOPLE_CSV)
    with (
        pytest.MonkeyPatch.context() as patch,
        lume_local.serve_in_thread(home / "flows", home / ".lume", [home], api_key=KEY) as server,
    ):
        patch.setattr(limits, "AT_ONCE", 1_000_000)  # schemathesis tries a wrong key with every request
        yield server.base_url


def run(*command: str, folder: Path, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """A tool to its end; what it wrote is one text."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"SCHEMATHESIS_HOOKS": str(HOOKS)}
    environment |= {"PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


@frozen
class Report:
    """What schemathesis says at its end."""

    code: int
    text: str

    @property
    def cases(self) -> int:
        """How many requests it generated."""
        found = re.search(r"([\d,]+) generated", self.text)
        assert found, self.text
        return int(found[1].replace(",", ""))

    @property
    def operations(self) -> int:
        """How many operations it sent requests to."""
        found = re.search(r"Tested: +(\d+)", self.text)
        assert found, self.text
        return int(found[1])


def schemathesis(url: str, folder: Path, *options: str) -> Report:
    """One run over the description, against a server."""
    program = component("schemathesis")
    command = [program, "--config-file", str(CONFIG), "run", str(DESCRIPTION), "--url", url]
    done = run(*command, "--header", f"lume-api-key: {KEY}", "--no-color", *options, folder=folder)
    return Report(done.returncode, done.stdout)
