"""For tests of `lume_airflow`: they run in Airflow's own environment, through airflow/tests/test_airflow.py.

The folder is not called `airflow`: `tests` is on the import path, where it would hide the real one.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from on_airflow.support import ROOT, Service, use

import lume_local

HOME = tempfile.mkdtemp(prefix="lume-airflow-")

try:
    distribution("apache-airflow")  # an import would read its settings
except PackageNotFoundError:
    collect_ignore_glob = ["test_*.py"]

# Read when Airflow is imported.
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "examples" / "airflow"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
)


def pytest_configure(config: pytest.Config) -> None:
    # Airflow's own, of its own code and of what it imports.
    for name in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "UserWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{name}")
    config.addinivalue_line("filterwarnings", "ignore::sqlalchemy.exc.SAWarning")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One for all tests: it takes longer to start than most of them. Each has files and a DAG of its own."""
    flows, data = ROOT / "examples" / "flows", tmp_path_factory.mktemp("lume")
    roots = [tmp_path_factory.getbasetemp()]
    with lume_local.serve_in_thread(flows=flows, data=data, roots=roots, max_active=1) as server:
        yield server


@pytest.fixture
def connection(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The server as the connection `lume_default`."""
    use(monkeypatch, server.base_url, server.api_key)
    return Service(server.base_url, server.api_key, tmp_path, datetime.now(UTC))


@pytest.fixture
def sources(tmp_path: Path) -> "Sources":
    return Sources(tmp_path)


class Sources:
    """Files for the flow `customer_cleaner:v1`."""

    header = "Customer ID,Name,Email,Signup,Country,Balance\n"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def good(self, name: str = "good.csv") -> str:
        return self._write(name, *(f"{n},Ann,ann{n}@example.com,2024-01-02,US,1.00" for n in range(1, 9)))

    def partial(self, name: str = "partial.csv") -> str:
        rows = [f"{n},Ann,ann{n}@example.com,2024-01-02,US,1.00" for n in range(1, 9)]
        return self._write(name, *rows, "9,Bob,not an address,2024-01-02,US,1.00")

    def bad(self, name: str = "bad.csv") -> str:
        return self._write(name, "x,Ann,nobody,2024-01-02,US,1.00", "y,Bob,nobody,2024-01-02,US,1.00")

    def _write(self, name: str, *rows: str) -> str:
        path = self.folder / name
        path.write_text(self.header + "".join(f"{row}\n" for row in rows))
        return str(path)


@pytest.fixture
def database() -> None:
    """Airflow's own database, made once for the process."""
    from airflow.utils.db import initdb

    if not Path(HOME, "airflow.db").exists():
        initdb()
