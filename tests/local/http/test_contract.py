"""The golden JSON under tests/contract: what the server sends has just these members, of just these types.

The client's tests decode the same files, so that one misunderstanding cannot hide at both ends.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from local.wire import SPEC, Wire, validate
from openapi_spec_validator import validate as validate_openapi

from lume_local._http.operations import CAPABILITIES
from lume_local._http.problems import _TITLES, Problem

GOLDEN = Path(__file__).parents[2] / "contract"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def shape(value: Any) -> Any:
    """Members and types, without the values; lists of equal things count once."""
    if isinstance(value, dict):
        return {name: shape(below) for name, below in value.items()}
    if isinstance(value, list):
        shapes = [shape(below) for below in value]
        return [one for number, one in enumerate(shapes) if one not in shapes[:number]]
    return type(value).__name__


def test_the_description_is_openapi() -> None:
    validate_openapi(SPEC)
    assert SPEC["components"]["headers"]["Lume-Capabilities"]["example"] == CAPABILITIES
    assert yaml.safe_dump(SPEC)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("run_created", "Run"),
        ("run_succeeded", "Run"),
        ("run_partial_failed", "Run"),
        ("run_failed", "Run"),
        ("runs_page", "RunPage"),
        ("changes_page", "ChangePage"),
        ("problem_duplicate", "DuplicateProblem"),
        ("problem_field", "Problem"),
        ("run_request", "RunRequest"),
    ],
)
def test_golden_files_are_as_described(name: str, schema: str) -> None:
    validate(f"/components/schemas/{schema}", golden(name))


async def test_answers_are_as_the_golden_files_say(wire: Wire, home: Path) -> None:
    found: dict[str, Any] = {}
    body = golden("run_request")
    (home / "mixed.csv").write_text("id,Email,Age\n1,a@b.org,5\nx,y,6\n")
    found["run_created"] = (await wire.ask("POST", "/v1/runs", json=body)).document
    found["run_succeeded"] = await wire.until(found["run_created"]["id"])
    found["problem_duplicate"] = (await wire.ask("POST", "/v1/runs", json=body)).document
    found["run_partial_failed"] = await wire.run("people:v1", "mixed.csv", run_metadata={"ticket": "A-1"})
    found["run_failed"] = await wire.run("people:v1", "absent.csv", run_metadata={"ticket": "A-1"})
    found["problem_field"] = (await wire.submit("people:v1", "")).document
    found["runs_page"] = (await wire.ask("GET", "/v1/runs?limit=1")).document
    start = (await wire.ask("GET", "/v1/changes")).document
    await wire.run("people:v1", "people.csv", force_rerun=True)
    found["changes_page"] = (
        await wire.ask("GET", "/v1/changes", params={"after": start["next_cursor"]})
    ).document
    for name, document in found.items():
        assert shape(document) == shape(golden(name)), name


@pytest.mark.parametrize("kind", _TITLES)
def test_every_problem_is_well_formed(kind: str) -> None:
    problem = Problem(kind, "what to do")
    validate("/components/schemas/Problem", problem.document)


def test_duckdb_is_a_version_that_is_supported() -> None:
    assert (1, 4) <= tuple(map(int, version("duckdb").split(".")[:2])) < (3, 0)
