"""What happens between two operations of the store: each test makes it happen there, where it would do harm."""

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from local.flows import PEOPLE_CSV
from local.receiver import SECRET, receiver
from local.servers import serve
from local.states import Interleaved, moved
from local.wire import Wire

from lume_async.models import RunStatus
from lume_async.webhooks import WebhookEvent
from lume_local._runs import runner, upkeep
from lume_local._runs.deliveries.http_carriers import http_carriers
from lume_local._runs.deliveries.outbox import DeliveryOutbox
from lume_local._runs.deliveries.webhooks import WebhookRules
from lume_local._runs.health import Health
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun, StoreUnavailable
from lume_local._runs.times import ago_text
from lume_local._runs.waiters import Hub
from lume_local._serve import assembly
from lume_local._shared.commit import commit

Action = Callable[[], Awaitable[object]]
NEW = NewRun("f:v1", "a", "/a", None, False, None, "", "http://127.0.0.1/")


class Script:
    """What is to happen the next times that an operation is about to begin (`<get`), or is done (`get>`).

    Attributes:
        store: the server's own, for what is to happen.
    """

    store: SqlStore

    def __init__(self) -> None:
        self._actions: defaultdict[str, list[Action]] = defaultdict(list)

    def at(self, point: str, *actions: Action) -> None:
        self._actions[point] += actions

    async def __call__(self, point: str) -> None:
        if self._actions[point]:
            await self._actions[point].pop(0)()

    @property
    def is_over(self) -> bool:
        return not any(self._actions.values())


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()

    def interleaved(store: SqlStore) -> Interleaved:
        script.store = store
        return Interleaved(store, script)

    monkeypatch.setattr(
        "lume_local._serve.state.SqliteStore", lambda *places: interleaved(SqliteStore(*places))
    )
    return script


async def place(wire: Wire) -> str:
    """The end of the feed."""
    cursor: str = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
    return cursor


async def history(wire: Wire, run_id: str, after: str) -> list[str]:
    """The statuses that a run has had since."""
    changes = await wire.ask("GET", "/v1/changes", params={"after": after})
    return [one["status"] for one in changes.document["items"] if one["id"] == run_id]


def outputs(home: Path) -> list[str]:
    """The ids of the runs that have written."""
    return [path.parent.name for path in (home / ".lume/out").rglob("*.*")]


# -- who has a run


async def test_a_run_that_is_cancelled_while_a_lane_takes_it_is_not_begun(home: Path, script: Script) -> None:
    async with serve(home, max_active=1) as wire:
        start = await place(wire)
        cancelled = asyncio.Event()

        async def cancel() -> None:
            (run,) = (await wire.ask("GET", "/v1/runs")).document["items"]
            answer = await wire.ask("POST", f"/v1/runs/{run['id']}/cancel")
            assert answer.document["status"] == "CANCELLED"
            cancelled.set()

        script.at("next_waiting>", cancel)
        run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
        await cancelled.wait()
        (home / "other.csv").write_text(PEOPLE_CSV)
        done = await wire.run("people:v1", "other.csv")  # by the same lane, after it
        assert await history(wire, run_id, start) == ["CREATED", "CANCELLED"]
        assert set(outputs(home)) == {done["id"]}


async def test_a_cancel_is_kept_where_the_lane_has_to_try_again(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RETRY", 0.01)
    async with serve(home, max_active=1) as wire:
        start = await place(wire)

        async def cancelled_and_failed() -> None:
            (run,) = (await wire.ask("GET", "/v1/runs")).document["items"]
            assert (await wire.ask("POST", f"/v1/runs/{run['id']}/cancel")).status == 202
            raise StoreUnavailable("no")

        async def then() -> None:
            script.at("<settled", cancelled_and_failed)

        script.at("next_waiting>", then)
        run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
        await wire.until(run_id)
        assert script.is_over
        assert await history(wire, run_id, start) == ["CREATED", "CANCELLED"]


async def test_a_lane_does_not_take_a_run_that_is_being_cancelled(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(home, max_active=1) as wire:
        start = await place(wire)
        (home / "other.csv").write_text(PEOPLE_CSV)
        with monkeypatch.context() as patch:
            patch.setattr(runner.Runner, "_next", none)
            run_id = (await wire.submit("people:v1", "people.csv")).document["id"]

        async def other_run() -> None:
            again = await wire.ask("POST", f"/v1/runs/{run_id}/cancel")  # which waits for nothing
            assert (again.status, again.document["status"]) == (202, "CREATED")
            assert (await wire.run("people:v1", "other.csv"))["status"] == "SUCCEEDED"

        script.at("<update", other_run)
        answer = await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
        assert (answer.status, answer.document["status"]) == (202, "CANCELLED")
        assert await history(wire, run_id, start) == ["CREATED", "CANCELLED"]


async def none(_: object) -> None:
    return None


async def nothing() -> None: ...


async def test_a_change_is_made_of_the_state_in_which_the_run_is(tmp_path: Path) -> None:
    script, store = Script(), SqliteStore(tmp_path / "s")
    recorder = RunRecorder(
        Interleaved(store, script), Hub(), Health(tmp_path), lambda: None, lambda run: None
    )
    run, _ = await store.create(NEW)

    script.at("require>", lambda: moved(store, run.run_id, "SYNCING_SOURCE", stages=[{"name": "first"}]))
    await recorder.end(run.run_id, RunStatus.FAILED, message="no")
    ended = await store.require(run.run_id)
    assert (ended.status, [stage["name"] for stage in ended.stages]) == ("FAILED", ["first"])

    run, _ = await store.create(NEW)
    script.at("require>", lambda: moved(store, run.run_id, "CANCELLED"))
    await recorder.enter(run.run_id, "TRANSFORMING", None)
    assert (await store.require(run.run_id)).status == "CANCELLED", "an end is the last change"
    assert await store.update(run, "TRANSFORMING") is None
    store.close()


async def test_a_run_that_has_committed_is_not_cancelled_though_its_stages_were_lost(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner.Runner, "_next", none)
    async with serve(home, max_active=1) as wire:
        run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
        folder = home / ".lume/state/runs" / run_id
        folder.mkdir(parents=True)
        commit(folder, {"status": "SUCCEEDED", "metrics": {}, "target_locations": {}, "steps": []})
        answer = await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
        assert (answer.status, answer.document["status"]) == (202, "CREATED")


# -- whose client has gone


async def gone(request: "asyncio.Task[object]") -> None:
    """Its client closes the connection, and the server has noticed that."""
    request.cancel()
    await asyncio.sleep(3600)


async def test_a_run_whose_creator_has_gone_is_begun(home: Path, script: Script) -> None:
    async with serve(home, max_active=1) as wire:
        script.at("create>", lambda: gone(request))
        request = asyncio.create_task(wire.submit("people:v1", "people.csv"))
        with contextlib.suppress(asyncio.CancelledError):
            await request
        (run,) = (await wire.ask("GET", "/v1/runs")).document["items"]
        assert (await wire.until(run["id"]))["status"] == "SUCCEEDED"


async def test_a_cancel_whose_client_has_gone_is_carried_out_and_noticed(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(home, max_active=1) as wire:
        monkeypatch.setattr(runner.Runner, "_next", none)
        answer = await wire.submit("people:v1", "people.csv")
        run_id, tag = answer.document["id"], answer.headers["ETag"]
        waiting = asyncio.create_task(wire.get(run_id, wait=30, tag=tag))

        async def client_goes() -> None:
            request.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await request
            for _ in range(5):  # the server notices it
                await wire.ask("GET", "/healthz")

        script.at("<update", client_goes)
        request = asyncio.create_task(wire.ask("POST", f"/v1/runs/{run_id}/cancel"))
        async with asyncio.timeout(15):
            assert (await waiting).document["status"] == "CANCELLED"


# -- who waits


@pytest.mark.parametrize("known", [False, True])
async def test_a_change_while_a_long_poll_reads_is_not_missed(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    async with serve(home, max_active=1) as wire:
        monkeypatch.setattr(runner.Runner, "_next", none)
        answer = await wire.submit("people:v1", "people.csv")
        run_id = answer.document["id"]
        script.at("get>", lambda: wire.ask("POST", f"/v1/runs/{run_id}/cancel"))
        async with asyncio.timeout(15):
            tag = answer.headers["ETag"] if known else None
            assert (await wire.get(run_id, wait=30, tag=tag)).document["status"] == "CANCELLED"


async def test_a_change_while_the_feed_is_read_is_not_missed(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(home, max_active=1) as wire:
        monkeypatch.setattr(runner.Runner, "_next", none)
        script.at("changes>", lambda: wire.submit("people:v1", "people.csv"))
        async with asyncio.timeout(15):
            page = await wire.ask(
                "GET", "/v1/changes", params={"after": await place(wire)}, headers={"Prefer": "wait=30"}
            )
        assert [one["status"] for one in page.document["items"]] == ["CREATED"]


async def test_a_wake_up_without_a_change_does_not_end_a_wait(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubs: list[Hub] = []
    monkeypatch.setattr(assembly, "Hub", lambda: hubs.append(Hub()) or hubs[-1])
    async with serve(home, max_active=1) as wire:
        monkeypatch.setattr(runner.Runner, "_next", none)
        answer = await wire.submit("people:v1", "people.csv")
        run_id = answer.document["id"]

        async def notified() -> None:
            hubs[0].notify(run_id)

        async def cancelled() -> None:
            await wire.ask("POST", f"/v1/runs/{run_id}/cancel")

        script.at("get>", notified)
        script.at("require>", cancelled)  # what the wake-up was followed by
        async with asyncio.timeout(15):
            waited = await wire.get(run_id, wait=30, tag=answer.headers["ETag"])
        assert (waited.status, waited.document["status"]) == (200, "CANCELLED")


async def test_changes_that_are_forgotten_while_the_feed_is_read_are_not_skipped(
    home: Path, script: Script
) -> None:
    async with serve(home, max_active=1, keep=None) as wire:
        start = await place(wire)
        await wire.run("people:v1", "people.csv")

        async def forgotten() -> None:
            assert await script.store.forget("9999", 1000)

        script.at("<changes", forgotten)
        answer = await wire.ask("GET", "/v1/changes", params={"after": start})
        assert (answer.status, answer.kind) == (400, "invalid-cursor")


# -- what is removed and sent


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_file_is_not_removed_after_a_run_has_claimed_it(
    home: Path, script: Script, monkeypatch: pytest.MonkeyPatch, is_paused: bool
) -> None:
    """What is in use is asked twice: for the most part, then for the rest, while submissions are paused."""
    monkeypatch.setattr(upkeep, "INTERVAL", 0.02)
    upload = home / ".lume/uploads/read.csv"
    async with serve(home, keep_uploads=3600, max_active=1) as wire:
        monkeypatch.setattr(runner.Runner, "_next", none)
        await wire.ask("PUT", "/v1/uploads/read.csv", data=PEOPLE_CSV.encode())
        submitted = asyncio.Event()
        requests: list[asyncio.Task[object]] = []
        there: list[bool] = []

        async def sweep_is_half_done() -> None:
            script.at("active_sources>", nothing, *([nothing] if is_paused else []), submit)

        async def submit() -> None:
            os.utime(upload, (0, 0))
            requests.append(asyncio.create_task(wire.submit("people:v1", "upload://read.csv")))
            await submitted.wait()

        async def begins() -> None:
            submitted.set()

        async def created() -> None:
            there.append(upload.exists())

        script.at("<create", begins)
        script.at("create>", created)
        script.at("<submissions_paused", sweep_is_half_done)
        async with asyncio.timeout(20):
            await submitted.wait()
            await asyncio.gather(*requests)
            swept = asyncio.Event()
            script.at("<submissions_paused", nothing, again_at(swept))
            await swept.wait()
        assert there == [not is_paused], "it was removed before a run could claim it, or not at all"
        assert upload.exists() is not is_paused


async def test_a_delivery_that_ends_while_the_outbox_is_read_is_not_sent_again(tmp_path: Path) -> None:
    script, store = Script(), SqliteStore(tmp_path / "s")
    answered, noted, arrived = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run, _ = await store.create(NEW)

    async def slowly(event: WebhookEvent) -> None:
        arrived.set()
        await answered.wait()

    async def read_on() -> None:
        answered.set()
        await noted.wait()
        while sender._active:
            await asyncio.sleep(0)

    async def was_noted() -> None:
        noted.set()

    async with receiver(slowly) as hook:
        event = orjson.dumps({"event": "x", "run_id": run.run_id, "status": "FAILED"})
        rules = WebhookRules.of(SECRET, (hook.host,))
        deliveries = Interleaved(store, script).deliveries
        sender = DeliveryOutbox(deliveries, http_carriers(rules, None), Health(tmp_path))
        store._db.execute("UPDATE runs SET webhook_url = ?", [hook.url])
        await store.update(run, "FAILED", event=event)
        async with asyncio.timeout(20), sender.running():
            await arrived.wait()
            again = asyncio.Event()
            script.at("waiting>", read_on, again_at(again))
            script.at("delivered>", was_noted)
            sender.wake()
            await again.wait()
        assert len(hook.received) == 1
    store.close()


def again_at(event: asyncio.Event) -> Action:
    async def reached() -> None:
        event.set()

    return reached


async def test_nothing_is_created_while_submissions_are_paused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    async with store.submissions_paused():
        creating = asyncio.create_task(store.create(NEW))
        await asyncio.sleep(0)
        assert await store.active_sources() == []
        assert await store.forget(ago_text(0), 1) == 0, "other operations are carried out"
    run, _ = await creating
    assert await store.active_sources() == [run.source_key]
    store.close()
