"""A server that checks one thing less is noticed by schemathesis, which knows nothing but openapi.yaml.

The server itself passes the same runs: else a mutant would be noticed for another reason.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_tools.support import schemathesis, served

from lume_local._http import front, requests
from lume_local._http.problems import Problem

Mutant = Callable[[pytest.MonkeyPatch], None]
FIELDS = ("flow_version", "source_path", "run_metadata", "force_rerun", "webhook_url")
ACCEPTED = "Schema-violating request accepted"


def any_key(patch: pytest.MonkeyPatch) -> None:
    """No API key is needed."""
    patch.setattr(front.Front, "_authenticate", lambda *_: None)


def any_limit(patch: pytest.MonkeyPatch) -> None:
    """`limit` has no bounds."""

    def number(query: dict[str, str], name: str, default: int, *_: int) -> int:
        digits = re.sub("[^0-9]", "", query.get(name, ""))
        return min(max(int(digits[:9] or default), 1), 1000)

    patch.setattr(requests, "whole_number", number)


def any_idempotency_key(patch: pytest.MonkeyPatch) -> None:
    """Idempotency keys of any length."""
    patch.setattr(requests, "_KEY", re.compile(".*"))


def any_line(patch: pytest.MonkeyPatch) -> None:
    """Control characters in names."""
    patch.setattr(requests, "_CONTROL", re.compile("(?!)"))


def any_number(patch: pytest.MonkeyPatch) -> None:
    """Numbers of more than 64 bits in the caller's data."""
    patch.setattr(requests, "_check_json", lambda *_: None)


def any_field(patch: pytest.MonkeyPatch) -> None:
    """Fields that a run request does not have are ignored."""
    original = requests.submission

    def submission(body: bytes, *more: Any) -> requests.Submission:
        fields = requests.json_object(body, *more)
        known = {name: value for name, value in fields.items() if name in FIELDS}
        return original(json.dumps(known).encode(), *more)

    patch.setattr(requests, "submission", submission)


def any_method(patch: pytest.MonkeyPatch) -> None:
    """A method that a path does not have is answered as a path that is not there."""
    original = front.problem_answer

    def problem_answer(problem: Problem, *more: Any) -> Any:
        return original(Problem("not-found", "nothing") if problem.status == 405 else problem)

    patch.setattr(front, "problem_answer", problem_answer)


MUTANTS: list[tuple[Mutant, str, str]] = [
    (any_key, "listRuns", "API accepts requests without authentication"),
    (any_limit, "listRuns", ACCEPTED),
    (any_idempotency_key, "submitRun", ACCEPTED),
    (any_line, "submitRun", ACCEPTED),
    (any_number, "submitRun", ACCEPTED),
    (any_field, "submitRun", ACCEPTED),
    (any_method, "health", "Unsupported method"),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mutant", "operation", "words"), MUTANTS, ids=lambda value: getattr(value, "__name__", "-")
)
def test_a_server_that_checks_less_is_noticed(
    mutant: Mutant, operation: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with served(tmp_path) as url:
        # One phase is enough but for numbers, which it does not vary inside of an object.
        phases = "coverage,fuzzing" if mutant is any_number else "coverage"
        options = ["--include-operation-id", operation, "--phases", phases, "--max-examples", "25"]
        report = schemathesis(url, tmp_path, *options, "--max-failures", "1")
    print(report.text[-3000:])
    assert report.code == 1
    assert words in report.text, report.text
