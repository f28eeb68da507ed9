"""Runs as the contract shows them."""

import pytest

from lume_local._http.documents import run_document
from lume_local._runs.records import Run

AT = "2026-01-06T09:00:00.000000Z"


@pytest.mark.parametrize(
    ("status", "started_at", "known", "shown"),
    [
        ("CREATED", None, None, 0.0),
        # Its worker is further than what is recorded: a run that waits and has made progress would contradict itself.
        ("CREATED", None, 0.82, 0.0),
        ("TRANSFORMING", AT, None, 0.0),
        ("TRANSFORMING", AT, 0.5, 0.5),
        ("FAILED", AT, None, 0.0),
        ("SUCCEEDED", AT, None, 1.0),
    ],
)
def test_progress_fits_the_status(
    status: str, started_at: str | None, known: float | None, shown: float
) -> None:
    run = Run(
        *(1, "run_1", 1, "flow:v1", "a.csv", "a.csv", None, False),
        *(status, AT, started_at, None, [], {}, {}, None),
    )
    assert run_document(run, known)["progress"] == shown
