"""A bare HTTP client for the tests: no code of lume_async, and every answer is held against openapi.yaml."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from attrs import frozen
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import lume_local

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has libyaml
SPEC = yaml.load((Path(lume_local.__file__).parent / "openapi.yaml").read_text(), _Loader)


def strict(value: Any) -> Any:
    """The same description with closed objects: other servers may add members, ours adds none unsaid."""
    if isinstance(value, list):
        return [strict(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = (
        {"additionalProperties": False} if value.get("type") == "object" and "properties" in value else {}
    )
    return closed | {key: strict(item) for key, item in value.items()}


_FORMATS = FormatChecker()


@_FORMATS.checks("date-time", raises=ValueError)
def _is_utc(value: object) -> bool:
    return not isinstance(value, str) or (value.endswith("Z") and datetime.fromisoformat(value) is not None)


_REGISTRY = Registry().with_resource("urn:spec", Resource.from_contents(strict(SPEC), DRAFT202012))
_PATHS = {re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path)): path for path in SPEC["paths"]}
_OF_HTTP = {"date", "server", "content-type", "content-length", "cache-control", "connection"} | {
    "transfer-encoding",
    "content-security-policy",
    "x-content-type-options",
}
"""Headers that need no description; all others a response has exactly where it is described with them."""
ARROW = "application/vnd.apache.arrow.stream"
CAPABILITIES = "idempotency, wait, changes, cancel, table"


@frozen
class Answer:
    """What came back."""

    status: int
    headers: Any
    document: Any

    @property
    def kind(self) -> str:
        """The kind of a problem."""
        return self.document["type"].removeprefix("urn:lume:problem:")


def validate(schema_path: str, value: Any) -> None:
    """Hold a value against a part of the description, named by a JSON pointer."""
    validator = Draft202012Validator(
        {"$ref": f"urn:spec#{schema_path}"}, registry=_REGISTRY, format_checker=_FORMATS
    )
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, errors


def _pointer(*parts: str) -> str:
    return "".join(
        "/" + part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
        for part in parts
    )


def _described(method: str, path: str, status: int) -> tuple[str, Any]:
    """The description of a response, and where it is."""
    template = next((template for pattern, template in _PATHS.items() if pattern.fullmatch(path)), None)
    name = "get" if method == "HEAD" else method.lower()
    if template is None or name not in SPEC["paths"][template]:
        name = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed"}[status]
        return _pointer("components", "responses", name), SPEC["components"]["responses"][name]
    found = SPEC["paths"][template][name]["responses"][str(status)]
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        return _pointer("components", "responses", name), SPEC["components"]["responses"][name]
    return _pointer("paths", template, name, "responses", str(status)), found


def _is_sure(header: dict[str, Any]) -> bool:
    """Whether a header that is described is always there."""
    found = SPEC["components"]["headers"][header["$ref"].rpartition("/")[2]]
    return found.get("required") is not False


def check(method: str, path: str, answer: Answer) -> None:
    """Hold an answer against the description of its operation."""
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Lume-Capabilities"] == CAPABILITIES
    assert answer.headers["Date"]
    where, described = _described(method, path, answer.status)
    there = {name.lower() for name in answer.headers} - _OF_HTTP
    headers = {name.lower(): _is_sure(one) for name, one in described["headers"].items()}
    assert there <= set(headers), there - set(headers)
    assert {name for name, is_sure in headers.items() if is_sure} <= there
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if "content" not in described or method == "HEAD":
        assert answer.document is None
        return
    content_type = answer.headers["Content-Type"]
    assert content_type in described["content"]
    if content_type == ARROW:
        assert isinstance(answer.document, bytes)
        return
    validate(where + _pointer("content", content_type, "schema"), answer.document)
    if answer.status >= 400:
        assert answer.document["status"] == answer.status


class Wire:
    """Requests to one server."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.session = aiohttp.ClientSession(base_url, headers={"lume-api-key": api_key})

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """One request; its answer is checked."""
        async with self.session.request(method, path, **options) as response:
            is_json = response.content_length and "json" in response.content_type
            document = await response.json(content_type=None) if is_json else None
            if response.content_type == ARROW and method != "HEAD":
                document = await response.read()
            answer = Answer(response.status, response.headers, document)
            check(method, response.url.path, answer)
            return answer

    async def submit(
        self, flow_version: str, source_path: str, *, key: str | None = None, **fields: Any
    ) -> Answer:
        """Submit a run."""
        body = {"flow_version": flow_version, "source_path": source_path, **fields}
        return await self.ask("POST", "/v1/runs", json=body, headers={"Idempotency-Key": key} if key else {})

    async def get(self, run_id: str, *, wait: int | None = None, tag: str | None = None) -> Answer:
        """A run's present state."""
        headers = {"Prefer": f"wait={wait}"} if wait is not None else {}
        if tag is not None:
            headers["If-None-Match"] = tag
        return await self.ask("GET", f"/v1/runs/{run_id}", headers=headers)

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """Follow a run by long polls until it has one of the statuses, by default until it has ended."""
        answer = await self.get(run_id)
        while True:
            run: dict[str, Any] = answer.document
            if run["status"] in statuses or (not statuses and run["finished_at"]):
                return run
            assert not run["finished_at"], run
            tag = answer.headers["ETag"]
            while (answer := await self.get(run_id, wait=10, tag=tag)).status == 304:
                pass

    async def run(self, flow_version: str, source_path: str, **fields: Any) -> dict[str, Any]:
        """Submit a run and follow it to its end."""
        answer = await self.submit(flow_version, source_path, **fields)
        assert answer.status == 201, answer.document
        return await self.until(answer.document["id"])
