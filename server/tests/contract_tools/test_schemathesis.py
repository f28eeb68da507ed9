"""schemathesis, which reads nothing but openapi.yaml: requests inside and outside of it, and chains of them.

A server that checks one thing less is noticed by it: else it would say nothing about the server as it is.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_tools.support import schemathesis, served

from lume_local._http import front, requests
from lume_local._http.access.keys import OWN, Holder

Mutant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.thorough
@pytest.mark.timeout(240)
def test_the_server_is_as_the_document_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_LONGEST_WAIT", 1)  # schemathesis is not patient
    with served(tmp_path) as url:
        report = schemathesis(url, tmp_path, "--max-examples", "4")
    print(report.text[-1000:])
    assert report.code == 0, report.text
    assert report.cases >= 800
    assert report.operations == 45


def any_key(patch: pytest.MonkeyPatch) -> None:
    """No API key is needed."""

    async def anyone(*_: object) -> Holder:
        return OWN

    patch.setattr(front.Front, "_authenticated", anyone)


def any_field(patch: pytest.MonkeyPatch) -> None:
    """Fields that a run request does not have are ignored."""
    original = requests.submission

    def submission(body: bytes, *more: Any) -> requests.SubmissionBody:
        fields = requests.json_object(body, *more)
        known = {name: value for name, value in fields.items() if name in requests.SubmissionBody._fields}
        return original(json.dumps(known).encode(), *more)

    patch.setattr(requests, "submission", submission)


@pytest.mark.thorough
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mutant", "operation", "words"),
    [
        (any_key, "listRuns", "API accepts requests without authentication"),
        (any_field, "submitRun", "object with unexpected properties"),
    ],
    ids=["key", "field"],
)
def test_a_server_that_checks_less_is_noticed(
    mutant: Mutant, operation: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with served(tmp_path) as url:
        # This phase draws nothing at random.
        options = ["--include-operation-id", operation, "--phases", "coverage"]
        report = schemathesis(url, tmp_path, *options, "--max-failures", "1")
    print(report.text[-3000:])
    assert report.code == 1
    assert words in report.text, report.text
