"""Fixtures for your own tests: a real server on temporary folders, and a client for it.

The server runs in a thread, so that it serves synchronous and asynchronous tests alike.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

__all__ = ["lume_client", "lume_flows", "lume_server"]

if TYPE_CHECKING:
    import lume_local
    import lume_sync


@pytest.fixture
def lume_flows(pytestconfig: pytest.Config) -> Path | None:
    """Return the folder with the flow versions to serve: `flows` in the project's root, if it exists.

    Override this fixture in your conftest.py if your flows are elsewhere.
    """
    folder = pytestconfig.rootpath / "flows"
    return folder if folder.is_dir() else None


@pytest.fixture
def lume_server(
    lume_flows: Path | None, tmp_path: Path, pytestconfig: pytest.Config
) -> "Iterator[lume_local.ThreadedServer]":
    """Run a server with `.base_url` and `.api_key`, fresh for each test.

    Source paths are relative to `tmp_path`; files of your project may be named by their absolute path. The runs write
    below `tmp_path` as well. The module-level functions of `lume_async` and `lume_sync` forget
    their client before and after the test: they use this server once the test has set `LUME_API_KEY` and
    `LUME_BASE_URL`, or has called `init`.
    """
    import lume_local
    from lume_async.testing import reset_default_clients

    reset_default_clients()
    with lume_local.serve_in_thread(
        flows=lume_flows, data=tmp_path / ".lume", roots=[tmp_path, pytestconfig.rootpath]
    ) as server:
        try:
            yield server
        finally:
            reset_default_clients()


@pytest.fixture
def lume_client(lume_server: "lume_local.ThreadedServer") -> "Iterator[lume_sync.Client]":
    """Yield a `lume_sync.Client` for `lume_server`, closed after the test.

    Asynchronous tests make their own: `lume_async.Client(lume_server.api_key, base_url=lume_server.base_url)`.
    """
    with lume_server.client() as client:
        yield client
