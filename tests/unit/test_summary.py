"""Summary: what came of many runs, as numbers, as text, as JSON."""

import json

import pytest
from fake_service import Service

from lume_async import ApiConnectionError, LumeRun, Outcome, RunRequest, Summary
from lume_async.testing import fake_client


async def runs(status: str, count: int) -> list[LumeRun]:
    service = Service(lasts=0.0, status=status)
    client, _ = fake_client(service, clock=service.clock)
    return [await client.run_status(f"{status.lower()}-{n}") for n in range(count)]


@pytest.fixture
async def outcomes() -> list[Outcome[LumeRun]]:
    found = [Outcome(run.id, run=run) for run in [*await runs("SUCCEEDED", 3), *await runs("CRASHED", 1)]]
    lost = Outcome[LumeRun](None, error=ApiConnectionError("refused"), request=RunRequest("f:v1", "lost.csv"))
    return [*found, lost]


async def test_counts(outcomes: list[Outcome[LumeRun]]) -> None:
    summary = Summary.of(outcomes)
    assert summary.outcomes == 5
    assert summary.statuses == {"SUCCEEDED": 3, "CRASHED": 1, "ApiConnectionError": 1}
    assert (summary.rows_read, summary.rows_mapped, summary.rows_rejected) == (40, 36, 4)
    assert summary.reject_reasons == {"email: bad": 4}
    assert not summary.ok
    assert [(it.run_id, it.source_path, it.status) for it in summary.failures] == [
        ("crashed-0", "customers.csv", "CRASHED"),
        (None, "lost.csv", "ApiConnectionError"),
    ]


async def test_text_and_json(outcomes: list[Outcome[LumeRun]]) -> None:
    summary = Summary.of(outcomes)
    text = str(summary)
    assert text.startswith("5 outcomes: SUCCEEDED 3, ")
    assert 'ApiConnectionError lost.csv: "refused"' in text
    assert json.loads(json.dumps(summary.to_dict()))["rows_read"] == 40


def test_an_empty_one_is_fine() -> None:
    summary = Summary()
    assert summary.ok
    assert str(summary).splitlines()[0] == "0 outcomes: "
    assert str(Summary.of([Outcome("r", error=ApiConnectionError("x"))])).startswith("1 outcome: ")


def test_a_long_list_of_failures_is_cut_in_the_text_only() -> None:
    summary = Summary.of(Outcome(f"r{n}", error=ApiConnectionError("x")) for n in range(50))
    assert len(summary.failures) == 50
    assert str(summary).endswith("and 30 more failures")


async def test_the_slowest_are_kept_longest_first() -> None:
    service = Service()
    client, _ = fake_client(service, clock=service.clock)
    summary = Summary()
    for n in (3, 9, 1, 7, 5, 8):
        service.lasts, service.begun[f"r{n}"] = float(n), -100.0
        summary.add(Outcome(f"r{n}", run=await client.run_status(f"r{n}")))
    assert summary.slowest == [(9.0, "r9"), (8.0, "r8"), (7.0, "r7"), (5.0, "r5"), (3.0, "r3")]
