"""Tries flow files on a sample: a worker process checks and runs them. There is no server, and nothing is kept."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import asdict, evolve, field, frozen

from lume_async.errors import ConfigurationError
from lume_async.models import RunStatus
from lume_local._flow.definition import Flow
from lume_local._flow.fields import FlowError, toml_of
from lume_local._flow.mistakes import with_line
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import MEMORY_LIMIT, THREADS, Done, Execute, Failed, Json
from lume_local._trials.check import checked, text_of

_exact = partial(json.loads, parse_float=Decimal)
_DECIMAL = re.compile(r"DECIMAL\(\d+,(\d+)\)")


@frozen
class TriedFlow:
    """The result of a flow on a sample.

    Attributes:
        ref: `flow:version`.
        status: how a run would end without `max_ratio`.
        message: why it would fail; None if it would not.
        metrics: the run's metrics, as `metadata.metrics` in the JSON form of a run; empty if it has none.
        mapped: the first clean rows; a number with a fraction is a decimal, with all its digits for a DECIMAL.
        rejects: the first rejected rows, with `_lume_row` and `_lume_reasons`.
        max_ratio: the flow's.
    """

    ref: str
    status: RunStatus
    message: str | None
    metrics: dict[str, Any] = field(factory=dict, repr=False)
    mapped: list[dict[str, Any]] = field(factory=list, repr=False)
    rejects: list[dict[str, Any]] = field(factory=list, repr=False)
    max_ratio: float | None = None


class Trial:
    """A sample on which flows are tried. Create it with `open_trial`."""

    def __init__(self, pool: WorkerPool, sample: Path, roots: Roots) -> None:
        self._pool, self._sample, self._roots = pool, sample, roots
        self._tries = 0

    async def try_flow(self, path: str | PathLike[str], *, limit: int = 20) -> TriedFlow:
        """Run the flow of a file on the sample, which is the whole source.

        Args:
            path: the flow file.
            limit: the maximum number of rows of each kind to return.

        Raises:
            FlowError: the flow has a mistake; says where and what to do. Its `others` are the further ones.
            OSError: the flow file can't be read.
            ConfigurationError: no worker process can be started.
        """
        text = text_of(Path(path))
        try:
            flow, compiled = await checked(self._pool, toml_of(text), text)
            tried = TriedFlow(flow.ref, RunStatus.CREATED, None, max_ratio=flow.max_ratio)
            try:
                job = self._job(flow, compiled)
            except PathRefused as error:
                return evolve(tried, status=RunStatus.FAILED, message=str(error))
            tried = await self._tried(job, tried, limit)
            return evolve(tried, mapped=[_to_scale(row, flow) for row in tried.mapped])
        except WorkerDied as error:
            raise ConfigurationError(f"no worker process can try {path}: {error}") from None
        except FlowError as error:
            raise with_line(error, text) from None

    def _job(self, flow: Flow, compiled: Json) -> Execute:
        """Return the job. Its rows go to files, whatever the flow's targets are. Raises `PathRefused`."""
        self._tries += 1
        folder, source_path = self._roots.data / f"try-{self._tries}", str(self._sample)
        if query := flow.source.query:
            source: Json = {"kind": "query", **asdict(query), "source_path": source_path}
        else:
            file = {"path": str(self._roots.source(source_path)), "shown": source_path}
            source = {"kind": "files", "files": [file], "looked_up": ""}
        seeds = {
            seed.name: {
                "path": str(self._roots.source(seed.path)),
                "looked_up": self._roots.looked_up(seed.path),
            }
            for seed in flow.seeds
        }
        # A try shows rejected rows, however many there are, and asks no table about the others.
        free = compiled | {"max_ratio": None, "judged_by_table": False}
        folder.mkdir()
        return Execute(
            run_id=folder.name,
            flow=free,
            source=source,
            folder=str(folder),
            mapped={"kind": "file", "path": str(folder / "mapped.ndjson")},
            rejects={"kind": "file", "path": str(folder / "rejects.ndjson")},
            memory_limit=MEMORY_LIMIT,
            threads=THREADS,
            seeds=seeds,
            dry_run=True,
        )

    async def _tried(self, job: Execute, tried: TriedFlow, limit: int) -> TriedFlow:
        async with self._pool.worker() as worker, aclosing(worker.run(job)) as events:
            async for event in events:
                match event:
                    case Done(record):
                        built = record["built"]
                        return evolve(
                            tried,
                            status=RunStatus(record["status"]),
                            message=record["message"],
                            metrics=record["metrics"],
                            mapped=_rows(built.get("mapped"), limit),
                            rejects=_rows(built.get("rejects"), limit),
                        )
                    case Failed(message, metrics):
                        return evolve(tried, status=RunStatus.FAILED, message=message, metrics=metrics or {})
            return evolve(tried, status=RunStatus.CRASHED, message=await worker.death())


def _rows(path: str | None, limit: int) -> list[dict[str, Any]]:
    if path is None:
        return []
    with Path(path).open(encoding="utf-8") as file:
        return list(islice(map(_exact, file), limit))


def _to_scale(row: dict[str, Any], flow: Flow) -> dict[str, Any]:
    """Add the zeros that DuckDB drops: it writes 2944.90 of a DECIMAL(12,2) as 2944.9, and 2500.00 as 2500."""
    scales = {one.name: int(found[1]) for one in flow.columns if (found := _DECIMAL.fullmatch(one.sql_type))}
    return {
        name: round(Decimal(value), scales[name]) if name in scales and value is not None else value
        for name, value in row.items()
    }


@asynccontextmanager
async def open_trial(sample: str | PathLike[str]) -> AsyncIterator[Trial]:
    """Prepare to try flows on a sample, in a process of its own.

    Relative seeds are looked up in the current folder. A try reads files only there and beside the sample.

    Args:
        sample: the file that is the source.
    """
    path = Path(sample).absolute()  # noqa: ASYNC240 - no file is read
    with TemporaryDirectory(prefix="lume-try-") as data:
        async with WorkerPool().running() as pool:
            pool.warm()
            yield Trial(pool, path, Roots.of((Path.cwd(), path.parent), Path(data)))
