"""A bare HTTP client for the tests: no code of lume_async, and every answer is held against openapi.yaml."""

import re
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from attrs import frozen
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import lume_local

SPEC = yaml.safe_load((Path(lume_local.__file__).parent / "openapi.yaml").read_text())
_REGISTRY = Registry().with_resource("urn:spec", Resource.from_contents(SPEC, DRAFT202012))
_PATHS = {re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path)): path for path in SPEC["paths"]}
CAPABILITIES = "idempotency, wait, changes, cancel"


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
        {"$ref": f"urn:spec#{schema_path}"}, registry=_REGISTRY, format_checker=FormatChecker()
    )
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, errors


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def check(method: str, path: str, answer: Answer) -> None:
    """Hold an answer against the description of its operation."""
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Lume-Capabilities"] == CAPABILITIES
    assert answer.headers["Date"]
    if answer.status >= 400:
        validate("/components/schemas/Problem", answer.document)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.document["status"] == answer.status
        if answer.status != 409 or method != "POST":
            return
    template = next(template for pattern, template in _PATHS.items() if pattern.fullmatch(path))
    described = SPEC["paths"][template][method.lower()]["responses"][str(answer.status)]
    if answer.status == 304:
        assert answer.document is None
        return
    (content_type,) = described["content"]
    assert answer.headers["Content-Type"] == content_type
    where = [
        "paths",
        template,
        method.lower(),
        "responses",
        str(answer.status),
        "content",
        content_type,
        "schema",
    ]
    validate("/" + "/".join(map(_pointer, where)), answer.document)


class Wire:
    """Requests to one server."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.session = aiohttp.ClientSession(base_url, headers={"lume-api-key": api_key})

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """One request; its answer is checked."""
        async with self.session.request(method, path, **options) as response:
            document = await response.json(content_type=None) if response.content_length else None
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
