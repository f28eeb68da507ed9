import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from examples.support import EXAMPLES, SECRET
from local.flows import SLOW, slow_rows
from local.receiver import unused_port

import lume_local

build: Callable[[int], bytes] = runpy.run_path(str(EXAMPLES / "make_customers.py"))["build"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the service: the examples' flows, and one for runs that last longer than a test."""
    shutil.copytree(EXAMPLES / "flows", tmp_path / "flows")
    (tmp_path / "flows" / "slow.v1.toml").write_text(SLOW)
    (tmp_path / "slow.csv").write_text(slow_rows())
    return tmp_path


@pytest.fixture
def source(home: Path) -> Callable[[str], str]:
    """Makes a customer list; one in twelve of its rows is bad."""

    def make(name: str) -> str:
        (home / name).write_bytes(build(100))
        return name

    return make


@pytest.fixture
def port() -> int:
    """Where the receiver of webhooks listens."""
    return unused_port()


@pytest.fixture
def server(home: Path, port: int) -> Iterator[lume_local.ThreadedServer]:
    """One run at a time."""
    with lume_local.serve_in_thread(
        flows=home / "flows",
        data=home / ".lume",
        roots=[home],
        max_active=1,
        webhook_secret=SECRET,
        webhook_hosts=[f"127.0.0.1:{port}"],
    ) as server:
        yield server


@pytest.fixture
def settings(server: lume_local.ThreadedServer, home: Path, port: int) -> dict[str, str]:
    """The environment of an example's process."""
    return {
        "LUME_BASE_URL": server.base_url,
        "LUME_API_KEY": server.api_key,
        "LUME_WEBHOOK_SECRET": SECRET,
        "PORT": str(port),
        "HOME": str(home),
    }
