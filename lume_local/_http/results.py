"""What runs have written and done: their rows page by page, their outputs, their deliveries, counts of many runs."""

import hashlib
import re
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import orjson
from attrs import evolve

from lume_local._flow.store_urls import is_store_url
from lume_local._http import requests
from lume_local._http.documents import count_document, delivery_document
from lume_local._http.lookup import require_output, require_run
from lume_local._http.messages import Ask, Output, Problem, Reply
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.records import StoredRun
from lume_local._runs.row_reader import RowReader
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.store import Store
from lume_local._runs.workers.worker import WorkerDied
from lume_local._shared.folders import MANIFEST
from lume_local._shared.protocol import Read, Unreadable

_MOST = 1000
_EMPTY = orjson.dumps({"items": [], "next_cursor": None})
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})-([0-9]{1,90})-([0-9]{1,20}-[0-9]{1,20})")


class ResultsApi:
    """The operations for what runs have written and done."""

    def __init__(self, store: Store, flows: FlowRegistry, reader: RowReader, roots: Roots) -> None:
        self._store, self._flows, self._reader, self._roots = store, flows, reader, roots

    async def mapped(self, ask: Ask) -> Reply:
        return await self._page(ask, "mapped")

    async def rejects(self, ask: Ask) -> Reply:
        return await self._page(ask, "rejects", "reason")

    async def statistics(self, ask: Ask) -> Reply:
        by, worst_first = requests.dimensions(ask.query)
        query = dict(ask.query)
        limit = requests.whole_number(query, "limit", 1000, 1, 10_000)
        since, flow = requests.time_of(query, "since"), query.get("flow")
        counts = await self._store.statistics.counts(by, since, flow, worst_first=worst_first, limit=limit)
        return Reply(200, {"items": [count_document(count) for count in counts]})

    async def deliveries(self, ask: Ask) -> Reply:
        run = await require_run(self._store, ask.path["run_id"])
        found = await self._store.deliveries.of_run(run.run_id)
        return Reply(200, {"items": [delivery_document(delivery) for delivery in found]})

    async def output(self, ask: Ask) -> Reply:
        run, part = await require_run(self._store, ask.path["run_id"]), ask.path["output"]
        if part not in ("mapped", "rejects"):
            raise Problem("not-found", f"a run has the outputs mapped and rejects, not {part[:40]!r}")
        noted = await require_output(self._store, run, part)
        location = run.target_locations[part]
        if location is None:
            raise Problem("no-output", f"run {run.run_id} has rejected no row", run_id=run.run_id)
        if "://" in location:
            raise Problem(
                "not-supported", f"the rows lie at {location}, and this server sends local files only"
            )
        try:
            path = self._roots.written(location)
        except PathRefused as error:
            raise Problem("not-found", str(error)) from None
        name = f"{run.run_id}-{part}{path.suffix if path.suffix.isascii() else ''}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Reply(200, None, headers, "application/octet-stream", Output(path, noted))

    async def _page(self, ask: Ask, part: str, *filters: str) -> Reply:
        query = dict(ask.query)
        limit = requests.whole_number(query, "limit", 100, 1, _MOST)
        reason = query.get("reason")
        run = await require_run(self._store, ask.path["run_id"])
        owner = _owner(run.run_id, part, reason)
        cursor = query.get("cursor")
        place = None if cursor is None else _place(cursor, owner)
        noted = await require_output(self._store, run, part)
        if run.target_locations[part] is None:
            return Reply(200, _EMPTY)
        flow = self._flows.parsed(run.flow_version)
        job = self._reader.job(run, flow, part, noted, limit=limit, reason=reason)
        if place is not None:
            row, position, identity = place
            if job.identity != identity:
                _refuse(
                    run,
                    part,
                    Unreadable("output-changed", "the file has been changed since the run wrote it"),
                )
            job = evolve(job, row=row, position=position, identity=identity)
        job = evolve(job, path=self._roots.output(job.path))
        return Reply(200, await self._document(run, part, job, owner))

    async def _document(self, run: StoredRun, part: str, job: Read, owner: str) -> bytes:
        if "://" in job.path and not is_store_url(job.path):
            raise Problem(
                "not-supported",
                f"the rows are in a table, {job.path}: query it there; files and objects can be read here",
            )
        if Path(job.path).name == MANIFEST:
            raise Problem(
                "not-supported",
                f"the rows are in the files that {job.path} names: read them with DuckDB, polars or Spark",
            )
        try:
            answer = await self._reader.page(job)
        except WorkerDied as error:
            raise Problem("unavailable", f"the rows could not be read: {error}") from None
        if isinstance(answer, Unreadable):
            _refuse(run, part, answer)
        items, following = orjson.Fragment(answer.items), None
        if answer.position is not None:
            following = f"{owner}-{answer.row}-{answer.position}-{answer.identity}"
        return orjson.dumps({"items": items, "next_cursor": following})


def _refuse(run: StoredRun, part: str, answer: Unreadable) -> NoReturn:
    location = run.target_locations[part]
    raise Problem(answer.kind, f"{location}: {answer.problem}", run_id=run.run_id, location=location)


def _owner(run_id: str, part: str, reason: str | None) -> str:
    """What a cursor belongs to: requests for another run or with another filter can't use it."""
    content = orjson.dumps([run_id, part, reason])
    return hashlib.sha256(content).hexdigest()[:16]


def _place(cursor: str, owner: str) -> tuple[int, str, str]:
    """Row, position and identity. Raises `Problem`."""
    match = _CURSOR.fullmatch(unquote(cursor))
    if match is None or match[1] != owner:
        raise Problem(
            "invalid-cursor",
            "cursor is not one of this request: start again without it",
            field="cursor",
        )
    return int(match[2]), match[3], match[4]
