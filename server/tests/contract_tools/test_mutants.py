"""A server that checks one thing less is noticed by schemathesis, which knows nothing but openapi.yaml.

The words are those of the reason: the server itself passes, in test_schemathesis.py.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_tools.support import schemathesis, served

from lume_local._http import front, queries, requests
from lume_local._http.access.keys import OWN, Holder
from lume_local._http.exchange import Problem

Mutant = Callable[[pytest.MonkeyPatch], None]
FIELDS = requests.SubmissionBody._fields


def any_key(patch: pytest.MonkeyPatch) -> None:
    """No API key is needed."""

    async def anyone(*_: object) -> Holder:
        return OWN

    patch.setattr(front.Front, "_authenticated", anyone)


def any_limit(patch: pytest.MonkeyPatch) -> None:
    """`limit` has no bounds."""

    def number(query: dict[str, str], default: int, most: int) -> int:
        digits = re.sub("[^0-9]", "", query.get("limit", ""))
        return min(max(int(digits[:9] or default), 1), most)

    patch.setattr(queries, "limit_of", number)


def any_idempotency_key(patch: pytest.MonkeyPatch) -> None:
    """Idempotency keys of any length."""
    patch.setattr(requests, "_KEY", re.compile(".*"))


def any_line(patch: pytest.MonkeyPatch) -> None:
    """Control characters in names."""
    patch.setattr(requests, "control_in", lambda _: "")


def _tolerant(patch: pytest.MonkeyPatch, mend: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    original = requests.submission

    def submission(body: bytes, *more: Any) -> requests.SubmissionBody:
        return original(json.dumps(mend(requests.json_object(body, *more))).encode(), *more)

    patch.setattr(requests, "submission", submission)


def any_field(patch: pytest.MonkeyPatch) -> None:
    """Fields that a run request does not have are ignored."""
    _tolerant(patch, lambda fields: {name: value for name, value in fields.items() if name in FIELDS})


def any_truth(patch: pytest.MonkeyPatch) -> None:
    """`force_rerun` may be anything."""
    _tolerant(patch, lambda fields: fields | {"force_rerun": bool(fields.get("force_rerun"))})


def any_method(patch: pytest.MonkeyPatch) -> None:
    """A method that a path does not have is answered as a path that is not there."""
    original = front.problem_answer

    def problem_answer(problem: Problem, *more: Any) -> Any:
        return original(Problem("not-found", "nothing") if problem.status == 405 else problem)

    patch.setattr(front, "problem_answer", problem_answer)


MUTANTS: list[tuple[Mutant, str, str]] = [
    (any_key, "listRuns", "API accepts requests without authentication"),
]
MORE: list[tuple[Mutant, str, str]] = [
    (any_limit, "listRuns", "parameter `limit` in query"),
    (any_idempotency_key, "submitRun", "parameter `Idempotency-Key` in header"),
    (any_line, "submitRun", "source_path: Value not matching"),
    (any_field, "submitRun", "object with unexpected properties"),
    (any_truth, "submitRun", "force_rerun: Incorrect type"),
    (any_method, "health", "Wrong response to undeclared method"),
]


@pytest.mark.thorough
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mutant", "operation", "words"),
    [*MUTANTS, *(pytest.param(*each, marks=pytest.mark.thorough) for each in MORE)],
    ids=lambda value: getattr(value, "__name__", "-"),
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
