"""The conformance kit: our own server passes, and servers with one fault each are caught by the right check."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest
from aiohttp import web
from attrs import define, field, frozen
from loopback import Loopback
from loopback_steps import Step, endless, hang_up, html_502, redirect, reply, reset, throttled
from multidict import CIMultiDict
from run_service import RunService
from yarl import URL

import lume_local
from lume_async import ApiConnectionError
from lume_async.testing import run_json
from lume_cli._settings import ResolvedSettings
from lume_cli._work.conformance.kit import Exchange, Result, Unmet
from lume_cli._work.conformance.report import examine

PATIENCE = 40.0
RUN = r"/v1/runs/run_\w+"
HOP = ("Content-Length", "Transfer-Encoding", "Connection", "Content-Encoding")


@define
class Sent:
    """A request on its way to the server; a mutant may change it."""

    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes

    def is_(self, route: str) -> bool:
        return re.fullmatch(route, f"{self.method} {self.path.partition('?')[0]}") is not None

    def change(self, **members: Any) -> None:
        """Set members of the JSON body; None removes one."""
        changed = {**json.loads(self.body), **members}
        kept = {name: value for name, value in changed.items() if value is not None}
        self.body = json.dumps(kept).encode()

    def without(self, *names: str, **others: str) -> None:
        """Remove parameters of the query, and set others."""
        path, _, query = self.path.partition("?")
        kept = [(name, others.get(name, value)) for name, value in parse_qsl(query) if name not in names]
        self.path = f"{path}?{urlencode(kept)}" if kept else path


@define
class Reply:
    """The response of the server; a mutant may change it."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def change(self, **members: Any) -> None:
        self.body = json.dumps({**self.json, **members}).encode()

    def each(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the items of a page."""
        items = [item for one in self.json["items"] if (item := change(one)) is not None]
        self.change(items=items)


def nothing(*_: object) -> None:
    pass


@frozen
class Mutant:
    """A fault: what it does to requests, and to the responses to a route."""

    fault: str
    caught_by: str
    route: str = ".*"
    before: Callable[[Sent], Any] = nothing
    after: Callable[[Sent, Reply], Any] = nothing
    patience: float = PATIENCE


@asynccontextmanager
async def proxy(base_url: str, mutant: Mutant) -> AsyncIterator[str]:
    """The server with the fault, at another URL."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        sent = Sent(request.method, request.raw_path, CIMultiDict(request.headers), await request.read())
        sent.headers.popall("Content-Length", None)
        is_meant = sent.is_(mutant.route)
        if is_meant:
            mutant.before(sent)
        url = URL(base_url + sent.path, encoded=True)
        given = {"headers": sent.headers, "data": sent.body or None, "allow_redirects": False}
        async with http.request(sent.method, url, **given) as response:
            found = Reply(response.status, CIMultiDict(response.headers), await response.read())
        if is_meant:
            mutant.after(sent, found)
        for name in HOP:
            found.headers.popall(name, None)
        return web.Response(status=found.status, headers=found.headers, body=found.body)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    async with aiohttp.ClientSession() as http:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def check(
    base_url: str,
    key: str | None,
    only: Sequence[str] = (),
    patience: float = PATIENCE,
    request_timeout: float = PATIENCE,
    **given: Any,
) -> dict[str, Result]:
    """The results of the checks, by their IDs."""
    settings, found = ResolvedSettings(), dict[str, Result]()
    settings.base_url, settings.api_key, settings.request_timeout = base_url, key, request_timeout

    def report(result: Result) -> None:
        assert result.check not in found
        found[result.check] = result

    asked = {"flow": None, "source": None, "data": None, "require": (), **given}
    await examine(settings, only, patience=patience, report=report, **asked)
    return found


def states(found: dict[str, Result]) -> dict[str, str]:
    return {name: f"{one.state}: {one.message}" for name, one in found.items() if one.state != "pass"}


async def test_our_server_passes_every_check_any_number_of_times(server: lume_local.ThreadedServer) -> None:
    """The second time through the proxy, which is no fault in itself."""
    async with proxy(server.base_url, Mutant("none", "nothing")) as proxied:
        for url in (server.base_url, proxied):
            found = await check(url, server.api_key)

            assert states(found) == {"responses.limits": "not offered: no request was refused with 429"}
            assert set(found) == {mutant.caught_by for mutant in MUTANTS}, "each can fail"


def status(code: int) -> Callable[[Sent, Reply], None]:
    """Another status."""

    def after(_: Sent, found: Reply) -> None:
        found.status = code

    return after


def instead(old: int, new: int) -> Callable[[Sent, Reply], None]:
    """Another status in place of one."""

    def after(_: Sent, found: Reply) -> None:
        found.status = new if found.status == old else found.status

    return after


def member(when: int = 200, /, **members: Any) -> Callable[[Sent, Reply], None]:
    """Other members of the responses with a status; a function gets the value."""

    def after(_: Sent, found: Reply) -> None:
        if found.status == when:
            old = found.json
            found.change(**{name: new(old[name]) if callable(new) else new for name, new in members.items()})

    return after


def each(change: Callable[[dict[str, Any]], Any]) -> Callable[[Sent, Reply], None]:
    """Other items of pages."""

    def after(_: Sent, found: Reply) -> None:
        if found.status == 200:
            found.each(change)

    return after


def header(name: str, value: str | None, least: int = 0) -> Callable[[Sent, Reply], None]:
    """Another value of a header, None for none, in responses with at least this status."""

    def after(_: Sent, found: Reply) -> None:
        if found.status >= least:
            found.headers.popall(name, None)
            found.headers.update({} if value is None else {name: value})

    return after


def drop(name: str) -> Callable[[Sent], object]:
    """No such header of requests."""
    return lambda sent: sent.headers.popall(name, None)


@define
class FirstBodies:
    """A server that compares keys alone, and not the body."""

    seen: dict[str, bytes] = field(factory=dict)

    def __call__(self, sent: Sent) -> None:
        sent.body = self.seen.setdefault(sent.headers["Idempotency-Key"], sent.body)


@define
class Hasty:
    """A server that doesn't hold the first request for each run, and says that it does."""

    seen: set[str] = field(factory=set)

    def __call__(self, sent: Sent, found: Reply) -> None:
        if "Prefer" in sent.headers and sent.path not in self.seen:
            self.seen.add(sent.path)
            found.status, found.body = 304, b""


def same_tag(sent: Sent, found: Reply) -> None:
    found.headers["ETag"] = '"same"'
    if sent.headers.get("If-None-Match") == '"same"':
        found.status, found.body = 304, b""


@define
class Refusing:
    """A server that refuses one submission for now, and doesn't say for how long."""

    times: int = 1

    def __call__(self, _: Sent, found: Reply) -> None:
        if self.times:
            self.times -= 1
            found.status = 429


@define
class Numbered:
    """Keys that differ in every request."""

    count: int = 0

    def __call__(self, sent: Sent) -> None:
        self.count += 1
        sent.headers["Idempotency-Key"] += str(self.count)


def second_run(sent: Sent, found: Reply) -> None:
    """Two runs of a source at once: a look and a start that are two steps."""
    if found.status == 409 and found.json["type"].endswith("run-in-progress"):
        body = json.loads(sent.body)
        about = {name: body[name] for name in ("flow_version", "source_path")}
        found.status, found.body = 201, json.dumps(run_json("run_second", "CREATED", **about)).encode()


def a_row_less(metadata: dict[str, Any]) -> dict[str, Any]:
    if metadata["metrics"]["rows_mapped"]:
        metadata["metrics"]["rows_mapped"] -= 1
    return metadata


def cut(_: Sent, found: Reply) -> None:
    if b"arrow" in found.headers["Content-Type"].encode():
        found.body = found.body[:-8]


def other_part(sent: Sent, found: Reply) -> None:
    if found.status == 206:
        found.body = found.body[1:]


def no_end(item: dict[str, Any]) -> dict[str, Any] | None:
    return None if item["finished_at"] else item


def twice(_: Sent, found: Reply) -> None:
    if found.status == 200:
        found.change(items=[item for item in found.json["items"] for _ in range(2)])


def no_key(sent: Sent, found: Reply) -> None:
    if "lume-api-key" not in sent.headers and found.status == 200:
        found.status = 401


def repeated_key(sent: Sent, found: Reply) -> None:
    found.headers["X-Debug"] = f"key={sent.headers.get('lume-api-key', '')}"


def wrong_offset(sent: Sent, found: Reply) -> None:
    if "Upload-Offset" in found.headers:
        found.headers["Upload-Offset"] = str(int(found.headers["Upload-Offset"]) + 1)


def strange_run(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "run": {**item["run"], "status": "CREATED"}} if "run" in item else item


SUBMIT, GET = "POST /v1/runs", f"GET {RUN}"
LIST, CHANGES, UPLOAD = "GET /v1/runs", "GET /v1/changes", r"\w+ /v1/uploads/.*"

MUTANTS = [
    Mutant("a new run is answered with 200", "core.submit", SUBMIT, after=instead(201, 200)),
    Mutant("there is no Location", "core.submit", SUBMIT, after=header("Location", None)),
    Mutant("metadata is lost", "core.submit", GET, after=member(run_metadata=None)),
    Mutant("an end has no time", "core.end", GET, after=member(finished_at=None)),
    Mutant("a row is lost", "core.end", GET, after=member(metadata=a_row_less)),
    Mutant("runs never end", "core.end", GET, after=member(status="TRANSFORMING"), patience=0.5),
    Mutant("created_at is local", "core.clock", SUBMIT, after=member(201, created_at="2020-01-02T03:04:05Z")),
    Mutant("every source is taken", "core.duplicate", SUBMIT, lambda sent: sent.change(force_rerun=True)),
    Mutant("a duplicate has no ID", "core.duplicate", SUBMIT, after=member(409, run_id=None)),
    Mutant("two runs begin at once", "core.at_once", SUBMIT, after=second_run),
    Mutant("force_rerun is ignored", "core.force", SUBMIT, lambda sent: sent.change(force_rerun=False)),
    Mutant("an unknown run is 500", "core.unknown", GET, after=instead(404, 500)),
    Mutant("a refusal names no field", "core.bodies", SUBMIT, after=member(422, field=None, detail="no")),
    Mutant(
        "no key is needed",
        "keys.missing",
        before=lambda sent: sent.headers.setdefault("lume-api-key", KEY[0]),
    ),
    Mutant(
        "any key will do", "keys.wrong", before=lambda sent: sent.headers.update({"lume-api-key": KEY[0]})
    ),
    Mutant("health needs a key", "reading.health", "GET /healthz", after=no_key),
    Mutant("HEAD has no ETag", "reading.head", f"HEAD {RUN}", after=header("ETag", None)),
    Mutant("nothing is unchanged", "reading.etag", GET, drop("If-None-Match")),
    Mutant("tags never change", "reading.etag", r"\w+ /v1/runs.*", after=same_tag),
    Mutant("a replay is 201", "idempotency.replay", SUBMIT, after=instead(200, 201)),
    Mutant("keys are forgotten", "idempotency.replay", SUBMIT, drop("Idempotency-Key")),
    Mutant("keys alone are compared", "idempotency.other_body", SUBMIT, FirstBodies()),
    Mutant("keys are not atomic", "idempotency.at_once", SUBMIT, Numbered()),
    Mutant(
        "keys expire in words", "idempotency.expires", after=header("Lume-Idempotency-Expires", "30 days")
    ),
    Mutant("Prefer is not confirmed", "wait.run", GET, after=header("Preference-Applied", None)),
    Mutant("a run is not held", "wait.run", GET, after=Hasty()),
    Mutant(
        "the feed is not held",
        "wait.changes",
        CHANGES,
        drop("Prefer"),
        header("Preference-Applied", "wait=1"),
    ),
    Mutant("the feed is announced and 404", "changes.all", CHANGES, after=status(404)),
    Mutant("an end is missing", "changes.all", CHANGES, after=each(no_end), patience=1.5),
    Mutant("an end comes twice", "changes.all", CHANGES, after=twice),
    Mutant("the feed ignores limit", "changes.all", CHANGES, lambda sent: sent.without("limit")),
    Mutant("the feed has old runs", "changes.runs", CHANGES, after=each(strange_run)),
    Mutant("an unknown cursor is 500", "changes.unknown", CHANGES, after=instead(400, 500)),
    Mutant("a second cancel is 409", "cancel.stops", f"POST {RUN}/cancel", after=instead(202, 409)),
    Mutant(
        "an ended run is cancelled", "cancel.ended", f"POST {RUN}/cancel", after=member(status="CANCELLED")
    ),
    Mutant("an unknown run is cancelled", "cancel.unknown", f"POST {RUN}/cancel", after=instead(404, 202)),
    Mutant("the list lags", "list.at_once", LIST, after=member(items=[])),
    Mutant("the oldest run comes first", "list.pages", LIST, after=member(items=lambda items: items[::-1])),
    Mutant("status is no filter", "list.filters", LIST, lambda sent: sent.without("status")),
    Mutant("any limit will do", "list.refuses", LIST, lambda sent: sent.without(limit="1")),
    Mutant("the digest is another", "uploads.file", UPLOAD, after=member(201, sha256="0" * 64)),
    Mutant("the digest is ignored", "uploads.digest", UPLOAD, drop("Repr-Digest")),
    Mutant("any name will do", "uploads.names", UPLOAD, after=status(201)),
    Mutant("the offset is too large", "uploads.resume", UPLOAD, after=wrong_offset),
    Mutant(
        "a page loses its first row",
        "rows.mapped",
        f"{GET}/mapped",
        after=member(items=lambda items: items[1:]),
    ),
    Mutant("reasons are no filter", "rows.rejects", f"{GET}/rejects", lambda sent: sent.without("reason")),
    Mutant("an Arrow stream is cut", "rows.arrow", f"{GET}/mapped", after=cut),
    Mutant("a part begins too late", "rows.file", f"{GET}/outputs/mapped", after=other_part),
    Mutant("a version changes", "flows.fixed", "PUT /v1/flows/.*", after=instead(409, 200)),
    Mutant("every version is there", "flows.read", "GET /v1/flows/.*", after=instead(404, 200)),
    Mutant(
        "a dry run is a run", "dryrun.nothing", SUBMIT, lambda sent: sent.change(dry_run=None, limit=None)
    ),
    Mutant("a table has rows twice", "table.rows", "GET /v1/flows/.*/table", after=twice),
    Mutant("assigned rows are not listed", "assign.rows", "GET /v1/rejects", after=member(items=[])),
    Mutant("spellings differ", "clusters.spellings", "POST /v1/drafts/.*", after=member(items=[])),
    Mutant("own edits are approved", "approval.own", "POST /v1/drafts/.*", after=instead(403, 200)),
    Mutant("nobody is everybody", "forget.nobody", "POST /v1/forget", after=instead(422, 200)),
    Mutant("any arrival will do", "arrivals.unknown", "POST /v1/arrivals/.*", after=instead(422, 200)),
    Mutant("errors lack capabilities", "responses.headers", after=header("Lume-Capabilities", None, 400)),
    Mutant(
        "errors are plain JSON", "responses.problems", after=header("Content-Type", "application/json", 400)
    ),
    Mutant("the key is repeated", "responses.secret", after=repeated_key),
    Mutant("429 says nothing", "responses.limits", SUBMIT, after=Refusing()),
]
KEY: list[str] = [""]
"""The key of the server, for mutants that know it."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault.replace(" ", "_"))
async def test_a_server_with_a_fault_is_caught(server: lume_local.ThreadedServer, mutant: Mutant) -> None:
    KEY[0] = server.api_key
    capability = mutant.caught_by.partition(".")[0]
    only = ["keys", "core", capability] if capability == "responses" else [capability]

    async with proxy(server.base_url, mutant) as url:
        found = await check(url, server.api_key, only, mutant.patience)

    failed = {name for name, one in found.items() if one.state == "fail"}
    assert mutant.caught_by in failed, states(found)
    assert not any(server.api_key in line for one in found.values() for line in one.exchange)


ODD: dict[str, Step] = {
    "a_page": reply(200, b"<html>It works!</html>", headers={"Content-Type": "text/html"}),
    "no_page": reply(404, b"<html>Not found</html>", headers={"Content-Type": "text/html"}),
    "a_gateway": html_502(),
    "a_list": reply(201, b"[1, null]"),
    "numbers": reply(200, {"id": 1, "status": None, "items": 5, "next_cursor": {}}),
    "half_an_object": reply(201, b'{"id": "run_1'),
    "no_text": reply(201, b"\xff\xfe\x00"),
    "a_cut_body": reply(201, b"0123456789").cut(after="body"),
    "another_place": redirect(302, "https://elsewhere.example"),
    "an_endless_body": endless(),
    "a_reset": reset(),
    "nothing": hang_up(),
    "silence": reply(200).stall(),
}


@pytest.mark.parametrize("step", ODD.values(), ids=ODD)
async def test_whatever_answers_gets_results(step: Step) -> None:
    """Only the health check answers as it should. Nothing is raised, and everything ends."""

    def script(request: Any) -> Step:
        return reply(200, {"status": "ok"}) if request.path == "/healthz" else step

    async with Loopback(script) as service:
        found = await check(service.url, "a key of a test", patience=2.0, request_timeout=0.3)

    states = {one.state for name, one in found.items() if name.startswith("core.")}
    assert states == {"fail"}
    assert all(one.message and len(one.message) <= 500 for one in found.values() if one.state != "pass")
    assert not any(
        "a key of a test" in line or len(line) > 505 for one in found.values() for line in one.exchange
    )


@pytest.mark.parametrize(
    "step", [reset(), hang_up(), reply(200).stall()], ids=["reset", "hang_up", "silence"]
)
async def test_where_nothing_answers_there_is_one_error(step: Step) -> None:
    async with Loopback(lambda _: step) as service:
        with pytest.raises(ApiConnectionError, match=r"GET http.*/healthz: no response within 0\.3 s"):
            await check(service.url, None, request_timeout=0.3)


async def test_where_nobody_is_let_in_there_is_one_error() -> None:
    async with Loopback(lambda _: throttled("0")) as service:
        with pytest.raises(ApiConnectionError, match=r"GET http.*/healthz: 429 for 0\.2 s"):
            await check(service.url, None, patience=0.2)


BARE = ["idempotency", "wait", "changes", "cancel", "uploads", "rows", "flows"]
BARE += ["table", "assign", "clusters", "approval"]


async def test_what_is_not_there_is_not_offered_unless_it_is_required() -> None:
    async with RunService(capabilities=()) as service:
        given = {"flow": "flow:v1", "source": "in/{new}.csv", "require": ["wait", "rows"]}
        found = await check(service.url, service.api_key, BARE, **given)

    assert {name: one.state for name, one in found.items()} == {
        name: "fail" if name in given["require"] else "not offered" for name in BARE
    }


async def test_the_exchange_of_a_run_that_all_checks_need_is_shown_once() -> None:
    async with Loopback(lambda _: reply(401, {"type": "urn:lume:problem:unauthorized"})) as service:
        given = {"flow": "flow:v1", "source": "in/{new}.csv"}
        found = await check(service.url, "a key of a test", ["reading", "cancel", "rows"], **given)

    shown = {name: bool(one.exchange) for name, one in found.items() if one.state == "fail"}
    assert shown == {"reading": True, "rows": False}
    assert found["rows"].message == "no run has ended with an output: see the first failure"


async def test_what_is_required_is_checked_beside_what_is_asked_for() -> None:
    async with RunService(capabilities=()) as service:
        found = await check(service.url, service.api_key, ["wait"], require=["cancel"])

    assert {name: one.state for name, one in found.items()} == {"wait": "not offered", "cancel": "fail"}


async def test_a_server_without_keys_is_given_none() -> None:
    async with RunService() as service:
        found = await check(service.url, None, ["keys"])

    assert states(found) == {"keys": "not offered: no API key was given"}


async def test_a_server_that_runs_nothing_for_the_kit_is_told_what_to_name() -> None:
    async with RunService() as service:
        without_flow = await check(service.url, service.api_key, ["cancel"])
        without_source = await check(service.url, service.api_key, ["cancel"], flow="flow:v1")

    assert "--flow" in states(without_flow)["cancel.stops"]
    assert "--source" in states(without_source)["cancel.stops"]


async def test_a_server_may_refuse_a_forced_run_of_a_source_that_is_being_processed(
    server: lume_local.ThreadedServer,
) -> None:
    """The contract lets it, so that no check may depend on how long the runs of others take."""
    begun = Counter[str]()

    def count(sent: Sent, found: Reply) -> None:
        if found.status == 201 and found.json["force_rerun"]:
            begun[found.json["source_path"]] += 1

    async with proxy(server.base_url, Mutant("none", "nothing", "POST /v1/runs", after=count)) as url:
        found = await check(url, server.api_key, ["idempotency", "list"])

    assert not states(found)
    assert set(begun.values()) == {1}


async def test_no_password_of_the_machine_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A netrc has passwords for hosts, of which the client's documentation says nothing."""
    (tmp_path / "netrc").write_text("default login bob password of-somebody\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with RunService() as service:
        await check(service.url, service.api_key, ["keys"], flow="flow:v1", source="{new}")

    assert service.requests
    assert not any("authorization" in map(str.lower, one.headers) for one in service.requests)


def test_every_line_of_an_exchange_says_who_sent_it() -> None:
    exchange = Exchange("PUT", "/a", {"A": "b"}, b"1\n2\n", 500, {}, b"\nx")

    assert list(exchange.lines(str)) == ["> PUT /a", "> A: b", "> 1", "> 2", "< 500", "< ", "< x"]


def test_a_missing_member_of_a_run_is_named() -> None:
    run = run_json("run_1", "CREATED")
    del run["started_at"]

    with pytest.raises(Unmet) as caught:
        Exchange("GET", "/v1/runs/run_1", {}, b"", 200).run(of=run)

    assert caught.value.args[0] == "started_at is missing"


async def test_a_limit_of_requests_is_waited_for() -> None:
    async with RunService(rate=50.0, burst=2, retry_after="0") as service:
        given = {"flow": "flow:v1", "source": "in/{new}.csv"}
        found = await check(service.url, service.api_key, ["cancel", "responses"], **given)

    assert found["cancel.stops"].state == found["responses.limits"].state == "pass"
    assert service.refusals > 0
