"""Prism as the server: the client reads the examples of openapi.yaml, and whatever else its schemas allow."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from soak.contract.prism import DESCRIPTION, started

import lume_async as lume

GOLDEN = Path(__file__).parents[4] / "tests/contract"
RUN = "run_00000000000000000000000000000001"
DRAWN = 200
"""Answers of each kind that are drawn at random."""


@pytest.fixture
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[lume.Client]:
    with started(tmp_path, *request.param, str(DESCRIPTION)) as url:
        async with lume.Client("any", base_url=url) as client:
            yield client


def read(run: lume.LumeRun) -> None:
    """Everything that a program may read of a run."""
    metadata = run.metadata
    metrics = metadata.metrics
    assert metrics.rows_read >= 0 <= metrics.rows_mapped
    assert all(count > 0 for count in metrics.reject_reasons.values())
    assert all(isinstance(stage.name, str) for stage in metadata.stages)
    assert metadata.run.run_id
    assert run.created_at.tzinfo is not None
    assert run.status.is_terminal in (True, False)
    assert repr(run)


@pytest.mark.parametrize("client", [()], indirect=True, ids=["static"])
async def test_the_examples(client: lume.Client) -> None:
    run = await client.run("people:v1", "people.csv", run_metadata={"ticket": "A-1"})
    assert (await run.wait(timeout=10)).status == "SUCCEEDED"
    assert run.metadata.metrics.rows_mapped == 3
    read(run)
    found = await client.run_status(RUN)
    assert found.status == "CREATED"
    await found.cancel()
    listed = [one async for one in client.list_runs(limit=1)]
    assert len(listed) == 1
    read(listed[0])
    assert (await client.upload_file(GOLDEN / "upload.csv")) == "upload://customers.csv"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", [("--dynamic",)], indirect=True, ids=["dynamic"])
async def test_whatever_the_schemas_allow(client: lume.Client) -> None:
    for number in range(DRAWN):
        read(await client.run("people:v1", f"people-{number}.csv", run_metadata={"ticket": number}))
    runs = 0
    for _ in range(DRAWN):
        async for run in client.list_runs(limit=5):
            read(run)
            runs += 1
    print(f"Prism's mock: {2 * DRAWN} answers drawn at random, with {DRAWN + runs} runs")
