"""Every public operation, cancelled at each of its awaits, exits included: nothing of it is left behind."""

import asyncio
import contextlib
import hashlib
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from cancelled_at import CancelledAt
from fake_service import Service

from lume_async import ApiConnectionError, Client, LumeRun, Outcome, Rows, RunRequest
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

MOST = 5_000
"""More awaits than any operation here has."""

TURNS = 2_000
"""Up to here in any case; how many turns pass while a thread is at work is the machine's affair."""

EVERY_TURN_UP_TO = 120
"""From there on most turns only make the fake clock go on."""


async def run(client: Client, _folder: Path) -> None:
    await client.run("f:v1", "s.csv")


async def run_status(client: Client, _folder: Path) -> None:
    await client.run_status("run_a")


async def refresh(client: Client, _folder: Path) -> None:
    await client.attach("run_a").refresh()


async def wait(client: Client, _folder: Path) -> None:
    await client.attach("run_a").wait()


async def recipe(client: Client, _folder: Path) -> None:
    await client.wait_for_run_completion("run_a", initial_delay=1)


async def watch(client: Client, _folder: Path) -> None:
    async for _ in client.watch("run_a"):
        pass


async def drained(outcomes: AsyncIterator[Outcome[LumeRun]]) -> None:
    async for outcome in outcomes:
        outcome.result()


async def as_completed(client: Client, _folder: Path) -> None:
    await drained(client.as_completed(["run_a", "run_b", "run_c"], timeout=60))


async def as_completed_too_late(client: Client, _folder: Path) -> None:
    async for _ in client.as_completed(["run_a", "run_b"], timeout=1):
        pass


async def left_early(client: Client, _folder: Path) -> None:
    outcomes = client.as_completed(["run_a", "run_b", "run_c"])
    await anext(outcomes)
    await outcomes.aclose()


async def wait_all(client: Client, _folder: Path) -> None:
    await client.wait_all(["run_a", "run_b"])


def requests(count: int) -> list[RunRequest]:
    return [RunRequest("f:v1", f"s{n}", {"n": n}) for n in range(count)]


async def run_many(client: Client, _folder: Path) -> None:
    await drained(client.run_many(requests(4), max_active=2, timeout=60))


async def run_many_with_a_journal(client: Client, folder: Path) -> None:
    await drained(client.run_many(requests(3), max_active=2, journal=folder / "journal.db"))


async def monitor(client: Client, _folder: Path) -> None:
    async with client.monitor() as monitor:
        for run_id in ("run_a", "run_b", "run_c"):
            monitor.add(run_id)
        async for _ in monitor:
            if not monitor.pending:
                break


async def monitor_left_in_the_middle(client: Client, _folder: Path) -> None:
    async with client.monitor() as monitor:
        monitor.add("run_a")
        monitor.add("run_b")
        await anext(monitor)


async def list_runs(client: Client, _folder: Path) -> None:
    async for _ in client.list_runs():
        pass


async def closing(client: Client, _folder: Path) -> None:
    async with client:
        await client.run_status("run_a")


async def cancel(client: Client, _folder: Path) -> None:
    await client.attach("run_a").cancel()


async def rows(client: Client, _folder: Path) -> None:
    async for _ in client.attach("run_a").rejects():
        pass


async def to_arrow(client: Client, _folder: Path) -> None:
    assert len(await client.attach("run_a").mapped().to_arrow()) == 2


async def to_arrow_batches(client: Client, _folder: Path) -> None:
    assert [batch async for batch in client.attach("run_a").mapped().to_arrow_batches()] == [["row"], ["row"]]


async def to_polars(client: Client, _folder: Path) -> None:
    await client.attach("run_a").mapped().to_polars()


async def upload_file(client: Client, folder: Path) -> None:
    file = folder / "customers.csv"
    file.write_bytes(CONTENT)
    await client.upload_file(file)


async def upload(client: Client, _folder: Path) -> None:
    await client.upload(CONTENT)


async def upload_continued(client: Client, _folder: Path) -> None:
    await client.upload(CUT)


async def run_with_seeds(client: Client, _folder: Path) -> None:
    await client.run("f:v1", "s.csv", seeds={"s": CONTENT})


async def download(client: Client, folder: Path) -> None:
    await client.attach("run_a").download("rejects", folder / "rejects.csv")
    assert [file.name for file in folder.iterdir()] == ["rejects.csv"]


async def rerun(client: Client, _folder: Path) -> None:
    await client.attach("run_a").rerun(force=True)


async def resubmit(client: Client, _folder: Path) -> None:
    run = client.attach("run_a")
    await run.wait()
    await run.resubmit(CONTENT, force=True)


async def deliveries(client: Client, _folder: Path) -> None:
    await client.attach("run_a").deliveries()


async def dismiss(client: Client, _folder: Path) -> None:
    await client.attach("run_a").dismiss("nothing is left to do")


async def statistics(client: Client, _folder: Path) -> None:
    await client.statistics()


async def arrivals(client: Client, _folder: Path) -> None:
    await client.arrivals()


async def audit(client: Client, _folder: Path) -> None:
    async for _ in client.audit():
        pass


async def dry_run(client: Client, _folder: Path) -> None:
    await client.dry_run("f:v1", "s.csv")


async def inbox(client: Client, _folder: Path) -> None:
    await client.inbox()


async def open_rejects(client: Client, _folder: Path) -> None:
    async for _ in client.open_rejects():
        pass


async def discard_rejects(client: Client, _folder: Path) -> None:
    await client.discard_rejects("they were sent by mistake", flow="f")


async def replay(client: Client, _folder: Path) -> None:
    await client.replay("f")


async def register_flow(client: Client, folder: Path) -> None:
    await client.register_flow({"flow": "f", "version": "v1"})


async def flow_version(client: Client, _folder: Path) -> None:
    await client.flow_version("f:v1")


async def propose(client: Client, folder: Path) -> None:
    sample = folder / "sample.csv"
    sample.write_bytes(CONTENT)
    await client.propose("f", ["a.csv", sample])


async def list_flows(client: Client, _folder: Path) -> None:
    async for _ in client.list_flows():
        pass


OPERATIONS: list[Callable[[Client, Path], Awaitable[None]]] = [
    *(run, run_status, refresh, wait, recipe, watch, list_runs, closing, monitor, monitor_left_in_the_middle),
    *(as_completed, as_completed_too_late, left_early, wait_all, run_many, run_many_with_a_journal),
    *(
        cancel,
        rows,
        to_arrow,
        to_arrow_batches,
        to_polars,
        upload_file,
        register_flow,
        flow_version,
        list_flows,
        propose,
    ),
    *(
        upload,
        upload_continued,
        run_with_seeds,
        download,
        rerun,
        resubmit,
        deliveries,
        dismiss,
        statistics,
        arrivals,
        audit,
        dry_run,
    ),
    *(inbox, open_rejects, discard_rejects, replay),
]


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the libraries: a thread that still imports one when its waiter is gone has files open."""
    stream = SimpleNamespace(read_all=lambda: Table(["row"]))
    pyarrow = SimpleNamespace(ipc=SimpleNamespace(open_stream=lambda body: stream), concat_tables=list)
    monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
    monkeypatch.setitem(sys.modules, "polars", SimpleNamespace(DataFrame=lambda columns, strict: columns))


class Table(list[str]):
    """In place of one of pyarrow."""

    def __getitem__(self, part: Any) -> Any:
        return Table(super().__getitem__(part))

    def to_batches(self) -> list["Table"]:
        return [self]


def test_no_public_operation_is_missing() -> None:
    """Those that only pass on what another one does are named here, with that one."""
    passed_on = {"aclose": closing, "wait_for_run_completion": recipe, "rejects": rows, "mapped": rows}
    passed_on |= {"to_pandas": to_polars}
    named = {operation.__name__ for operation in OPERATIONS} | set(passed_on)
    offered = {
        name
        for owner in (Client, LumeRun, Rows)
        for name, member in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_")
    }
    assert offered - named == {"attach", "raise_for_status", "to_dict", "with_options"}, "these await nothing"


ARROW = "application/vnd.apache.arrow.stream"
ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"
CONTENT = b"id,email\n1,a@example.org\n"


def golden(name: str) -> Any:
    return json.loads((Path(__file__).parents[1] / f"contract/{name}.json").read_text())


DRY = golden("run_dry")
CUT = b"id\n1\n"
"""Content whose upload breaks after its first bytes."""
PROPOSAL = golden("proposal")
COUNTED = {"content_hash": "h", "created_at": "2026-01-01T00:00:00Z"}


class WholeService(Service):
    """With what the shared one leaves out: rows, uploads, flows, and cancelling."""

    def __call__(self, request: FakeRequest) -> FakeAnswer | Exception:
        place = urlsplit(request.path)
        match place.path.split("/")[2:]:
            case ["runs", run_id, "cancel" | "dismiss"]:
                return self._look(run_id)
            case ["runs", _, "deliveries"] | ["statistics"] | ["audit"]:
                return FakeAnswer(200, {"items": [], "next_cursor": None})
            case ["runs", _, "outputs", _]:
                return FakeAnswer(200, CONTENT, {"Content-Length": str(len(CONTENT)), "ETag": '"1"'})
            case ["runs"] if b"seeds" in (request.body or b""):
                seeds = {"s": {"source_path": "upload://s", "sha256": "0" * 64}}
                return FakeAnswer(201, run_json("run_a", "CREATED", seeds=seeds))
            case ["runs"] if b"dry_run" in (request.body or b""):
                return FakeAnswer(200, DRY)
            case ["arrivals"]:
                return FakeAnswer(200, golden("arrivals"))
            case ["inbox"] | ["replays"]:
                return FakeAnswer(200, golden(place.path.removeprefix("/v1/").removesuffix("s")))
            case ["rejects", "discard"]:
                return FakeAnswer(200, {"discarded": 1})
            case ["runs", _, "rejects" | "mapped"] if request.headers.get("Accept") == ARROW:
                following = {} if "cursor" in place.query else {"Lume-Next-Cursor": "2"}
                return FakeAnswer(200, ARROW_END, {"Content-Type": ARROW, **following})
            case ["runs", _, "rejects" | "mapped"] | ["rejects"]:
                return self._page({"_lume_row": 1}, place.query)
            case ["uploads", _] if request.method == "HEAD":
                return FakeAnswer(204, headers={"Upload-Offset": "3", "Upload-Complete": "?0"})
            case ["uploads", _] if request.method == "PUT" and request.body == CUT:
                return ApiConnectionError("cut off")
            case ["uploads", name]:
                digest = hashlib.sha256(CUT if request.method == "PATCH" else CONTENT).hexdigest()
                return FakeAnswer(201, {"source_path": name, "bytes": len(CONTENT), "sha256": digest})
            case ["flows"]:
                return self._page({"flow_version": "f:v1", "runs": 0, "columns": [], **COUNTED}, place.query)
            case ["flows", _, "proposals"]:
                return FakeAnswer(200, PROPOSAL)
            case ["flows", *_]:
                definition = {"seeds": {"s": {"path": "s.csv", "key": "id", "per_run": True}}}
                return FakeAnswer(200, {"flow_version": "f:v1", "definition": definition, **COUNTED})
        return super().__call__(request)

    def _page(self, item: dict[str, object], query: str) -> FakeAnswer:
        """Two pages."""
        return FakeAnswer(200, {"items": [item], "next_cursor": None if "cursor" in query else "2"})


def open_files() -> set[str]:
    found = set()
    for fd in os.listdir("/dev/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add(os.readlink(f"/dev/fd/{fd}"))
    return found


Operation = Callable[[Client, Path], Coroutine[Any, Any, None]]


class World:
    """One client over one service: an operation at a time, and what is left after it."""

    def __init__(self, capabilities: str, folder: Path) -> None:
        self.service = WholeService(capabilities=capabilities.split())
        self.client, _ = fake_client(self.service, clock=self.service.clock)
        self.folder = folder
        folder.mkdir()
        self.files = open_files()

    async def ready(self) -> "World":
        await self.client._sender.replays()  # so that the capabilities are known
        return self

    async def assert_nothing_is_left(self) -> None:
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.client._sender.known.long_polls == 0
        for _loop, limiter in self.client._sender._limiter.items():
            assert limiter._free == self.client._sender.settings.max_connections
        # A thread that was opening the file when the cancellation came closes it: nobody waits for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while open_files() != self.files:
                    await asyncio.sleep(0.001)
        assert open_files() == self.files


CAPABILITIES = "", "wait idempotency", "changes wait idempotency"
FOLLOW = (run, wait, watch, as_completed, as_completed_too_late, left_early, wait_all, run_many)
FOLLOW = (*FOLLOW, run_many_with_a_journal, monitor, monitor_left_in_the_middle)
"""What a server can do matters to these: they follow runs, or submit them."""


def cases(*more: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """Each operation, and those that follow runs with each kind of server."""
    found = [(operation, CAPABILITIES[0]) for operation in OPERATIONS]
    others = [(operation, can) for operation in FOLLOW for can in CAPABILITIES[1:]]
    params = [*found, *(pytest.param(*case, marks=more) for case in others)]
    return pytest.mark.parametrize(
        ("operation", "capabilities"), params, ids=lambda one: getattr(one, "__name__", one)
    )


@cases()
async def test_whatever_await_is_cancelled_nothing_is_left(
    operation: Operation, capabilities: str, tmp_path: Path
) -> None:
    for n in range(1, MOST):
        world = await World(capabilities, tmp_path / str(n)).ready()
        cancelled = CancelledAt(operation(world.client, world.folder), n)

        async def awaited(cancelled: CancelledAt = cancelled) -> object:
            return await cancelled

        task = asyncio.create_task(awaited())
        await asyncio.wait([task])

        await world.assert_nothing_is_left()
        if not task.cancelled():
            task.result()
            assert not cancelled.came, "a cancellation that came was swallowed"
            return
    pytest.fail("it never ends")


@pytest.mark.timeout(300)  # each turn has a journal of its own, which a slow disk syncs
@cases(pytest.mark.thorough)
async def test_in_whatever_turn_of_the_loop_it_is_cancelled_nothing_is_left(
    operation: Operation, capabilities: str, tmp_path: Path
) -> None:
    """The tasks that an operation owns have awaits of their own: a cancellation may come between any two of them.

    Every other time it comes twice.
    """
    turns = 0
    while turns < TURNS:
        turns += 1 if turns < EVERY_TURN_UP_TO else 29
        world = await World(capabilities, tmp_path / str(turns)).ready()
        task = asyncio.create_task(operation(world.client, world.folder))
        for _ in range(turns):
            if task.done():
                break
            await asyncio.sleep(0)
        else:
            came = task.cancel()  # False where it has ended in this very turn
            if turns % 2:
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() is came, "a cancellation that came was swallowed"
        await world.assert_nothing_is_left()
        if not task.cancelled():
            task.result()
            return
