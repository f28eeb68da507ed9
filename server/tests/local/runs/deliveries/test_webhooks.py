"""Webhooks: what arrives, and that it arrives whatever happens in between."""

import asyncio
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from local.flows import slow_rows
from local.receiver import SECRET, receiver
from local.runs.deliveries.test_webhook_rules import resolved_by
from local.servers import process, serve
from local.states import moved
from local.wire import Wire, validate

from lume_async.webhooks import Once, WebhookEvent, verify
from lume_local._runs.deliveries import http_carriers, outbox
from lume_local._runs.deliveries.outbox import DeliveryOutbox
from lume_local._runs.deliveries.webhooks import WebhookRules
from lume_local._runs.health import Health
from lume_local._runs.sql.sql_outbox import SqlDeliveries
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun, StoreUnavailable


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr(outbox, "UNIT", 0.0001)


def in_outbox(path: Path) -> list[dict[str, Any]]:
    """What the outbox holds, oldest first, read past the server."""
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in db.execute("SELECT * FROM deliveries ORDER BY at")]
    finally:
        db.close()


async def settled(path: Path, count: int = 1) -> list[dict[str, Any]]:
    """The outbox, once so many deliveries are settled."""
    async with asyncio.timeout(20):
        while len(found := [row for row in in_outbox(path) if row["due"] is None]) < count:
            await asyncio.sleep(0.005)
    return found


async def ended(store: SqliteStore, url: str, count: int = 1) -> list[str]:
    """Runs that have ended and whose end nobody was told."""
    ids = []
    for number in range(count):
        new = NewRun("f:v1", "a.csv", f"/{number}", None, False, None, "", url)
        run, _ = await store.create(new)
        event = orjson.dumps({"event": "x", "run_id": run.run_id, "status": "FAILED"})
        await moved(store, run.run_id, "FAILED", event=event)
        ids.append(run.run_id)
    return ids


# -- what arrives


async def test_submissions_that_are_refused(home: Path, wire: Wire) -> None:
    answer = await wire.submit("people:v1", "people.csv", webhook_url="http://127.0.0.1/")
    assert (answer.status, answer.kind, answer.document["field"]) == (422, "not-supported", "webhook_url")
    other = home / "other"
    other.mkdir()
    (other / "flows").symlink_to(home / "flows")
    async with serve(other, webhook_secret=SECRET, webhook_hosts=["receiver"]) as wire:
        for url, kind in (
            ("http://127.0.0.1/", "webhook-not-allowed"),
            (7, "invalid-field"),
            ("", "invalid-field"),
            ("http://receiver/" + "x" * 2048, "invalid-field"),
        ):
            answer = await wire.submit("people:v1", "people.csv", webhook_url=url)
            assert (answer.status, answer.kind, answer.document["field"]) == (422, kind, "webhook_url")
        assert (await wire.ask("GET", "/v1/runs")).document["items"] == []
        await wire.submit("people:v1", "absent.csv", key="k", webhook_url="http://receiver/")
        reused = await wire.submit("people:v1", "absent.csv", key="k", webhook_url="http://receiver/2")
        assert reused.kind == "idempotency-key-reused", "the URL belongs to the request"


async def test_the_end_of_a_run_is_told(home: Path) -> None:
    events: list[WebhookEvent] = []
    async with (
        receiver(events.append) as hook,
        serve(home, webhook_secret=SECRET, webhook_hosts=[hook.host]) as wire,
    ):
        run = await wire.run(
            "people:v1", "people.csv", webhook_url=hook.url, run_metadata={"é": 1.0, "b": [None]}
        )
        (received,) = await hook.until(1)
        (row,) = await settled(home / ".lume/state/runs.sqlite")
    assert received.status == 204
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["X-Lume-Signature-256"].startswith("sha256=")
    assert received.headers["X-Lume-Delivery"] == received.headers["webhook-id"] == row["id"]
    verify(received.body, received.headers, SECRET, require_timestamp=True)
    assert (row["run_id"], row["attempts"], row["error"]) == (run["id"], 1, None)
    assert row["delivered_at"] >= run["finished_at"]
    validate("/components/schemas/Event", orjson.loads(received.body))
    assert orjson.loads(received.body) == {
        "event": "run.finished",
        "run_id": run["id"],
        **{
            name: run[name]
            for name in (
                "status",
                "flow_version",
                "source_path",
                "run_metadata",
                "submitted_by",
                "finished_at",
            )
        },
    }
    assert [(event.run_id, event.status) for event in events] == [(run["id"], "SUCCEEDED")]


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


NO_TRACES = (
    None,
    "ff" + TRACE[2:],
    TRACE.upper(),
    TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
    "nonsense",
)


async def test_the_trace_of_a_submission_goes_with_its_webhook(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lume_local")
    async with (
        receiver(lambda _: None) as hook,
        serve(home, webhook_secret=SECRET, webhook_hosts=[hook.host]) as wire,
    ):
        for number, given in enumerate((TRACE, *NO_TRACES)):
            body = {
                "flow_version": "people:v1",
                "source_path": f"absent{number}.csv",
                "webhook_url": hook.url,
            }
            headers = {} if given is None else {"traceparent": given}
            answer = await wire.ask("POST", "/v1/runs", json=body, headers=headers)
            assert answer.status == 201
            received = (await hook.until(number + 1))[-1]
            assert received.headers.get("traceparent") == (given if given == TRACE else None)
            said = f"{answer.document['id']} was submitted with traceparent"
            assert any(said in line for line in caplog.messages) is (given == TRACE)


async def test_receivers_with_the_old_or_the_new_secret_during_a_rotation(home: Path) -> None:
    async with (
        receiver(lambda _: None, "old") as before,
        receiver(lambda _: None, "new") as after,
        serve(home, webhook_secret=["new", "old"], webhook_hosts=[before.host, after.host]) as wire,
    ):
        for hook in (before, after):
            await wire.run("people:v1", "people.csv", webhook_url=hook.url, force_rerun=True)
            (received,) = await hook.until(1)
            assert received.status == 204


@pytest.mark.usefixtures("quick")
async def test_a_receiver_that_fails_first_gets_it_again(home: Path) -> None:
    handled: list[WebhookEvent] = []
    failures = iter([RuntimeError("not yet"), RuntimeError("not yet")])

    def handle(event: WebhookEvent) -> None:
        for failure in failures:
            raise failure
        handled.append(event)

    async with (
        receiver(Once(handle)) as hook,
        serve(home, webhook_secret=SECRET, webhook_hosts=[hook.host]) as wire,
    ):
        run = await wire.run("people:v1", "absent.csv", webhook_url=hook.url)
        received = await hook.until(3)
        (row,) = await settled(home / ".lume/state/runs.sqlite")
    assert [one.status for one in received] == [500, 500, 204]
    assert len({(one.body, one.headers["X-Lume-Delivery"]) for one in received}) == 1
    assert [(event.run_id, event.status) for event in handled] == [(run["id"], "FAILED")]
    assert (row["attempts"], row["error"]) == (3, None)
    assert row["delivered_at"]


# -- whatever happens in between


async def test_a_run_that_the_next_server_settles_is_told_too(home: Path) -> None:
    events: list[WebhookEvent] = []
    (home / "slow.csv").write_text(slow_rows())
    async with receiver(events.append) as hook:
        async with process(home, webhook_secret=SECRET, webhook_hosts=[hook.host]) as (server, wire):
            run_id = (await wire.submit("slow:v1", "slow.csv", webhook_url=hook.url)).document["id"]
            await wire.until(run_id, "TRANSFORMING")
            server.kill()
            await server.wait()
        async with serve(home, webhook_secret=SECRET, webhook_hosts=[hook.host]):
            await hook.until(1)
    assert [(event.run_id, event.status) for event in events] == [(run_id, "CRASHED")]


# -- the sender


@asynccontextmanager
async def sending(store: SqliteStore, *hosts: str) -> AsyncIterator[DeliveryOutbox]:
    """A sender at work."""
    sender = DeliveryOutbox(
        store.deliveries, http_carriers.http_carriers(WebhookRules.of(SECRET, hosts), None), Health(Path())
    )
    async with sender.running():
        yield sender


async def bare(answer: web.StreamResponse, requests: list[str]) -> tuple[web.ServerRunner, str]:
    """Somebody who answers everything so."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        requests.append(request.path)
        return answer

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_a_redirect_is_a_failure(store: SqliteStore, tmp_path: Path) -> None:
    requests: list[str] = []
    runner, url = await bare(web.Response(status=307, headers={"Location": "/elsewhere"}), requests)
    await ended(store, url)
    began = time.time()
    async with sending(store, url.removeprefix("http://")), asyncio.timeout(20):
        while not (row := in_outbox(tmp_path / "runs.sqlite")[0])["attempts"]:
            await asyncio.sleep(0.005)
    await runner.cleanup()
    assert (requests, row["error"]) == (["/"], "answered with status 307")
    assert began + 2 <= row["due"] <= time.time() + 2


@pytest.mark.usefixtures("quick")
async def test_it_gives_up_after_twelve_attempts(
    store: SqliteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(event: WebhookEvent) -> None:
        raise RuntimeError

    async with receiver(refuse) as hook, sending(store, hook.host) as sender:
        (run_id,) = await ended(store, hook.url)
        sender.wake()
        (row,) = await settled(tmp_path / "runs.sqlite")
        assert len(hook.received) == 12
    assert (row["attempts"], row["delivered_at"], row["error"]) == (12, None, "answered with status 500")
    assert f"webhook of run {run_id}: attempt 12 of 12" in caplog.text


@pytest.mark.usefixtures("quick")
async def test_whoever_can_not_be_reached_is_noted(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_ATTEMPTS", 1)
    monkeypatch.setattr(http_carriers, "PATIENCE", 0.1)

    async def hold(event: WebhookEvent) -> None:
        await asyncio.Event().wait()

    async with receiver(hold) as hook:
        await ended(store, hook.url)
        await ended(store, "http://not.allowed.any.more/")
        runner, closed = await bare(web.Response(), [])
        await runner.cleanup()
        await ended(store, closed)
        async with sending(store, hook.host, closed.removeprefix("http://")):
            rows = await settled(tmp_path / "runs.sqlite", 3)
    late, refused, unreachable = [row["error"] for row in rows]
    assert late == "no answer within 0 s"
    assert "not.allowed.any.more:80 is not a host that this server calls" in refused
    assert hook.host not in refused  # a submitter reads it, and need not know which hosts are listed
    assert "ClientConnectorError" in unreachable


async def test_no_other_name_leads_to_this_machine(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_ATTEMPTS", 1)
    calls: list[WebhookEvent] = []

    resolved_by(monkeypatch, lambda host, count: "127.0.0.1")
    async with receiver(calls.append) as hook:
        port = hook.host.rpartition(":")[2]
        await ended(store, f"http://inward.example:{port}/hook")
        await ended(store, f"http://localhost:{port}/hook")
        async with sending(store, "inward.example", f"localhost:{port}"):
            refused, called = await settled(tmp_path / "runs.sqlite", 2)
    assert "inward.example leads to an address of this machine" in refused["error"]
    assert called["error"] is None
    assert len(calls) == 1


@pytest.mark.usefixtures("quick")
async def test_the_address_that_was_checked_is_the_one_that_is_called(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each answer is another one: a second look-up between the check and the connection would lead elsewhere.
    asked = resolved_by(monkeypatch, lambda host, count: "127.0.0.1" if count % 2 else "127.0.0.2")
    async with receiver(lambda event: None) as hook:
        await ended(store, f"http://inward.example:{hook.host.rpartition(':')[2]}/hook")
        async with sending(store, "inward.example", hook.host):
            (row,) = await settled(tmp_path / "runs.sqlite")
    assert (row["attempts"], row["error"], asked) == (1, None, ["inward.example"])


async def test_only_two_at_a_time_for_a_host(store: SqliteStore, tmp_path: Path) -> None:
    present, most, gate, full = 0, 0, asyncio.Event(), asyncio.Event()

    async def count(event: WebhookEvent) -> None:
        nonlocal present, most
        present += 1
        most = max(most, present)
        if present == outbox.MOST_PER_HOST:
            full.set()
        await gate.wait()
        present -= 1

    async with receiver(count) as hook:
        ids = await ended(store, hook.url, 30)
        async with sending(store, hook.host) as sender:
            await full.wait()
            sender.wake()
            gate.set()
            received = await hook.until(30)
            await settled(tmp_path / "runs.sqlite", 30)
    assert most == outbox.MOST_PER_HOST
    assert sorted(orjson.loads(one.body)["run_id"] for one in received) == sorted(ids)


@asynccontextmanager
async def hanging(count: int) -> AsyncIterator[list[str]]:
    """Hosts that accept connections and never answer."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [f"127.0.0.1:{one.getsockname()[1]}" for one in listening]
    finally:
        for one in listening:
            one.close()


@pytest.mark.thorough
@pytest.mark.parametrize(("hosts", "each"), [(1, 48), (48, 3)])
async def test_receivers_that_hang_delay_no_other(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, hosts: int, each: int
) -> None:
    monkeypatch.setattr(http_carriers, "PATIENCE", 600.0)  # longer than the test
    async with hanging(hosts) as names, receiver(lambda event: None) as hook:
        for name in names:
            await ended(store, f"http://{name}/", each)
        async with sending(store, *names, hook.host) as sender:
            await ended(store, hook.url)
            sender.wake()
            await hook.until(1)
            await ended(store, hook.url, 30)
            sender.wake()
            await hook.until(31)


async def test_a_clock_that_was_set_back_holds_nothing_up(store: SqliteStore, tmp_path: Path) -> None:
    async with receiver(lambda event: None) as hook:
        await ended(store, hook.url)
        (waiting,) = await store.deliveries.waiting(9)
        await store.deliveries.failed(waiting.id, "no", time.time() + 86400)
        async with sending(store, hook.host):
            await settled(tmp_path / "runs.sqlite")


async def test_what_can_not_be_noted_is_noted_later_and_not_sent_again(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([StoreUnavailable("disk I/O error")] * 3)
    note = SqlDeliveries.delivered

    async def sometimes(deliveries: SqlDeliveries, delivery_id: str) -> None:
        for failure in failures:
            raise failure
        await note(deliveries, delivery_id)

    monkeypatch.setattr(SqlDeliveries, "delivered", sometimes)
    monkeypatch.setattr(outbox, "RETRY", 0.001)
    async with receiver(lambda event: None) as hook, sending(store, hook.host) as sender:
        await ended(store, hook.url)
        sender.wake()
        (row,) = await settled(tmp_path / "runs.sqlite")
        assert len(hook.received) == 1
    assert row["delivered_at"]
    assert caplog.text.count("disk I/O error; trying again") == 1
    assert "works again" in caplog.text


async def test_what_is_due_first_comes_first(store: SqliteStore) -> None:
    first, second = await ended(store, "http://127.0.0.1/", 2)
    (other,) = await ended(store, "http://127.0.0.1:8080/?a=/b")
    one, two, three = await store.deliveries.waiting(9)
    assert (one.run_id, two.run_id, three.run_id) == (first, second, other)
    assert await store.deliveries.waiting(1) == [one, three]
    await store.deliveries.failed(one.id, "no", two.due + 1)
    assert await store.deliveries.waiting(1) == [two, three]
    await store.deliveries.delivered(three.id)
    assert orjson.loads(await store.deliveries.body(two.id))["run_id"] == second
    assert (await store.deliveries.waiting(9))[1] == one._replace(attempts=1, due=two.due + 1)
