"""`register_flow`, `flow_version` and `list_flows` against a scripted server."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from lume_async import FlowVersion, InvalidRequestError, NotSupportedError, ResponseDecodeError
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

TOML = """
flow = "people"
version = "v1"
[columns.id]
type = "integer"
"""
DEFINITION: dict[str, Any] = {"flow": "people", "version": "v1", "columns": {"id": {"type": "integer"}}}
STORED = {
    "flow_version": "people:v1",
    "content_hash": "0" * 64,
    "created_at": "2026-01-02T03:04:05Z",
    "definition": DEFINITION,
}
COLUMN = {"name": "id", "sql": '"id"', "type": "integer", "sql_type": "BIGINT"}
OF_LAYOUTS = {key: value for key, value in COLUMN.items() if key != "sql"}
SUMMARY = {**STORED, "runs": 3, "columns": [COLUMN, OF_LAYOUTS], "more": "ignored"}


@pytest.mark.parametrize("form", ["text", "path", "name", "dict"])
async def test_a_flow_may_be_a_file_its_text_or_a_dict(tmp_path: Path, form: str) -> None:
    path = tmp_path / "people.toml"
    path.write_text(TOML)
    given: Any = {"text": TOML, "path": path, "name": str(path), "dict": DEFINITION}[form]
    client, transport = fake_client([FakeAnswer(201, STORED), FakeAnswer(200, STORED)])

    first, again = [await client.register_flow(given) for _ in range(2)]

    assert (first.flow_version, first.definition, first.is_new) == ("people:v1", DEFINITION, True)
    assert not again.is_new
    request = transport.requests[0]
    assert (request.method, request.path) == ("PUT", "/v1/flows/people/versions/v1")
    assert request.json() == DEFINITION
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("no/such/file.toml", "no/such/file.toml can't be read: No such file"),
        ("flow = \nversion", "this is not TOML: "),
        ('[columns.a]\nsql = trim("Nr")', r"column 7\): write a text in quotes, such as sql = '''…'''; no"),
        ({"flow": "a/../b", "version": "v1"}, "'a/../b:v1' is not a flow version"),
        ({"flow": "people"}, "version is missing"),
        (5, "a flow must be a path, a string or a dict, not int"),
        (None, "a flow must be a path, a string or a dict, not NoneType"),
        (
            {**DEFINITION, "rules": [{"minimum": 10**400}]},
            r"rules\[0\].minimum must be a number of at most 64",
        ),
        (
            {**DEFINITION, "columns": {"a": {"minimum": datetime.date(2024, 1, 2)}}},
            "columns.a.minimum must be",
        ),
        ({**DEFINITION, "rejects": {"max_ratio": float("nan")}}, "rejects.max_ratio must be a finite number"),
        ({**DEFINITION, 1: 2}, "a key that is not a string, 1"),
        ({**DEFINITION, "rules": [{"name": b"x"}]}, r"rules\[0\].name must be"),
    ],
)
async def test_what_can_not_be_sent_is_refused_before(flow: Any, message: str) -> None:
    client, transport = fake_client([])
    with pytest.raises(InvalidRequestError, match=message) as caught:
        await client.register_flow(flow)
    assert "no request was sent" in str(caught.value)
    assert transport.requests == []


@pytest.mark.parametrize("ref", ["people", "people:", ":v1", "a/b:v1", "people:v1/schema", "", None])
async def test_what_is_no_flow_version(ref: Any) -> None:
    client, _ = fake_client([])
    with pytest.raises(InvalidRequestError, match="is not a flow version such as"):
        await client.flow_version(ref)


async def test_a_version_that_exists_with_other_content() -> None:
    problem = {"type": "urn:lume:problem:flow-version-exists", "detail": "raise its version", "status": 409}
    client, _ = fake_client([FakeAnswer(409, problem)])
    with pytest.raises(InvalidRequestError, match="raise its version") as caught:
        await client.register_flow(DEFINITION)
    assert type(caught.value) is InvalidRequestError


async def test_one_flow_version() -> None:
    schema = {"title": "people:v1"}
    stored = FakeAnswer(200, {**STORED, "is_new": True, "target_schema": "of a newer server"})
    client, transport = fake_client([stored, FakeAnswer(200, schema)])
    found = await client.flow_version("people:v1")
    assert found.target_schema == schema
    assert isinstance(found, FlowVersion)
    assert found.created_at == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert not found.is_new
    assert "definition" not in repr(found)
    assert transport.requests[0].path == "/v1/flows/people/versions/v1"


async def test_a_server_without_schemas() -> None:
    client, _ = fake_client([FakeAnswer(200, STORED), FakeAnswer(404, b"nothing")])
    assert (await client.flow_version("people:v1")).target_schema is None


async def test_the_list_is_read_page_by_page() -> None:
    def answer(request: FakeRequest) -> FakeAnswer:
        last = "cursor=next" in request.path
        return FakeAnswer(200, {"items": [SUMMARY], "next_cursor": None if last else "next"})

    client, transport = fake_client(answer)
    found = [flow async for flow in client.list_flows("people")]
    assert [flow.runs for flow in found] == [3, 3]
    assert (found[0].columns[0].name, found[0].columns[0].constraints, found[0].rules) == ("id", {}, [])
    assert [column.sql for column in found[0].columns] == ['"id"', None], "only its layouts read it"
    assert transport.requests[0].path == "/v1/flows?limit=100&flow=people"


async def test_a_server_without_flows() -> None:
    for answer in (FakeAnswer(404, b"nothing"), FakeAnswer(405), FakeAnswer(501)):
        client, transport = fake_client([answer] * 3)
        with pytest.raises(NotSupportedError, match="does not offer the operation"):
            await client.register_flow(DEFINITION)
        with pytest.raises(NotSupportedError):
            await client.flow_version("people:v1")
        with pytest.raises(NotSupportedError):
            await anext(client.list_flows())
        assert len(transport.requests) == 3
    client, _ = fake_client([FakeAnswer(404, {"type": "urn:lume:problem:flow-version-not-found"})])
    with pytest.raises(InvalidRequestError):
        await client.flow_version("people:v1")


async def test_a_list_that_breaks_the_contract() -> None:
    page = {"items": [{**SUMMARY, "runs": "many"}], "next_cursor": None}
    client, _ = fake_client(lambda request: FakeAnswer(200, page))
    with pytest.raises(ResponseDecodeError, match=r"@ \$.items\[0\].runs"):
        await anext(client.list_flows())
