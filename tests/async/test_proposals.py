"""`propose` against a scripted server."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lume_async import InvalidRequestError, LumeError, NotSupportedError, Proposal, ResponseDecodeError
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

PROPOSAL = json.loads((Path(__file__).parents[1] / "contract/proposal.json").read_text())
SCHEMA = {"title": "My customers: v2", "properties": {"id": {"type": "integer"}}}


def server(request: FakeRequest) -> FakeAnswer:
    if request.method == "PUT":
        digest = hashlib.sha256(request.body or b"").hexdigest()
        name = request.path.rpartition("/")[2]
        return FakeAnswer(
            201, {"source_path": f"upload://{name}", "bytes": len(request.body or b""), "sha256": digest}
        )
    return FakeAnswer(200, PROPOSAL)


@pytest.mark.parametrize(
    ("target", "options", "path", "body"),
    [
        ("people", {}, "people", {"samples": ["a.csv"]}),
        ("people:v3", {}, "people", {"samples": ["a.csv"], "version": "v3"}),
        (SCHEMA, {}, "my_customers", {"samples": ["a.csv"], "schema": SCHEMA}),
        (SCHEMA, {"flow": "others"}, "others", {"samples": ["a.csv"], "schema": SCHEMA}),
        (
            *("people", {"choices": {"id": "Nr", "age": None}}),
            *("people", {"samples": ["a.csv"], "choices": {"id": "Nr", "age": None}}),
        ),
        (
            *("people", {"choices": {"id": {"sources": ["Nr"], "review": "approved"}}}),
            *("people", {"samples": ["a.csv"], "choices": {"id": {"sources": ["Nr"], "review": "approved"}}}),
        ),
        ("people", {"inline_lookups": True}, "people", {"samples": ["a.csv"], "inline_lookups": True}),
        (
            *("people", {"inline_lookups": True, "dry_run": True}),
            *("people", {"samples": ["a.csv"], "inline_lookups": True, "dry_run": True}),
        ),
        (
            *("people", {"source": {"format": "csv"}}),
            *("people", {"samples": ["a.csv"], "source": {"format": "csv"}}),
        ),
    ],
)
async def test_what_is_asked(target: Any, options: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    client, transport = fake_client(server)
    found = await client.propose(target, "a.csv", **options)
    (request,) = transport.requests
    assert (request.method, request.path) == ("POST", f"/v1/flows/{path}/proposals")
    assert request.json() == body
    assert isinstance(found, Proposal)
    assert found.flow_version == "people:v2"
    by_name = {column.name: column for column in found.columns}
    assert by_name["id"].chosen is None
    email = by_name["email"].chosen
    assert email is not None
    assert (email.sources, email.grade) == (["E-Mail"], "certain")
    assert email.values[0].before != email.values[0].after


async def test_local_files_are_uploaded_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    client, transport = fake_client(server)
    await client.propose("people", ["s.csv", tmp_path / "a.csv"])
    uploaded, asked = transport.requests
    assert uploaded.body == b"id\n1\n"
    first, second = asked.json()["samples"]
    assert first == "s.csv"
    assert second.startswith("upload://")
    await client.propose("people", ["s.csv", tmp_path / "a.csv"])
    assert transport.requests[3].json() == asked.json(), "the same files give the same proposal"


@pytest.mark.parametrize(
    ("target", "samples", "options", "words"),
    [
        ("a/b", "a.csv", {}, "flow_or_schema"),
        ("a:b:c", "a.csv", {}, "flow_or_schema"),
        ("people", [], {}, "samples must be 1 to 20"),
        ("people", ["a.csv"] * 21, {}, "samples must be 1 to 20"),
        ("people", "../a.csv", {}, "samples"),
        ("people", Path("/no/such/file.csv"), {}, "samples: there is no file"),
        ("people", "a.csv", {"flow": "x"}, "flow is for a schema"),
        ({}, "a.csv", {}, "flow is missing"),
        ({"title": "x", "properties": {"a": {"minimum": float("nan")}}}, "a.csv", {}, "flow_or_schema"),
        (5, "a.csv", {}, "flow_or_schema must be"),
        ("people", 5, {}, "samples must be"),
        ("people", "a.csv", {"source": 5}, "source must be"),
        ("people", "a.csv", {"inline_lookups": 1}, "inline_lookups must be"),
        ("people", "a.csv", {"choices": ["id"]}, "choices must be"),
        ("people", "a.csv", {"choices": {"id": 1}}, "choices must be"),
        ("people", "a.csv", {"dry_run": True}, "dry_run needs exactly one sample, and inline_lookups"),
        (
            "people",
            ["a.csv", "b.csv"],
            {"dry_run": True, "inline_lookups": True},
            "dry_run needs exactly one sample",
        ),
        ("people", "a.csv", {"dry_run": 1}, "dry_run must be"),
    ],
)
async def test_what_is_refused_without_a_request(
    target: Any, samples: Any, options: dict[str, Any], words: str
) -> None:
    client, transport = fake_client(server)
    with pytest.raises((LumeError, ValueError, TypeError), match=words):
        await client.propose(target, samples, **options)
    assert transport.requests == []


async def test_errors_of_the_server() -> None:
    client, _ = fake_client([FakeAnswer(404, {}), FakeAnswer(200, {"flow_version": 1})])
    with pytest.raises((NotSupportedError, InvalidRequestError)):
        await client.propose("people", "a.csv")
    with pytest.raises(ResponseDecodeError):
        await client.propose("people", "a.csv")


async def test_what_the_proposed_version_would_do_comes_with_it() -> None:
    run = json.loads((Path(__file__).parents[1] / "contract/run_dry.json").read_text())
    text = json.dumps({**PROPOSAL, "dry_run": run}).replace('"rows_read": ', '"rows_read": 1')
    client, _ = fake_client([FakeAnswer(200, text.encode()), FakeAnswer(200, PROPOSAL)])
    found = await client.propose("people", "a.csv", inline_lookups=True, dry_run=True)
    assert found.dry_run is not None
    assert found.dry_run.status == run["status"]
    assert found.dry_run.metrics.rows_read > run["metadata"]["metrics"]["rows_read"]
    assert found.dry_run.mapped == run["rows"]["mapped"]
    assert (await client.propose("people", "a.csv")).dry_run is None
