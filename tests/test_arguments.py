"""Every argument of the public API with odd values: refused at once, by its name and before a request, or it works.

What is tried is read from the signatures, so that a new parameter is covered by itself. What a value may be is read
from its annotation: one that does not fit has to be refused. Two things are left out: `lume_async.testing`, whose
doubles may be given anything, and the classes in `MADE`.
"""

import asyncio
import hashlib
import hmac
import inspect
import json
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from odd_values import ODD, fits, names

import lume_async
import lume_async._api
import lume_async.webhooks
import lume_sync
import lume_sync._api
from lume_async import LumeError, ResponseDecodeError, WebhookSignatureError
from lume_async.testing import FakeAnswer, FakeRequest, FakeTransport, fake_client, run_json

PACKAGES = [lume_async, lume_sync]
FLOW = {"flow": "f", "version": "v1"}
EXAMPLES: dict[str, Any] = {
    **{"flow_version": "f:v1", "source_path": "a.csv", "run_id": "run_1", "run": "run_1", "runs": ["run_1"]},
    **{"requests": [lume_async.RunRequest("f:v1", "a.csv")], "path": __file__, "flow": FLOW, "ref": "f:v1"},
    **{"outcomes": [lume_async.Outcome("run_1", error=OSError())], "initial": 1, "interval": 1},
    **{"outcome": lume_async.Outcome("run_1", error=OSError()), "secret": "s", "body": b"{}"},
    **{"signature": hmac.new(b"s", b"{}", hashlib.sha256).hexdigest()},
    **{"on_event": print, "handler": print, "source": b"x", "output": "mapped", "to": "rows.csv"},
    **{"flow_or_schema": "f", "samples": "a.csv"},
    **{
        "why": "nothing is left to do",
        "match": {"email": "ada@example.com"},
        "name": "acme",
        "assignee": "ann",
    },
    **{"corrected": b"_lume_row,id\n1,2\n", "method": "GET"},
}
"""A value for each parameter without a default."""
OF = {
    "replay": {"flow": "f"},
    "discard_rejects": {"flow": "f"},
    "table": {"flow": "f"},
    "assign_rejects": {"flow": "f"},
    "request": {"path": "/v1/runs"},
}
"""Of these functions: arguments that mean something else than elsewhere, or are needed though they have a default."""
TOGETHER: dict[str, dict[str, Any]] = {
    "retry_failed": {"journal": "j.db"},
    "rows": {"run": "run_1", "flow": None},
}
"""What a parameter needs beside it."""
ONE_OF = {"run": ("source_path", "data")}
"""Of these parameters a function needs one, though each has a default."""
CONSTRUCTED = {"Backoff", "Client", "Once", "Retry", "RunRequest"}
"""The classes that users make themselves; `MADE` are the results of calls, and what hooks and iterations receive."""
MADE = {
    *("ColumnMetrics", "FileMetrics", "FlowColumn", "FlowRule", "FlowSummary", "FlowVersion"),
    *("LayoutMetrics", "Metrics"),
    *("RunInfo", "RunMetadata", "RunStatus", "SeedMetrics", "SourceMetrics", "Stage", "TargetLocations"),
    *(
        "ArrivalFile",
        "ArrivalInfo",
        "ArrivalReport",
        "AuditEntry",
        "Delivery",
        "DryRun",
        "ForgetReport",
        "RunCount",
    ),
    *(
        "Inbox",
        "InboxAssignment",
        "InboxDay",
        "InboxFlow",
        "InboxItem",
        "InboxSubmission",
        "Replay",
        "ReplayReason",
        "RowAccount",
        "UnreadableRows",
    ),
    *(
        "Answer",
        "Items",
        "BeforeAfter",
        "Candidate",
        "LookupEntry",
        "Proposal",
        "ProposedColumn",
        "ProposedLayout",
    ),
    *("SeenSample", "ValueReading"),
    *("Failure", "LumeRun", "Monitor", "Outcome", "Progress", "Rows", "RunEvent", "Summary"),
    *("RequestFinished", "RequestStarted", "RetryScheduled", "RunStatusChanged"),
    *("Page", "Paged", "Receiver", "Response", "Transport"),
}
PURE_STEPS = {"Backoff.delay", "Retry.delay"}
"""Called by the library for each poll and each retry, with its own values: not checked, for their speed."""
WRITTEN_BY_USERS = {"Receiver", "Transport"}
"""Protocols: their methods are those of users, or called by these."""


@dataclass(frozen=True)
class Target:
    """A public function, and how to get it in a package with a client."""

    package: ModuleType
    label: str
    function: Callable[..., Any]
    bound: Callable[[Any], Callable[..., Any]]
    """Of the instance that it belongs to."""

    @property
    def owner(self) -> str:
        return self.label.rpartition(".")[0]

    def hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self.function, localns={"web": web})

    def parameters(self) -> dict[str, inspect.Parameter]:
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        found = inspect.signature(self.function).parameters
        return {name: one for name, one in found.items() if name != "self" and one.kind not in variadic}


def is_function(member: object) -> bool:
    return inspect.isfunction(member) or inspect.ismethod(member)


def targets(package: ModuleType) -> Iterator[Target]:
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isfunction(value):
            yield Target(package, name, value, lambda _, value=value: value)
        elif inspect.isclass(value) and not issubclass(value, BaseException) and name not in WRITTEN_BY_USERS:
            if name in CONSTRUCTED:
                yield Target(package, name, value.__init__, lambda _, value=value: value)
            for member, function in inspect.getmembers(value, is_function):
                ours = str(getattr(function, "__module__", "")).startswith("lume_")
                if ours and not member.startswith("_") and f"{name}.{member}" not in PURE_STEPS:
                    yield Target(
                        package, f"{name}.{member}", function, lambda it, member=member: getattr(it, member)
                    )


def cases() -> Iterator[Any]:
    for package in (*PACKAGES, lume_async.webhooks):
        for target in targets(package):
            for name in target.parameters():
                yield pytest.param(target, name, id=f"{package.__name__}.{target.label}({name})")


CASES = list(cases())
PROPOSAL = json.loads((Path(__file__).parent / "contract/proposal.json").read_text())
STEP = "in the first step of the iteration"
"""A note to an error of the result, not of the call."""


def golden(name: str) -> Any:
    return json.loads((Path(__file__).parent / f"contract/{name}.json").read_text())


def layout_in(request: FakeRequest) -> Any:
    return json.loads(request.body or b"{}").get("layout")


def answer(request: FakeRequest) -> FakeAnswer:
    """A server on which everything succeeds at once."""
    match request.method, urlsplit(request.path).path.strip("/").split("/")[1:]:
        case "POST", ["runs"] if b"dry_run" in (request.body or b""):
            return FakeAnswer(200, run_json("dry_1", "SUCCEEDED", dry_run=True, layout=layout_in(request)))
        case _, ["inbox"]:
            return FakeAnswer(200, golden("inbox"))
        case "POST", ["replays"]:
            return FakeAnswer(200, golden("replay"))
        case "POST", ["rejects", "assign" | "discard" as what]:
            return FakeAnswer(200, golden(f"{what}ed"))
        case "GET", ["rejects"]:
            return FakeAnswer(200, {"items": [], "next_cursor": None, "unreadable": []})
        case _, ["audit"]:
            return FakeAnswer(200, golden("audit_page") | {"next_cursor": None})
        case _, ["arrivals", _, "retry"]:
            return FakeAnswer(200, golden("arrivals_retried"))
        case _, ["arrivals"]:
            return FakeAnswer(200, golden("arrivals"))
        case _, ["flows", _, "table"]:
            return FakeAnswer(200, {"items": [], "next_cursor": None})
        case _, ["forget"]:
            return FakeAnswer(200, golden("forgotten"))
        case _, ["statistics"]:
            return FakeAnswer(200, {"items": []})
        case "POST", ["runs"]:
            return FakeAnswer(201, run_json("run_1", "SUCCEEDED", layout=layout_in(request)))
        case "GET", ["runs", _, "outputs", _]:
            return FakeAnswer(200, b"x")
        case "GET", ["runs"] | ["flows"] | ["runs", _, _]:
            return FakeAnswer(200, {"items": [], "next_cursor": None})
        case _, ["runs", run_id, *_]:
            return FakeAnswer(200, run_json(run_id, "PARTIAL_FAILED"))  # with rejects
        case "PUT", ["uploads", name]:
            digest = hashlib.sha256(request.body or b"").hexdigest()
            return FakeAnswer(201, {"source_path": f"upload://{name}", "bytes": 0, "sha256": digest})
        case _, ["flows", _, "proposals"]:
            return FakeAnswer(200, PROPOSAL)
        case _, ["flows", *_]:
            about = {"flow_version": "f:v1", "content_hash": "h", "created_at": "2026-01-01T00:00:00Z"}
            return FakeAnswer(201, {**about, "definition": {}})
    return FakeAnswer(404, {})


def instance(package: ModuleType, owner: str, client: Any) -> Any:
    """An object with the method."""
    match owner:
        case "" | "Client":
            return client
        case "LumeRun":
            return client.attach("run_1")
        case "Monitor":
            return client.monitor()
        case "Backoff":
            return package.Backoff(1)
    return getattr(package, owner)()


async def attempt(target: Target, client: Any, arguments: dict[str, Any]) -> None:
    """Make the call and take one step of its result."""
    async with AsyncExitStack() as stack:
        it = instance(target.package, target.owner, client)
        if target.owner == "Monitor":
            await stack.enter_async_context(it)
        result = target.bound(it)(**arguments)
        if inspect.isawaitable(result):
            result = await result
        try:
            if isinstance(result, lume_async.Monitor):
                await stack.enter_async_context(result)
            elif isinstance(result, AsyncIterator):
                for _ in range(
                    3
                ):  # a snapshot of `progress` comes before its outcomes, and one before an error
                    await anext(result, None)
                if hasattr(result, "aclose"):
                    await result.aclose()
        except Exception as error:
            error.add_note(STEP)
            raise


def attempt_in(runner: asyncio.Runner, target: Target, client: Any, arguments: dict[str, Any]) -> None:
    runner.run(attempt(target, client, arguments))


def attempt_in_sync(target: Target, client: Any, arguments: dict[str, Any]) -> None:
    with ExitStack() as stack:
        it = instance(target.package, target.owner, client)
        if target.owner == "Monitor":
            stack.enter_context(it)
        result = target.bound(it)(**arguments)
        try:
            if isinstance(result, lume_sync.Monitor):
                stack.enter_context(result)
            elif isinstance(result, Iterator):
                for _ in range(3):
                    next(result, None)
                if hasattr(result, "close"):
                    result.close()
        except Exception as error:
            error.add_note(STEP)
            raise


def verdict(
    target: Target,
    name: str,
    value: Any,
    transport: FakeTransport,
    attempted: Callable[[dict[str, Any]], object],
) -> str:
    """What is wrong; an empty string if nothing is."""
    needed = {
        other: EXAMPLES[other]
        for other, one in target.parameters().items()
        if one.default is inspect.Parameter.empty and other != name
    }
    choice = ONE_OF.get(target.label.rpartition(".")[2], ())
    if choice and name not in choice:
        needed[choice[0]] = EXAMPLES[choice[0]]
    own = OF.get(target.label.rpartition(".")[2], {})
    arguments = {**needed, **own, **TOGETHER.get(name, {}), name: value}
    if own and name == "run":
        arguments["flow"] = None
    try:
        attempted(arguments)
    except (WebhookSignatureError, ResponseDecodeError) as judged:  # the verdict on a delivery
        if target.package is not lume_async.webhooks:
            return f"raises {type(judged).__name__}: {judged}"
    except (LumeError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        if transport.requests:
            return f"was sent before {said}"
        late = STEP in getattr(error, "__notes__", ()) and not isinstance(
            value, (list, tuple, dict, set, Iterator)
        )
        if late and not fits(value, target.hints()[name]):
            return f"is refused by the first step only, not by the call: {said}"
        return "" if names(str(error), name) else f"is refused without its name: {said}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    return "" if fits(value, target.hints()[name]) else "is accepted"


@pytest.mark.parametrize(("target", "name"), CASES)
def test_an_odd_value_is_refused_at_once_by_its_name_or_works(
    target: Target, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUME_API_KEY", "k")
    monkeypatch.setenv("LUME_BASE_URL", "http://lume.test")
    wrong = []
    with asyncio.Runner() as runner:
        for label, make in ODD.items():
            core, transport = fake_client(answer)
            twin = lume_sync.Client._wrap(core)
            monkeypatch.setitem(lume_async._api._default, "client", core)
            monkeypatch.setitem(lume_sync._api._default, "client", twin)
            in_sync = partial(attempt_in_sync, target, twin)
            attempted = in_sync if target.package is lume_sync else partial(attempt_in, runner, target, core)
            if found := verdict(target, name, make(), transport, attempted):
                wrong.append(f"{name}={label} {found:.300}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_class_is_made_by_users_or_by_the_library(package: ModuleType) -> None:
    classes = {name for name in package.__all__ if inspect.isclass(getattr(package, name))}
    made = {name for name in classes if not issubclass(getattr(package, name), BaseException)}
    made -= {name for name in classes if typing.is_typeddict(getattr(package, name))}
    assert made == CONSTRUCTED - {"Once"} | MADE
