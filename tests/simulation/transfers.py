"""Histories of uploads and downloads: whole, cut at any byte, of outputs that change, cancelled, closed, killed."""

import asyncio
import gc
import json
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lume_async import Client, LumeRun, Part, Retry, SourceData
from lume_async.errors import ApiError, ClientClosedError, RunFailedError
from lume_async.testing import FakeAnswer, FakeRequest
from lume_async.testing._transfers import PLACE, SimulatedFiles, rows_of
from lume_async.testing._wire import HERE, WireNetwork
from simulation.batches import check_at_most_one
from simulation.world import World, within

T = TypeVar("T")
PARTS: tuple[Part, Part] = ("mapped", "rejects")
MOVED_TO = "192.0.2.2"


class RestlessFiles(SimulatedFiles):
    """Files whose outputs may be written again after each answer."""

    world: World

    def on_output(self, request: FakeRequest, run_id: str, source_path: str, part: str) -> FakeAnswer:
        """Answer, and write the output again."""
        answer = super().on_output(request, run_id, source_path, part)
        if self.world.chance.happens(0.2, "the output is written again"):
            self.rewrite(run_id)
        return answer


class Transfers:
    """What the histories have in common: the world, the data and the checks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files = world.server.files = RestlessFiles.drawn(world.chance)
        assert isinstance(self.files, RestlessFiles)
        self.files.world = world
        # An answer that takes longer than that fails each time.
        self.timeout = 60.0 if max(world.network.delays) > 1 else world.random.choice([5.0, 60.0])
        world.options = {
            "request_timeout": self.timeout,
            "retry": Retry(attempts=world.chance.pick("attempts", [3, 8])),
        }
        self.content = self._drawn_content()
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in self.content.splitlines()]
        self.folder, self.temporary = world.folder / "got", world.folder / "temporary"
        for folder in (self.folder, self.temporary):
            folder.mkdir()
        if isinstance(world.network, WireNetwork):
            self._draw_places(world.network)

    def live(self, program: Any, *, kills: int = 0) -> None:
        """Run the program; check that nothing is left of it, and who has seen the key."""
        before, tempfile.tempdir = tempfile.tempdir, str(self.temporary)
        try:
            with warnings.catch_warnings():
                if kills:  # the files that a killed process had open
                    warnings.simplefilter("ignore", ResourceWarning)
                self.world.live(program, kills=kills)
                if kills:
                    gc.collect(1)
        finally:
            tempfile.tempdir = before
        if not self.world.was_killed:
            left = [path for path in self.world.folder.rglob("*") if path.suffix == ".part"]
            left += self.temporary.iterdir()
            assert not left, f"nothing left: {left}"
        network = self.world.network
        if isinstance(network, WireNetwork):
            open_ends = [link.number for link in network.links if not link.client.is_lost]
            assert not open_ends or self.world.was_killed, f"nothing left: connections {open_ends} are open"
            strangers = {each for each in network.heard if each[0] not in (HERE, MOVED_TO)}
            strangers |= {each for each in network.heard if each[1] != "lume.test"}
            assert not strangers, f"the key goes to one origin: {strangers}"

    async def called(self, call: Awaitable[T], what: str) -> T | None:
        """Return the result; None after an error that faults explain. Check that it took no longer than it may."""
        world, begun, sent = self.world, self.world.simulation.now(), self.world.network.sent
        try:
            return await call
        except ApiError as error:
            if world.is_calm:
                raise AssertionError(f"without faults {what} succeeds: {error!r}") from error
            return None
        finally:
            requests = world.network.sent - sent + 1
            # Each may be held for a file to be made durable (30 s), after a pause in which nothing arrives.
            pieces = 80 * max(world.network.delays)
            within(begun + requests * (self.timeout + 31 + 60 + pieces), what)

    async def has_ended(self, run: LumeRun) -> bool:
        """Wait for the run; return whether its end was seen."""
        with suppress(RunFailedError):
            return await self.called(run.wait(timeout=3600), "a wait") is not None
        return True

    def check_stored(self, source_path: str, data: SourceData) -> None:
        """Check that what the server has is what was sent."""
        if self.world.has_forgotten:
            return
        stored = self.files.stored[source_path.removeprefix(PLACE)]
        if isinstance(data, list):
            assert rows_of(stored, "mapped") == self.rows, "what is stored is what was sent: other rows"
        else:
            assert stored == self.content, "what is stored is what was sent: other bytes"

    def given(self) -> SourceData:
        """Return the data in one of the forms that a program may have it in."""
        form = self.world.chance.pick("the data are", ["bytes", "a file", "pieces", "rows"])
        if form == "rows" and self.rows:
            return self.rows
        if form == "a file":
            path = self.world.folder / "data.ndjson"
            path.write_bytes(self.content)
            return path
        return self._pieces() if form == "pieces" else self.content

    async def _pieces(self) -> AsyncIterator[bytes]:
        half = len(self.content) // 2
        for piece in (self.content[:half], self.content[half:]):
            await asyncio.sleep(self.world.random.choice([0.0, 2.0]))
            yield piece

    async def got(self, run: LumeRun, part: Part) -> None:
        """Download an output and read its rows; check that they are of one version of it."""
        files, target = self.files, self.folder / f"{run.id}-{part}"
        first = files.versions.get(run.id, 0)
        path = await self.called(run.download(part, target), "a download")
        assert (path is None) != target.exists() or self.world.was_killed, "a file is whole or not there"
        if path is not None and not self.world.has_forgotten:
            wanted = self._versions(run, part, first)
            assert path.read_bytes() in wanted, "what is downloaded was stored so: not a mixture"
        first = files.versions.get(run.id, 0)
        rows = await self.called(self._rows(run, part), "reading rows")
        if rows is not None and not self.world.has_forgotten:
            texts = [rows_of(content, part) for content in self._versions(run, part, first)]
            assert rows in texts, "the rows are of one version of the output"

    async def _rows(self, run: LumeRun, part: Part) -> list[dict[str, Any]]:
        rows = run.mapped() if part == "mapped" else run.rejects()
        if self.world.random.random() < 0.2 and self.files.arrow:
            table = await rows.to_arrow()
            if "row" in table.column_names:  # not if a gateway's 404 made the client ask for JSON
                return [json.loads(text) for text in table["row"].to_pylist()]
        return [row async for row in rows]

    def _versions(self, run: LumeRun, part: Part, first: int) -> list[bytes]:
        assert run.source_path is not None
        last = self.files.versions.get(run.id, 0)
        return [self.files.output(run.id, run.source_path, part, n) for n in range(first, last + 1)]

    def _drawn_content(self) -> bytes:
        """Return lines of JSON: from none to a hundred kilobytes, so that transports and buffers fill up."""
        random, size = self.world.random, int(2 ** (self.world.random.random() * 17)) - 1
        is_long = self.world.chance.pick("lines are", ["short", "long"]) == "long"
        lines, length, width = [], 0, 5_000 if is_long else 60
        while length < size:
            words = "bad" if random.random() < 0.2 else "good"
            lines.append(json.dumps({"n": len(lines), "is": words, "pad": "x" * random.randrange(width)}))
            length += len(lines[-1]) + 1
        return "".join(f"{line}\n" for line in lines).encode()

    def _draw_places(self, network: WireNetwork) -> None:
        """Let the server's name move to another machine, and give the first one a second address."""
        if self.world.chance.happens(0.2, "the name has an address at which nothing answers"):
            network.names["lume.test"] = ["192.0.2.9", HERE]
            network.gone.add("192.0.2.9")
        if self.world.chance.happens(0.2, "the name moves"):
            moment = 2 ** (self.world.random.random() * 6) - 1
            self.world.add_accident(moment, partial(network.move, "lume.test", MOVED_TO))


def round_trip(world: World) -> None:
    """Data are sent and run; outputs are read; corrected rejects are sent; now and then a process is killed."""
    its = Transfers(world)

    async def program(client: Client) -> None:
        data = its.given()
        run = await its.called(client.run("flow:v1", data=data), "a run on data")
        if run is None or not await its.has_ended(run):
            return
        assert run.source_path is not None
        its.check_stored(run.source_path, data)
        if not run.has_output:
            return
        for part in PARTS:
            await its.got(run, part)
        if run.status == "PARTIAL_FAILED":
            await corrected(its, run)

    its.live(program, kills=world.chance.pick("kills", [0, 0, 0, 1, 2]))
    check_at_most_one(world)


def downloaded(world: World) -> None:
    """Outputs are read again and again, over a network that mostly breaks off what is under way."""
    network = world.network
    network.faults = 0.5
    network.kinds = tuple(kind for kind in network.kinds if kind.startswith(("cut", "reset", "lost after")))
    its = Transfers(world)
    its.files.stored["a"] = its.content

    async def program(client: Client) -> None:
        run_id = world.server.add("flow:v1", f"{PLACE}a").id
        run = await its.called(client.run_status(run_id), "a look at a run")
        if run is not None and await its.has_ended(run) and run.has_output:
            for _ in range(3):
                for part in PARTS:
                    await its.got(run, part)
                    (its.folder / f"{run.id}-{part}").unlink(missing_ok=True)

    its.live(program)


async def corrected(its: Transfers, run: LumeRun) -> None:
    """Send corrected rejects; check that they are stored, and processed in one run."""
    rows = await its.called(its._rows(run, "rejects"), "reading rejects")
    if not rows:
        return
    mended = [{**row, "is": "good"} for row in rows]
    again = await its.called(run.resubmit(mended), "resubmitting")
    if again is None or its.world.has_forgotten:
        return
    assert again.source_path is not None
    stored = its.files.stored[again.source_path.removeprefix(PLACE)].decode()
    header, *lines = stored.splitlines()
    assert len(lines) == len(mended), "what is stored is what was sent: other rows"
    assert set(header.split(",")) >= {name for row in mended for name in row}, "columns are missing"
    assert not again.run_metadata or again.run_metadata["resubmit_of"] == run.id


def uploaded(world: World) -> None:
    """A file is uploaded, perhaps several times at once; one of them is changed meanwhile or grows shorter."""
    its = Transfers(world)
    path = world.folder / "file.bin"
    path.write_bytes(its.content)
    changes = world.chance.happens(0.2, "the file changes while it is sent")
    at = 2 ** (world.random.random() * 4) - 1

    def change() -> None:
        path.write_bytes(its.content[: len(its.content) // 2])

    async def one(client: Client) -> None:
        source_path = await its.called(client.upload(path), "an upload")
        if source_path is not None and not changes:
            its.check_stored(source_path, its.content)
        elif source_path is not None and not world.has_forgotten:
            whole = [its.content, its.content[: len(its.content) // 2]]
            assert its.files.stored[source_path.removeprefix(PLACE)] in whole, "a mixture was stored"

    async def program(client: Client) -> None:
        if changes:
            asyncio.get_running_loop().call_later(at, change)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(world.chance.pick("uploads at once", [1, 1, 3])):
                tasks.create_task(one(client))

    its.world.spoils = changes
    its.live(program)


def interrupted(world: World) -> None:
    """An upload, a run and a download whose caller is cancelled, or whose client is closed, at any moment."""
    its = Transfers(world)
    how = world.chance.pick("the end is", ["cancelled", "closed", "cancelled twice"])
    after = 2 ** (world.random.random() * 7) - 1

    async def work(client: Client) -> None:
        run = await client.run("flow:v1", data=its.given())
        await run.wait(timeout=3600)
        if run.has_output:
            for part in PARTS:
                await run.download(part, its.folder / part)

    async def program(client: Client) -> None:
        task = asyncio.create_task(work(client))
        await asyncio.wait([task], timeout=after)
        if how == "closed":
            await client.aclose()
        else:
            task.cancel()
            if how == "cancelled twice":
                await asyncio.sleep(0)
                task.cancel()
        await asyncio.wait([task], timeout=10.0)
        assert task.done(), "a call ends at once when it is cancelled or its client is closed"
        with suppress(ApiError, ClientClosedError, RunFailedError, asyncio.CancelledError):
            task.result()

    its.live(program)
    for part in PARTS:
        target: Path = its.folder / part
        if target.exists() and not world.has_forgotten:
            whole = {
                its.files.output(run.id, run.source_path, part, n)
                for run in world.server.runs.values()
                for n in range(its.files.versions.get(run.id, 0) + 1)
            }
            assert target.read_bytes() in whole, "a file is whole or not there"
    check_at_most_one(world)
