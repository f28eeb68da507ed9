"""A worker process without DuckDB: it reports stages, writes small files, and commits them by the product's own code.

A source is a CSV file of `id,kind`. Rows of the kind `ok` are accepted; those of another one are rejected with a
reason, `late` ones by version v1 only. A file of corrected rejects has a third column: the numbers of the rejects.
"""

import asyncio
import hashlib
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, define

from lume_local._shared.commit import begin, commit, sync_file
from lume_local._shared.identity import SourceContent, identity
from lume_local._shared.lock import held
from lume_local._shared.protocol import (
    ArchiveRuns,
    AsksToCommit,
    Cancel,
    Cancelled,
    Check,
    Checked,
    Done,
    Execute,
    Failed,
    Finish,
    Gather,
    Gathered,
    Lend,
    Look,
    Looked,
    Notified,
    Notify,
    Permit,
    Progressed,
    Ready,
    StageBegun,
    decode_job,
    encode,
)
from lume_local._shared.row_set import as_text, of_text, row_set, rows_in
from lume_local._worker.targets import target_kinds as targets

from .seams import Killed, SimProcess, current

if TYPE_CHECKING:
    from .world import World

WEIGHTS = {"SYNCING_SOURCE": 0.0, "TRANSFORMING": 0.2, "SYNCING_TARGET": 0.82}


@define
class Row:
    """A row of a source, and the reject that it corrects."""

    text: str
    kind: str
    reject: int | None

    def reason(self, version: str) -> str:
        """Return why this version rejects it; empty if it doesn't."""
        is_accepted = self.kind == "ok" or (self.kind == "late" and version != "v1")
        return "" if is_accepted else f"kind: is {self.kind}"


def rows_of(path: Path) -> list[Row]:
    lines = path.read_text().splitlines()[1:]
    found = []
    for line in lines:
        _, kind, *more = line.split(",")
        found.append(Row(",".join(line.split(",")[:2]), kind, int(more[0]) if more else None))
    return found


def content_of(files: list[Path]) -> SourceContent:
    """Return what the product's worker says of a source of files."""
    data = [path.read_bytes() for path in files]
    seen = hashlib.sha256(" ".join(map(identity, files)).encode()).hexdigest()
    return SourceContent(sum(map(len, data)), seen, hashlib.sha256(b"".join(data)).hexdigest())


class WorkerProcess(SimProcess):
    """See `ChildProcess`. It ends with its server, unless it is frozen then: it has its locks until it is killed."""

    def __init__(self, world: "World", server: SimProcess, pid: int) -> None:
        super().__init__(world, "worker", pid)
        self.sim, self.server = world, server
        self.stdin: Any = _Stdin(self)
        self.stdout: Any = asyncio.StreamReader(limit=2**26)
        self.stderr: Any = asyncio.StreamReader()
        self.returncode: int | None = None
        self.jobs: asyncio.Queue[Any] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.permits: asyncio.Queue[bool] = asyncio.Queue()
        self.is_cancelled = False
        self.folder: Path | None = None
        """That of its run, from which the run is known."""
        self.task: asyncio.Task[None] | None = None

    # -- as the server has it

    def kill(self) -> None:
        process = current.get()
        if process is not None:
            process.check()
        self.end(-signal.SIGKILL)

    async def wait(self) -> int:
        await self.ended.wait()
        assert self.returncode is not None
        return self.returncode

    def received(self, line: bytes) -> None:
        match job := decode_job(line):
            case Cancel():
                self.is_cancelled = True
                self.permits.put_nowait(False)
            case Permit(is_granted):
                self.permits.put_nowait(is_granted)
            case Lend():
                pass
            case _:
                self.jobs.put_nowait(job)

    def let_go(self) -> None:
        """End as a worker does when its stdin ends."""
        self.is_frozen = not self.is_dead and self.sim.dice.random() < self.sim.faults.get("clings", 0)
        if not self.is_frozen:
            self.end(1)

    def end(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
            self.die()
            self.stdout.feed_eof()
            self.stderr.feed_eof()
            self.ended.set()
            if self.task is not None:
                self.task.cancel()

    # -- its own

    async def main(self) -> None:
        """Do jobs until it ends."""
        try:
            while True:
                self._send(Ready(1))
                job = await self.jobs.get()
                while not isinstance(job, Execute):
                    await self._work()
                    babbles = self.sim.dice.random() < self.sim.faults.get("babbles", 0)
                    self._send(Progressed(0.5) if babbles else self._answer(job))
                    job = await self.jobs.get()
                outcome = await self._run(job)
                self.folder = None
                self._send(outcome)
                if not isinstance(outcome, Done):
                    return self.end(0)
        except Killed:
            self.end(-signal.SIGKILL)

    def _send(self, event: Any) -> None:
        self.check()
        if not self.server.is_dead:
            self.stdout.feed_data(encode(event))

    async def _work(self) -> None:
        """Take as long as the seed says; perhaps die, or say nothing any more."""
        fault = self.sim.fault_of_worker()
        if fault == "dies":
            raise Killed
        if fault == "hangs":
            await asyncio.Event().wait()
        seconds = self.sim.pause()
        if seconds > 20 and self.folder is not None:  # a slow run still reports
            await asyncio.sleep(10)
            self._send(Progressed(0.5))
        await asyncio.sleep(seconds)

    def _answer(self, job: Any) -> Any:
        match job:
            case Check():
                names = {"flow": job.definition["flow"], "version": job.definition["version"]}
                return Checked({**names, "cleaners": [], "sources": [], "csv": {"delim": ","}})
            case Look():
                files = [Path(one["path"]) for one in job.source["files"]]
                return (
                    Looked(content_of(files)) if all(one.exists() for one in files) else Looked(None, "gone")
                )
            case Notify():
                failure = self.sim.received(f"message {job.address}", f"{job.title} {job.text}")
                return Notified(failure)
            case Gather():
                return Gathered([[self._gathered(part, job.target)] for part in job.parts])
            case ArchiveRuns():
                Path(job.target).write_bytes(Path(job.rows).read_bytes())
                sync_file(Path(job.target))
                return Done({})
            case Finish():
                return Done(targets.finish(Path(job.folder)) or {})
        raise NotImplementedError(type(job).__name__)

    def _gathered(self, part: dict[str, Any], target: str) -> dict[str, Any]:
        """Copy the wanted rejects of a run into the file of a replay."""
        path, into = Path(part["read"]["path"]), Path(f"{target}-0.csv")
        if not path.exists() or part["read"]["identity"] not in ("", identity(path)):
            return {"kind": "output-gone", "problem": "the rejects are gone"}
        rows = rows_of(path)
        with into.open("a") as file:
            if not file.tell():
                file.write("id,kind\n")
            file.writelines(f"{rows[n].text}\n" for n in rows_in(of_text(part["rows"])))
        return {"path": str(into), "rows": part["rows"]}

    async def _run(self, job: Execute) -> Done | Failed | Cancelled:
        self.folder = folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / "lock"):
            try:
                return Done(await self._execute(job, folder))
            except _Failed as error:
                return error.outcome
            except _Cancelled:
                return Cancelled()
            except OSError as error:
                return Failed(f"the run's folder can't be used: {error}", None)

    async def _stage(self, name: str, rows: int | None = None) -> None:
        self._pause()
        self._send(StageBegun(name, rows, WEIGHTS[name]))
        await self._work()
        self._pause()

    def _pause(self) -> None:
        if self.is_cancelled:
            raise _Cancelled

    async def _execute(self, job: Execute, folder: Path) -> dict[str, Any]:
        """Do what `Run.execute` does."""
        await self._stage("SYNCING_SOURCE")
        if self.sim.dice.random() < self.sim.faults.get("away", 0):
            raise _Failed(Failed("the place can't be reached", None, True))
        files = [Path(one.get("at", one["path"])) for one in job.source["files"]]
        if not all(path.exists() for path in files):
            raise _Failed(Failed("the source does not exist", None))
        rows, read = [row for path in files for row in rows_of(path)], content_of(files)
        await self._stage("TRANSFORMING")
        version = job.flow["version"]
        bad = [n for n, row in enumerate(rows) if row.reason(version)]
        metrics = _metrics(rows, version)
        if len(bad) == len(rows) and bad and not job.is_replay:
            raise _Failed(Failed("all rows were rejected", metrics))
        await self._stage("SYNCING_TARGET", len(rows))
        record = {
            "status": "PARTIAL_FAILED" if bad else "SUCCEEDED",
            "metrics": metrics,
            "target_locations": {"mapped": None, "rejects": None},
            "read": asdict(read),
            "ledger": _for_ledger(job, rows, version),
            "steps": [],
        }
        try:
            self._prepare(job, folder, rows, record, set(bad))
            if job.asks:
                self._send(AsksToCommit())
                if not await self.permits.get():
                    self._pause()
                    raise _Failed(Failed("another server has the state now, or the run has ended", None))
                await self._work()
            commit(folder, record)
        except _Failed:
            targets.abandon(folder)
            raise
        await self._work()
        for number in range(len(record["steps"])):
            targets.publish({**record, "steps": record["steps"][: number + 1]}, folder)
            await self._work()
        return record

    def _prepare(
        self, job: Execute, folder: Path, rows: list[Row], record: dict[str, Any], bad: set[int]
    ) -> None:
        """Build the files and the steps, the rejects first."""
        for part, place in (("rejects", job.rejects), ("mapped", job.mapped)):
            chosen = [row for n, row in enumerate(rows) if (n in bad) == (part == "rejects")]
            if part == "rejects" and not chosen:
                record["steps"] += targets.vacate(part, place, job.run_id)
                continue
            built, target = folder / f"{part}.csv", targets.target_of(part, place, job.run_id)
            with built.open("w") as file:
                file.write("id,kind\n" + "".join(f"{row.text}\n" for row in chosen))
            sync_file(built)
            record["steps"].append(target.prepare(built, partial(begin, folder)))
            record["target_locations"][part] = target.location


def _metrics(rows: list[Row], version: str) -> dict[str, Any]:
    reasons: dict[str, int] = {}
    for row in rows:
        if reason := row.reason(version):
            reasons[reason] = reasons.get(reason, 0) + 1
    rejected = sum(reasons.values())
    return {
        "rows_read": len(rows),
        "rows_mapped": len(rows) - rejected,
        "rows_rejected": rejected,
        "reject_reasons": reasons,
        "warnings": {},
        "columns": {},
        "source": {"files": [], "bytes": 0},
    }


def _for_ledger(job: Execute, rows: list[Row], version: str) -> dict[str, Any]:
    """Return what the product's `for_ledger` does."""
    sets: dict[str, list[int]] = {}
    bad = [n for n, row in enumerate(rows) if row.reason(version)]
    for number, row in enumerate(rows) if job.is_replay else enumerate(rows[n] for n in bad):
        if reason := row.reason(version):
            sets.setdefault(reason, []).append(number)
    texts = {reason: as_text(row_set(numbers, len(rows))) for reason, numbers in sets.items()}
    if job.is_replay:
        return {"reasons": texts, "rejected": as_text(row_set(bad, len(rows))), "malformed": as_text(0)}
    found: dict[str, Any] = {}
    if bad:
        found["reasons"] = texts if len(texts) > 1 else dict.fromkeys(texts)
    if job.mended is not None:
        numbers = {row.reject for row in rows if row.reject is not None}
        found["mended"] = as_text(row_set(numbers, max(numbers, default=0) + 1))
    return found


class _Failed(Exception):
    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class _Cancelled(Exception):
    pass


class _Stdin:
    """What the server writes to; it can't once it is dead."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker, self._is_closing = worker, False

    def write(self, line: bytes) -> None:
        if (process := current.get()) is not None:
            process.check()
        if self._worker.returncode is not None:
            raise ConnectionResetError
        self._worker.received(line)

    async def drain(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        self._worker.let_go()

    async def wait_closed(self) -> None:
        pass
