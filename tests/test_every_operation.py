"""Every operation of the contract, and each of its query parameters, is sent by a public method of the client."""

import ast
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from lume_async import ApiConnectionError, Client, LumeRun
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

ROOT = Path(__file__).parents[1]
CONTRACT = json.loads((ROOT / "server/lume_local/openapi.json").read_text())
METHODS = {"get", "put", "post", "delete", "patch"}
NOT_CALLED = {
    "getDescription": "the description is for tools",
    "getDescriptionAsJson": "the same",
    "live": "for the probes of what runs the server",
    "ready": "the same",
    **dict.fromkeys(("getServer", "moveArrival"), "for those who run the server"),
    **dict.fromkeys(
        (
            *("getDraft", "changeDraft", "removeDraft", "judgeDraft"),
            *("suggestRepairs", "clusterValues", "tryRule", "submitDraft", "reviewDraft"),
        ),
        "for pages in which people edit rows; a program corrects the rejects of a run with `resubmit`",
    ),
}
NOT_SENT = {("listChanges", "limit"): "a monitor wants every change, in pages of the server's size"}
HOLDS = {"Lume-Capabilities": "idempotency, wait, changes, cancel, table"}
MAY_SPEAK_HTTP = {
    "_health": "whether the server answers at all",
    **dict.fromkeys(("_work/conformance/kit", "_work/conformance/report"), "what servers answer, as it is"),
    "_work/doctor": "what is wrong with a server that a client can't use",
    "_work/webhook": "receives webhooks, and sends them to programs, not to a server",
    "commands/server/console": "asks for a link to the page, which is not in the contract",
}


def example(name: str) -> Any:
    return json.loads((ROOT / f"tests/contract/{name}.json").read_text())


def server() -> Callable[[FakeRequest], FakeAnswer | Exception]:
    """What a server answers to each operation. The runs end once the change feed says so."""
    fed = False
    puts = iter([ApiConnectionError("cut off")])
    rests = iter([ApiConnectionError("the response is lost")])
    offsets = iter([{"Upload-Offset": "1", "Upload-Complete": "?0"}])

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        nonlocal fed
        if request.path.startswith("/v1/uploads/"):
            if request.method == "HEAD":
                return FakeAnswer(200, headers=next(offsets, {"Upload-Offset": "2", "Upload-Complete": "?1"}))
            broken = next(puts if request.method == "PUT" else rests, None)
            if request.method in ("PUT", "PATCH") and broken is not None:
                return broken
        fed = fed or "after=" in request.path
        return answered(request, "SUCCEEDED" if fed or "run_1" in request.path else "TRANSFORMING")

    return answer


def answered(request: FakeRequest, status: str) -> FakeAnswer:
    path = urlsplit(request.path).path
    if path.startswith("/v1/uploads/"):
        digest = hashlib.sha256(b"id").hexdigest()
        stored = {"source_path": "upload://a", "bytes": len(request.body or b""), "sha256": digest}
        return FakeAnswer(201, stored)
    if path == "/v1/inbox":
        return FakeAnswer(200, example("inbox"))
    if path == "/v1/arrivals/acme/retry":
        return FakeAnswer(200, example("arrivals_retried"))
    if path == "/v1/replays":
        return FakeAnswer(200, example("replay"))
    if path in ("/v1/rejects/assign", "/v1/rejects/discard"):
        return FakeAnswer(200, example(f"{path.rpartition('/')[2]}ed"))
    if path.endswith("/schema"):
        return FakeAnswer(200, example("target_schema"))
    if path.endswith("/proposals"):
        return FakeAnswer(200, example("proposal"))
    if "/versions/" in path:
        return FakeAnswer(200, example("flow_version"))
    if path == "/v1/changes":
        items = [example("changes_page")["items"][0] | {"id": run_id} for run_id in ("run_2", "run_3")]
        return FakeAnswer(
            200, {"items": items if "after=" in request.path else [], "next_cursor": "c"}, HOLDS
        )
    if request.method == "POST" and b"dry_run" in (request.body or b""):
        return FakeAnswer(200, example("run_dry"))
    is_run = path.startswith("/v1/runs/") and path.count("/") == 3
    if is_run or request.method == "POST":
        return FakeAnswer(200, run_json(path.split("/")[3] if is_run else "run_1", status), HOLDS)
    more = "cursor=" not in request.path
    return FakeAnswer(200, {"items": [], "next_cursor": "next" if more else None})


async def followed(client: Client, run: LumeRun) -> None:
    async with client.monitor() as monitor:
        monitor.add("run_2")
        monitor.add("run_3")
        async for event in monitor:
            if event.run.is_terminal:
                return


async def read(items: Any) -> None:
    async for _ in items:
        pass


CALLS: dict[str, Callable[[Client, LumeRun, Path], Awaitable[Any]]] = {
    "run": lambda client, run, file: client.run("f:v1", "a.csv"),
    "refresh": lambda client, run, file: run.refresh(),
    "cancel": lambda client, run, file: run.cancel(),
    "mapped": lambda client, run, file: read(run.mapped(limit=3)),
    "rejects": lambda client, run, file: read(run.rejects("why")),
    "to_arrow": lambda client, run, file: read(run.mapped().to_arrow_batches()),
    "download": lambda client, run, file: run.download("rejects", file.with_name("rejects.csv")),
    "dismiss": lambda client, run, file: run.dismiss("nothing is left to do"),
    "deliveries": lambda client, run, file: run.deliveries(),
    "list_runs": lambda client, run, file: read(
        client.list_runs(
            flow_version="f:v1",
            flow="f",
            source_path="a.csv",
            source="a",
            status="FAILED",
            since=datetime(2026, 1, 1, tzinfo=UTC),
            attention=0.05,
            submitted_by="nightly",
        )
    ),
    "statistics": lambda client, run, file: client.statistics(by="day", since=60, flow="f", order="rejected"),
    "dry_run": lambda client, run, file: client.dry_run("f:v1", "a.csv"),
    "arrivals": lambda client, run, file: client.arrivals(name="acme", state="waiting"),
    "retry_arrivals": lambda client, run, file: client.retry_arrivals("acme", paths=["März 1.csv"]),
    "audit": lambda client, run, file: read(client.audit(by="ann", what="cancel", since=60)),
    "forget": lambda client, run, file: client.forget({"email": "ada@example.com"}),
    "inbox": lambda client, run, file: client.inbox(flow="f", since=60),
    "open_rejects": lambda client, run, file: read(
        client.open_rejects(
            flow="f", reason=["a", "b"], since=60, run="run_1", state="mended", assignee="ann"
        )
    ),
    "assign_rejects": lambda client, run, file: client.assign_rejects("ann", comment="known", flow="f"),
    "discard_rejects": lambda client, run, file: client.discard_rejects("known", flow="f"),
    "replay": lambda client, run, file: client.replay("f"),
    "upload": lambda client, run, file: client.upload(b"id", flow_version="f:v1"),
    "upload_file": lambda client, run, file: client.upload_file(file, flow_version="f:v1"),
    "register_flow": lambda client, run, file: client.register_flow({"flow": "f", "version": "v1"}),
    "flow_version": lambda client, run, file: client.flow_version("f:v1"),
    "propose": lambda client, run, file: client.propose("f:v1", "a.csv"),
    "list_flows": lambda client, run, file: read(client.list_flows("f")),
    "table": lambda client, run, file: read(
        client.table("f:v1", as_of=datetime(2026, 1, 1, tzinfo=UTC), source="a.csv")
    ),
    "monitor": lambda client, run, file: followed(client, run),
}
"""Public methods, each with all its arguments that are sent in a query."""


def operations() -> dict[str, tuple[str, re.Pattern[str], set[str]]]:
    """Of each operation its method, its path and its query parameters."""
    found = {}
    for path, item in CONTRACT["paths"].items():
        pattern = re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path))
        for method, operation in item.items():
            if method in METHODS:
                given = [*item.get("parameters", []), *operation.get("parameters", [])]
                queries = {one["name"] for one in map(resolved, given) if one["in"] == "query"}
                found[operation["operationId"]] = method.upper(), pattern, queries
    return found


def resolved(parameter: dict[str, Any]) -> dict[str, Any]:
    name = parameter.get("$ref", "").rpartition("/")[2]
    return CONTRACT["components"]["parameters"][name] if name else parameter


async def sent(tmp_path: Path) -> dict[str, set[str]]:
    """The operations that the calls have used, and the query parameters that they have sent."""
    seen: dict[str, set[str]] = defaultdict(set)
    file = tmp_path / "a.csv"
    file.write_text("id")
    for call in CALLS.values():
        client, transport = fake_client(server())
        await client._sender.replays()  # reads the capabilities
        await call(client, client.attach("run_1"), file)
        await client.aclose()
        for request in transport.requests:
            parts = urlsplit(request.path)
            for name, (method, pattern, _queries) in operations().items():
                if method == request.method and pattern.fullmatch(parts.path):
                    seen[name] |= {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    return seen


async def test_every_operation_and_query_parameter_is_sent(tmp_path: Path) -> None:
    seen = await sent(tmp_path)
    uncalled = {name for name in operations() if name not in seen}
    queries = {
        (name, query)
        for name, (_method, _pattern, known) in operations().items()
        for query in known - seen.get(name, known)
    }

    assert uncalled == set(NOT_CALLED), "no public method sends these"
    assert queries == set(NOT_SENT), "no public method sends these"


def test_a_parameter_is_not_sent_that_the_contract_does_not_have() -> None:
    known = {query for _method, _pattern, queries in operations().values() for query in queries}
    assert {query for _op, query in NOT_SENT} <= known
    assert NOT_CALLED.keys() <= operations().keys()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "lume_cli").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_the_command_line_does_nothing_that_the_client_can_not(path: Path) -> None:
    """It calls public methods: a file with an HTTP library of its own needs a reason."""
    name = path.relative_to(ROOT / "lume_cli").with_suffix("").as_posix()
    tree = ast.parse(path.read_text())
    imported = {
        module.partition(".")[0]
        for node in ast.walk(tree)
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    internal = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "_sender"
    ]

    assert not internal
    assert name in MAY_SPEAK_HTTP or not imported & {"aiohttp", "httpx", "requests", "urllib3", "http"}
