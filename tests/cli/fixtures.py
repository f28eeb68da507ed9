import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.shell import Shell, environment
from local.flows import PEOPLE_CSV, slow_rows, write_flows

import lume_local
from lume_sync import Client, LumeRun

_numbers = itertools.count()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server's sources lie in."""
    folder = tmp_path_factory.mktemp("home")
    write_flows(folder / "flows")
    return folder


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[lume_local.ThreadedServer]:
    with lume_local.serve_in_thread(flows=home / "flows", data=home / ".lume", roots=[home]) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: lume_local.ThreadedServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def shell(server: lume_local.ThreadedServer, tmp_path: Path) -> Iterator[Shell]:
    """Runs `lume` as a user of the server would."""
    variables = environment(tmp_path, LUME_BASE_URL=server.base_url, LUME_API_KEY=server.api_key)
    with Shell(tmp_path, variables) as shell:
        yield shell


@pytest.fixture
def lone(tmp_path: Path) -> Shell:
    """A shell without a server, a key or a configuration."""
    return Shell(tmp_path, environment(tmp_path))


@pytest.fixture
def source(home: Path) -> Callable[..., str]:
    """Makes a source that no other test uses."""

    def make(text: str = PEOPLE_CSV) -> str:
        name = f"source_{next(_numbers)}.csv"
        (home / name).write_text(text)
        return name

    return make


@pytest.fixture
def slow_source(source: Callable[..., str], client: Client) -> Iterator[Callable[[], str]]:
    """Makes a source whose run lasts longer than a test; its runs are cancelled afterwards."""
    made: list[str] = []

    def make() -> str:
        made.append(source(slow_rows()))
        return made[-1]

    yield make
    for name in made:
        for run in client.list_runs(source_path=name):
            run.cancel()
            client.wait_all([run], timeout=15)


@pytest.fixture
def slow_run(slow_source: Callable[[], str], client: Client) -> LumeRun:
    return client.run("slow:v1", slow_source())


@pytest.fixture
def no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean environment for commands that run in this process."""
    for name in list(os.environ):
        if name.startswith("LUME_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path
