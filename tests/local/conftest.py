from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local.flows import PEOPLE_CSV, write_flows
from local.wire import Wire

import lume_local


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with flow versions and one source."""
    write_flows(tmp_path / "flows")
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    return tmp_path


@pytest.fixture
async def server(home: Path) -> AsyncIterator[lume_local.Server]:
    async with lume_local.serve(flows=home / "flows", data=home / ".lume", roots=[home]) as server:
        yield server


@pytest.fixture
async def wire(server: lume_local.Server) -> AsyncIterator[Wire]:
    wire = Wire(server.base_url, server.api_key)
    async with wire.session:
        yield wire
