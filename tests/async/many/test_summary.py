"""Summary: what came of many runs, as numbers, as text, as JSON."""

import json
from typing import Any

import pytest
from fake_service import Service

from lume_async import ApiConnectionError, DuplicateRunError, LumeRun, Outcome, RunRequest, Summary
from lume_async.testing import FakeAnswer, fake_client, run_json


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
    summary = Summary.of(Outcome(f"r{n}", error=ApiConnectionError(f"x{n}")) for n in range(50))
    assert len(summary.failures) == 50
    assert str(summary).endswith("and 30 more failures")


def test_equal_failures_are_one_line() -> None:
    def refused(n: int) -> Outcome[LumeRun]:
        error = DuplicateRunError(
            f"f:v1 has processed 'a{n}.csv' in run r{n}: use it", run_id=f"r{n}", request_id=f"q{n}"
        )
        return Outcome(None, error=error, request=RunRequest("f:v1", f"a{n}.csv"))

    outcomes = [refused(n) for n in range(1_200)]
    outcomes.append(Outcome("lone", error=ApiConnectionError("x"), request=RunRequest("f:v1", "b.csv")))
    summary = Summary.of(outcomes)
    assert str(summary).splitlines()[2:] == [
        "1,200 x DuplicateRunError: \"f:v1 has processed '…' in run …: use it\"; first: a0.csv",
        'ApiConnectionError b.csv (lone): "x"',
    ]
    assert summary.failures[7].message == "f:v1 has processed 'a7.csv' in run r7: use it [request id q7]"
    assert len(summary.to_dict()["failures"]) == 1_201


async def test_the_reason_of_failed_runs_is_told_once() -> None:
    summary = Summary.of(Outcome(run.id, run=run) for run in await runs("FAILED", 12))
    line = str(summary).splitlines()[-1]
    assert line.startswith("12 x FAILED: ")
    assert line.endswith("; first: customers.csv (failed-0)")


async def test_warnings_are_counted() -> None:
    metrics = {"rows_read": 3, "rows_mapped": 3, "warnings": {"rule: is old": 2}}
    ended = run_json("a", "SUCCEEDED", metadata={"metrics": metrics})
    client, _ = fake_client(lambda _request: FakeAnswer(200, ended))
    summary = Summary.of([Outcome(n, run=await client.run_status(n)) for n in ("a", "a")])
    assert summary.warnings == {"rule: is old": 4}
    assert summary.to_dict()["warnings"] == {"rule: is old": 4}
    assert "warned of: rule: is old 4" in str(summary).splitlines()
    assert summary.ok


async def test_the_slowest_are_kept_longest_first() -> None:
    service = Service()
    client, _ = fake_client(service, clock=service.clock)
    summary = Summary()
    for n in (3, 9, 1, 7, 5, 8):
        service.lasts, service.begun[f"r{n}"] = float(n), -100.0
        summary.add(Outcome(f"r{n}", run=await client.run_status(f"r{n}")))
    assert summary.slowest == [(9.0, "r9"), (8.0, "r8"), (7.0, "r7"), (5.0, "r5"), (3.0, "r3")]
    assert summary.to_dict()["slowest"][0] == {"seconds": 9.0, "run_id": "r9", "source_path": "customers.csv"}
    assert "slowest: customers.csv (r9, 9.0 s), " in str(summary)
    copied = summary.copy()
    service.lasts, service.begun["r10"] = 20.0, -100.0
    summary.add(Outcome("r10", run=await client.run_status("r10")))
    assert "slowest: customers.csv (r9, 9.0 s), " in str(copied)


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": {"metrics": {"rows_read": "many"}}},
        {"metadata": {"metrics": {"reject_reasons": []}}},
        {"started_at": "yesterday", "finished_at": "today"},
    ],
)
async def test_a_run_that_cannot_be_read_is_counted_and_named_and_stops_no_count(
    status: str, broken: dict[str, Any]
) -> None:
    client, _ = fake_client([FakeAnswer(200, run_json("r1", status, **broken))])
    summary = Summary.of([Outcome("r1", run=await client.run_status("r1"))])

    assert summary.statuses == {status: 1}
    (failure,) = summary.failures
    assert (failure.run_id, failure.status) == ("r1", status)
    assert "can't be decoded" in failure.message
    assert "@ $." in failure.message


def test_equal_counts_are_in_the_same_order_whichever_run_ended_first():
    one, other = Summary(), Summary()
    for reason in ("b", "a", "c", "c"):
        one.reject_reasons[reason] += 1
    for reason in ("c", "a", "c", "b"):
        other.reject_reasons[reason] += 1
    assert str(one) == str(other)
    assert "rejected because: c 2, a 1, b 1" in str(one)
