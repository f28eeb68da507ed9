"""The golden JSON under tests/contract: what the server sends has just these members, of just these types.

The client's tests decode the same files, so that one misunderstanding cannot hide at both ends.
"""

import asyncio
import json
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from local.flows import slow_rows
from local.wire import ARROW, SPEC, Wire, validate

import lume_local
from lume_local._http.contract import CAPABILITIES
from lume_local._http.exchange import _TITLES, TYPE, Problem
from tools import openapi_json

DESCRIPTION = Path(lume_local.__file__).parent / "openapi.yaml"
GOLDEN = Path(__file__).parents[5] / "tests/contract"


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
    from openapi_spec_validator import validate  # takes as long to import as hundreds of tests to collect

    validate(SPEC)
    assert SPEC["components"]["headers"]["Lume-Capabilities"]["example"] == CAPABILITIES
    assert yaml.safe_dump(SPEC)
    aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(DESCRIPTION.read_text()))
    assert 0 < aliases <= 50, "SnakeYAML, and so many tools in Java, would refuse the file"


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation by its name; the webhook is one."""
    for path in SPEC["paths"].values():
        for method, operation in path.items():
            if method != "parameters":
                yield operation["operationId"], operation
                for callback in operation.get("callbacks", {}).values():
                    yield from ((one["post"]["operationId"], one["post"]) for one in callback.values())


def test_every_operation_is_described_for_people() -> None:
    tags = {tag["name"]: tag["description"] for tag in SPEC["tags"]}
    for name, operation in operations():
        assert operation["summary"], name
        assert set(operation["tags"]) <= set(tags), name
    assert all(tags.values())
    assert SPEC["info"]["contact"]["url"]
    assert SPEC["info"]["license"]["identifier"] == "Apache-2.0"
    (server,) = SPEC["servers"]
    assert set(server["variables"]) == {"host", "port"}


def test_a_submission_leads_to_its_status() -> None:
    responses = SPEC["paths"]["/v1/runs"]["post"]["responses"]
    link = responses["201"]["links"]["status"]
    assert link["operationId"] == "getRun"
    assert link["parameters"] == {"run_id": "$response.body#/id"}
    assert "links" not in responses["200"], "it may be the answer to a dry run, whose id is that of no run"


def test_a_bare_server_needs_no_headers_of_its_own() -> None:
    assert not [name for name, header in SPEC["components"]["headers"].items() if header.get("required")]


def bodies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every body that is no error, with its name and its content type."""
    for name, operation in operations():
        if name.startswith("getDescription"):
            continue  # this document is its own example
        described = [("request", operation["requestBody"])] if "requestBody" in operation else []
        described += [(status, one) for status, one in operation["responses"].items() if "$ref" not in one]
        for which, one in described:
            for content_type, media in one.get("content", {}).items():
                if content_type == ARROW:  # no text can be an example of it
                    assert media == {"schema": {"type": "string", "format": "binary"}}
                    continue
                yield f"{name}.{which}", content_type, media


def test_every_body_has_a_golden_file_as_its_example() -> None:
    for name, content_type, media in list(bodies()):
        assert media["examples"], name
        for example in media["examples"].values():
            file = (DESCRIPTION.parent / example["externalValue"]).resolve()
            assert file.parent == GOLDEN
            if file.suffix == ".toml":
                assert tomllib.loads(file.read_text()) == golden("flow_version")["definition"]
            elif file.suffix == ".json":
                validate(media["schema"]["$ref"].removeprefix("#"), json.loads(file.read_bytes()))
            else:
                assert content_type in ("application/octet-stream", "application/partial-upload")
                assert media["schema"] == {"type": "string", "format": "binary"}


def test_every_golden_file_is_an_example_or_a_problem() -> None:
    named = {
        Path(example["externalValue"]).name for _, _, one in bodies() for example in one["examples"].values()
    }
    assert named | {"problem_field.json"} == {path.name for path in GOLDEN.iterdir()}


def test_every_problem_is_described_with_an_example() -> None:
    described = {
        example["type"].removeprefix(TYPE): (example["status"], example["title"])
        for response in SPEC["components"]["responses"].values()
        for one in response["content"]["application/problem+json"]["examples"].values()
        for example in [one["value"]]
    }
    for name in ("problem_duplicate", "problem_in_progress"):
        example = golden(name)
        described[example["type"].removeprefix(TYPE)] = (example["status"], example["title"])
    assert described == _TITLES
    assert sorted(SPEC["components"]["schemas"]["ProblemType"]["enum"]) == sorted(
        TYPE + kind for kind in _TITLES
    )


def test_examples_of_problems_are_as_described() -> None:
    for name, response in SPEC["components"]["responses"].items():
        for kind, example in response["content"]["application/problem+json"]["examples"].items():
            validate("/components/schemas/Problem", example["value"])
            assert example["value"]["type"] == TYPE + kind, name


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from schemas(below)


def test_only_requests_are_closed() -> None:
    closed = [
        name
        for name, schema in SPEC["components"]["schemas"].items()
        if schema.get("additionalProperties") is False
    ]
    assert [name for name in closed if not name.startswith("Flow")] == [
        "RunRequest",
        "Dismissal",
        "Discard",
        "AssignRows",
        "ReplayRequest",
        "DraftChanges",
        "JudgeDraft",
        "ClusterValues",
        "TryRule",
        "SuggestRepairs",
        "SubmitDraft",
        "ReviewDraft",
        "ArrivalMove",
        "ArrivalRetry",
        "ColumnChoice",
        "Forget",
    ]
    assert "FlowVersion" not in closed


def test_an_object_says_what_it_holds() -> None:
    for schema in schemas(SPEC["components"]["schemas"]):
        if schema.get("type") in ("object", ["object", "null"]):
            assert "properties" in schema or "additionalProperties" in schema, schema


def test_times_are_in_utc_by_their_format_alone() -> None:
    """A pattern is searched for by some tools and matched from the start by others: `Z$` refuses every run."""
    assert [
        schema for schema in schemas(SPEC) if schema.get("format") == "date-time" and "pattern" in schema
    ] == []
    with pytest.raises(AssertionError, match="date-time"):
        validate("/components/schemas/Time", "2026-01-02T03:04:05+00:00")


def test_the_description_as_json_is_up_to_date() -> None:
    assert openapi_json.TARGET.read_text() == openapi_json.built()


BASE = {"flow_version": "people:v1", "source_path": "people.csv"}


REQUESTS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"source_path": "a b/ü.csv"}, True),
    ({"source_path": " "}, False),
    ({"source_path": "a\nb"}, False),
    ({"flow_version": "a\x7f"}, False),
    ({"flow_version": "f" * 257}, False),
    ({"run_metadata": {"a": [{"b": 2**63}, -(2**63), 2**64 - 1]}}, True),
    ({"run_metadata": {"a": [{"b": 2**64}]}}, False),
    ({"run_metadata": {"a": -(2**63) - 1}}, False),
    ({"run_metadata": {"a": [1e19, -9e18]}}, True),
    ({"run_metadata": {"a": [1e20]}}, False),
    ({"run_metadata": []}, False),
    ({"more": 1}, False),
    ({"force_rerun": 1}, False),
    ({"dry_run": True, "limit": 0}, True),
    ({"dry_run": True, "limit": 1000.0}, True),
    *(({"dry_run": True, "limit": limit}, False) for limit in (1001, -1, 1.5, True, "5", None)),
    ({"dry_run": False, "limit": 1}, False),
    ({"limit": 1}, False),
    ({"dry_run": 1}, False),
]


def is_described(schema: str, body: Any) -> bool:
    try:
        validate(f"/components/schemas/{schema}", body)
    except AssertionError:
        return False
    return True


async def test_requests_are_described_as_strictly_as_they_are_checked(wire: Wire) -> None:
    for changes, is_valid in REQUESTS:
        body = BASE | changes
        assert is_described("RunRequest", body) is is_valid, changes
        answer = await wire.ask("POST", "/v1/runs", json=body)
        refused = answer.status == 422 and answer.kind == "invalid-field"
        assert refused is not is_valid, changes


DEFINITIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("people", {}, True),
    ("-people", {"flow": "-people"}, False),
    ("people", {"columns": {}}, False),
    ("people", {"columns": {"id": {"type": "money"}}}, False),
    ("people", {"columns": {"id": {"maxLength": -1}}}, False),
    ("people", {"more": 1}, False),
    ("people", {"rules": [{"name": "r"}]}, False),
    ("people", {"expect": [{"name": "e", "sql": "count(*) > 0"}]}, True),
    ("people", {"expect": [{"name": "e", "sql": "true", "on_fail": "reject"}]}, False),
    ("people", {"seeds": {"s": {"path": "s.csv", "key": "k"}}}, True),
    ("people", {"seeds": {"s": {"path": "s.csv"}}}, False),
    ("people", {"source": {"uri": ["a.csv", "b/*.gz"], "compression": "gzip"}}, True),
    ("people", {"source": {"uri": []}}, False),
    ("people", {"source": {"format": "excel", "excel": {"sheet": "A"}}}, True),
    ("people", {"source": {"format": "sql", "url_env": "SHOP_URL", "query": "SELECT 1 AS id"}}, True),
    (
        "people",
        {"source": {"format": "sql", "url_env": "sqlite:///shop", "query": "SELECT 1 AS id"}},
        False,
    ),
    ("people", {"target": {"mapped": {"url_env": "SHOP_URL", "table": "t", "mode": "append"}}}, True),
    ("people", {"target": {"mapped": {"url_env": "SHOP_URL", "table": "t"}}}, False),
    ("people", {"target": {"mapped": {"url_env": "SHOP_URL", "table": "a b.ü", "mode": "append"}}}, True),
    ("people", {"target": {"mapped": {"url_env": "SHOP_URL", "table": 'a"b', "mode": "append"}}}, False),
    (
        "people",
        {"target": {"mapped": {"url_env": "SHOP_URL", "table": "t", "mode": "append", "create": 1}}},
        False,
    ),
    ("people", {"columns": {"id": {"unique": "always"}}}, False),
    ("people", {"columns": {"id": {"references": {"url_env": "A", "table": "t"}}}}, False),
    ("people", {"source": {"where": "id <> 1"}}, True),
    ("people", {"rejects": {"max_ratio": 2}}, False),
    ("people", {"source": {"format": "xlsx"}}, False),
    ("people", {"source": {"format": "xml", "xml": {"records": "a/b"}}}, True),
    ("people", {"source": {"format": "xml", "xml": {"records": 7}}}, False),
    ("people", {"source": {"format": "json", "json": {"records": ["a.b", "c"]}}}, True),
    ("people", {"source": {"format": "json", "json": {"path": "a"}}}, False),
    ("people", {"source": {"format": "fixed", "fixed": {"widths": [1, 2], "trimmed": True}}}, True),
    ("people", {"source": {"format": "fixed", "fixed": {"widths": [0]}}}, False),
    ("people", {"source": {"format": "fixed", "fixed": {"columns": {"id": [1]}}}}, False),
    ("people", {"source": {"max_line_bytes": 0}}, False),
]


async def test_flow_definitions_are_described_as_strictly_as_they_are_checked(wire: Wire) -> None:
    for number, (flow, changes, is_valid) in enumerate(DEFINITIONS, 2):
        body = golden("flow_definition") | {"version": f"v{number}"} | changes
        assert is_described("FlowDefinition", body) is is_valid, changes
        answer = await wire.ask("PUT", f"/v1/flows/{flow}/versions/v{number}", json=body)
        assert (answer.status == 201) is is_valid, changes


@pytest.mark.thorough
async def test_answers_are_as_the_golden_files_say(wire: Wire, home: Path) -> None:
    found: dict[str, Any] = {}
    body = golden("run_request")
    (home / "mixed.csv").write_text("id,Email,Age\n1,a@b.org,5\nx,y,6\n")
    found["run_created"] = (await wire.ask("POST", "/v1/runs", json=body)).document
    found["run_succeeded"] = await wire.until(found["run_created"]["id"])
    found["problem_duplicate"] = (await wire.ask("POST", "/v1/runs", json=body)).document
    found["run_partial_failed"] = await wire.run("people:v1", "mixed.csv", run_metadata={"ticket": "A-1"})
    dry = await wire.submit("people:v1", "mixed.csv", run_metadata={"ticket": "A-1"}, dry_run=True)
    found["run_dry"] = dry.document
    found["run_failed"] = await wire.run("people:v1", "absent.csv", run_metadata={"ticket": "A-1"})
    found["statistics"] = (await wire.ask("GET", "/v1/statistics?by=hour,status")).document
    found["statistics"]["items"] = [one for one in found["statistics"]["items"] if one["status"] != "FAILED"]
    found["problem_field"] = (await wire.submit("people:v1", "")).document
    found["runs_page"] = (await wire.ask("GET", "/v1/runs?limit=1")).document
    start = (await wire.ask("GET", "/v1/changes")).document
    await wire.run("people:v1", "people.csv", run_metadata=body["run_metadata"], force_rerun=True)
    found["changes_page"] = (
        await wire.ask("GET", "/v1/changes", params={"after": start["next_cursor"]})
    ).document
    after = {"after": start["next_cursor"], "include": "run"}
    found["changes_with_runs"] = (await wire.ask("GET", "/v1/changes", params=after)).document
    found["changes_with_runs"]["items"] = found["changes_with_runs"]["items"][-2:]
    (home / "slow.csv").write_text(slow_rows())
    slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    found["problem_in_progress"] = (await wire.submit("slow:v1", "slow.csv")).document
    await wire.ask("POST", f"/v1/runs/{slow}/cancel")
    while "backup_age_seconds" not in (health := (await wire.ask("GET", "/healthz")).document):
        await asyncio.sleep(0.01)
    found["health"] = health
    upload = (GOLDEN / "upload.csv").read_bytes()
    found["upload"] = (await wire.ask("PUT", "/v1/uploads/customers.csv", data=upload)).document
    flow = "/v1/flows/people/versions/v2"
    found["flow_version"] = (await wire.ask("PUT", flow, json=golden("flow_definition"))).document
    found["target_schema"] = (await wire.ask("GET", f"{flow}/schema")).document
    assert found["upload"] == golden("upload")
    assert found["target_schema"] == golden("target_schema")
    assert found["flow_version"] == golden("flow_version") | {
        "created_at": found["flow_version"]["created_at"]
    }
    output = f"/v1/runs/{found['run_partial_failed']['id']}/outputs/rejects"
    async with wire.session.get(output) as response:
        assert await response.text() == (GOLDEN / "rejects.csv").read_text()
    for name, document in found.items():
        assert shape(document) == shape(golden(name)), name


def test_every_problem_is_well_formed() -> None:
    for kind in _TITLES:
        problem = Problem(kind, "what to do")
        validate("/components/schemas/Problem", problem.document)


def test_duckdb_is_a_version_that_is_supported() -> None:
    assert (1, 4) <= tuple(map(int, version("duckdb").split(".")[:2])) < (3, 0)


async def test_times_in_rows_are_as_described(wire: Wire, home: Path) -> None:
    from jsonschema import Draft202012Validator, FormatChecker

    times = {"format": "date-time"}
    columns = {"at": {"sql": "id", **times}, "plain": {"sql": "id", "sql_type": "TIMESTAMP", **times}}
    flow = {"flow": "times", "version": "v1", "columns": columns}
    assert (await wire.ask("PUT", "/v1/flows/times/versions/v1", json=flow)).status == 201
    (home / "times.csv").write_text("id\n2026-01-02 03:04:05.678\n")
    run = await wire.run("times:v1", "times.csv")
    (row,) = (await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document["items"]
    schema = (await wire.ask("GET", "/v1/flows/times/versions/v1/schema")).document

    assert row == {"at": "2026-01-02 03:04:05.678+00", "plain": "2026-01-02 03:04:05.678"}
    assert f"`{row['at']}`" in SPEC["components"]["schemas"]["MappedRow"]["description"]
    assert Draft202012Validator(schema).is_valid(row)
    assert schema["properties"]["at"]["format"] == "date-time"
    asserting = Draft202012Validator(schema, format_checker=FormatChecker(["date-time"]))
    described = SPEC["paths"]["/v1/flows/{flow}/versions/{version}/schema"]["get"]["description"]
    assert asserting.is_valid(row) or "do not let a validator assert it" in described
