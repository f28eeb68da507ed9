"""Every public operation, cancelled at each of its awaits, exits included: nothing of it is left behind."""

import asyncio
import contextlib
import hashlib
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from cancelled_at import CancelledAt
from fake_service import Service
from inline import Inline

from lume_async import ApiConnectionError, Client, LumeRun, Outcome, Rows, RunRequest
from lume_async._batch import journal
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

pytestmark = pytest.mark.once

MOST = 5_000
"""More awaits than any operation here has."""

TURNS = 2_000
"""Up to here in any case; how many turns pass while a thread is at work is the machine's affair."""

EVERY_TURN_UP_TO = 120
"""From there on most turns only make the fake clock go on."""


async def read(items: AsyncIterator[Any]) -> None:
    async for _ in items:
        pass


async def drained(outcomes: AsyncIterator[Outcome[LumeRun]]) -> None:
    async for outcome in outcomes:
        outcome.result()


async def left_early(client: Client, _folder: Path) -> None:
    outcomes = client.as_completed(["run_a", "run_b", "run_c"])
    await anext(outcomes)
    await outcomes.aclose()


def requests(count: int) -> list[RunRequest]:
    return [RunRequest("f:v1", f"s{n}", {"n": n}) for n in range(count)]


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


async def closing(client: Client, _folder: Path) -> None:
    async with client:
        await client.run_status("run_a")


async def to_arrow(client: Client, _folder: Path) -> None:
    assert len(await client.attach("run_a").mapped().to_arrow()) == 2


async def to_arrow_batches(client: Client, _folder: Path) -> None:
    assert [batch async for batch in client.attach("run_a").mapped().to_arrow_batches()] == [["row"], ["row"]]


async def upload_file(client: Client, folder: Path) -> None:
    file = folder / "customers.csv"
    file.write_bytes(CONTENT)
    await client.upload_file(file)


async def download(client: Client, folder: Path) -> None:
    await client.attach("run_a").download("rejects", folder / "rejects.csv")
    assert [file.name for file in folder.iterdir()] == ["rejects.csv"]


async def resubmit(client: Client, _folder: Path) -> None:
    run = client.attach("run_a")
    await run.wait()
    await run.resubmit(CONTENT, force=True)


async def propose(client: Client, folder: Path) -> None:
    sample = folder / "sample.csv"
    sample.write_bytes(CONTENT)
    await client.propose("f", ["a.csv", sample])


Operation = Callable[[Client, Path], Awaitable[Any]]
FOLLOW: dict[str, Operation] = {
    "run": lambda client, _: client.run("f:v1", "s.csv"),
    "wait": lambda client, _: client.attach("run_a").wait(),
    "watch": lambda client, _: read(client.watch("run_a")),
    "as_completed": lambda client, _: drained(client.as_completed(["run_a", "run_b", "run_c"], timeout=60)),
    "as_completed_too_late": lambda client, _: read(client.as_completed(["run_a", "run_b"], timeout=1)),
    "left_early": left_early,
    "wait_all": lambda client, _: client.wait_all(["run_a", "run_b"]),
    "run_many": lambda client, _: drained(client.run_many(requests(4), max_active=2, timeout=60)),
    "run_many_with_a_journal": lambda client, folder: drained(
        client.run_many(requests(3), max_active=2, journal=folder / "journal.db")
    ),
    "monitor": monitor,
    "monitor_left_in_the_middle": monitor_left_in_the_middle,
}
"""What a server can do matters to these: they follow runs, or submit them."""
OPERATIONS: dict[str, Operation] = {
    **FOLLOW,
    "run_status": lambda client, _: client.run_status("run_a"),
    "refresh": lambda client, _: client.attach("run_a").refresh(),
    "wait_for_run_completion": lambda client, _: client.wait_for_run_completion("run_a", initial_delay=1),
    "list_runs": lambda client, _: read(client.list_runs()),
    "aclose": closing,
    "cancel": lambda client, _: client.attach("run_a").cancel(),
    "rejects": lambda client, _: read(client.attach("run_a").rejects()),
    "to_arrow": to_arrow,
    "to_arrow_batches": to_arrow_batches,
    "to_polars": lambda client, _: client.attach("run_a").mapped().to_polars(),
    "upload_file": upload_file,
    "upload": lambda client, _: client.upload(CONTENT),
    "upload_continued": lambda client, _: client.upload(CUT),
    "run_with_seeds": lambda client, _: client.run("f:v1", "s.csv", seeds={"s": CONTENT}),
    "download": download,
    "rerun": lambda client, _: client.attach("run_a").rerun(force=True),
    "resubmit": resubmit,
    "deliveries": lambda client, _: client.attach("run_a").deliveries(),
    "dismiss": lambda client, _: client.attach("run_a").dismiss("nothing is left to do"),
    "statistics": lambda client, _: client.statistics(),
    "arrivals": lambda client, _: client.arrivals(),
    "retry_arrivals": lambda client, _: client.retry_arrivals("acme"),
    "audit": lambda client, _: read(client.audit()),
    "forget": lambda client, _: client.forget({"email": "ada@example.com"}),
    "dry_run": lambda client, _: client.dry_run("f:v1", "s.csv"),
    "inbox": lambda client, _: client.inbox(),
    "open_rejects": lambda client, _: read(client.open_rejects()),
    "assign_rejects": lambda client, _: client.assign_rejects("ann", flow="f"),
    "discard_rejects": lambda client, _: client.discard_rejects("they were sent by mistake", flow="f"),
    "replay": lambda client, _: client.replay("f"),
    "register_flow": lambda client, _: client.register_flow({"flow": "f", "version": "v1"}),
    "flow_version": lambda client, _: client.flow_version("f:v1"),
    "propose": propose,
    "list_flows": lambda client, _: read(client.list_flows()),
    "table": lambda client, _: read(client.table("f")),
    "request": lambda client, _: client.request("GET", "/v1/runs/run_a"),
}


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the libraries: a thread that still imports one when its waiter is gone has files open."""
    stream = SimpleNamespace(read_all=lambda: Table(["row"]))
    pyarrow = SimpleNamespace(ipc=SimpleNamespace(open_stream=lambda body: stream), concat_tables=list)
    monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
    polars = SimpleNamespace(DataFrame=lambda columns, strict: columns, from_arrow=list)
    monkeypatch.setitem(sys.modules, "polars", polars)


class Table(list[str]):
    """In place of one of pyarrow."""

    schema = SimpleNamespace(equals=lambda other: True)

    def __getitem__(self, part: Any) -> Any:
        return Table(super().__getitem__(part))

    def to_batches(self) -> list["Table"]:
        return [self]


def test_no_public_operation_is_missing() -> None:
    named = {*OPERATIONS, "mapped", "to_pandas"}  # as `rejects`, and as `to_polars`
    offered = {
        name
        for owner in (Client, LumeRun, Rows)
        for name, member in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_")
    }
    awaits_nothing = {"answers", "attach", "raise_for_status", "to_dict", "with_options"}
    assert offered - named == awaits_nothing


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
            case ["arrivals", _, "retry"]:
                return FakeAnswer(200, golden("arrivals_retried"))
            case ["arrivals"]:
                return FakeAnswer(200, golden("arrivals"))
            case ["forget"]:
                return FakeAnswer(200, golden("forgotten"))
            case ["inbox"] | ["replays"]:
                return FakeAnswer(200, golden(place.path.removeprefix("/v1/").removesuffix("s")))
            case ["rejects", "assign" | "discard" as what]:
                return FakeAnswer(200, {f"{what}ed": 1})
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
            case ["flows", _, "table"]:
                return self._page({"id": 1}, place.query)
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
                while open_files() - self.files:
                    await asyncio.sleep(0.001)
        assert open_files() <= self.files  # what an earlier test has left may be closed meanwhile


CAPABILITIES = "", "wait idempotency", "changes wait idempotency"


def cases() -> list[Any]:
    """Each operation, and those that follow runs with each kind of server."""
    found = [pytest.param(OPERATIONS[name], CAPABILITIES[0], id=name) for name in OPERATIONS]
    for name, operation in FOLLOW.items():
        for can in CAPABILITIES[1:]:
            found.append(pytest.param(operation, can, id=f"{name}-{can}"))
    return found


async def act(operation: Operation, world: World) -> None:
    await operation(world.client, world.folder)


@pytest.mark.parametrize(("operation", "capabilities"), cases())
async def test_whatever_await_is_cancelled_nothing_is_left(
    operation: Operation, capabilities: str, tmp_path: Path
) -> None:
    for n in range(1, MOST):
        world = await World(capabilities, tmp_path / str(n)).ready()
        cancelled = CancelledAt(act(operation, world), n)

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
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_in_whatever_turn_of_the_loop_it_is_cancelled_nothing_is_left(
    operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks that an operation owns have awaits of their own: a cancellation may come between any two of them.

    Every other time it comes twice. Servers that can more are those of simulated histories.
    """
    monkeypatch.setattr(journal, "ThreadPoolExecutor", Inline)
    turns = 0
    while turns < TURNS:
        turns += 1 if turns < EVERY_TURN_UP_TO else 29
        world = await World(CAPABILITIES[0], tmp_path / str(turns)).ready()
        task = asyncio.create_task(act(operation, world))
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
