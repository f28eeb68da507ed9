"""The results of runs: rows page by page as JSON or Arrow, outputs as files, deliveries, statistics."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NoReturn

import orjson
from attrs import evolve

from lume_local._flow.urls import is_store_url
from lume_local._http import queries, requests
from lume_local._http.documents import delivery_document
from lume_local._http.exchange import Ask, Output, Problem, Reply
from lume_local._http.lookup import reading, require_output, require_run
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.row_reader import RowReader, read_output
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun
from lume_local._shared.folders import MANIFEST
from lume_local._shared.protocol import ArrowFile, Read, Unreadable

ARROW = "application/vnd.apache.arrow.stream"
_MOST, _MOST_ARROW = 1000, 1_000_000
"""The maximum rows of a page as JSON, and as Arrow."""
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The mark at the end of an Arrow stream, which is incomplete without it."""
_EMPTY = orjson.dumps({"items": [], "next_cursor": None})
CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})-([0-9]{1,90})-([0-9]{1,20}-[0-9]{1,20})")


class ResultsApi:
    def __init__(self, store: SqlStore, flows: FlowRegistry, reader: RowReader, roots: Roots) -> None:
        self._store, self._flows, self._reader, self._roots = store, flows, reader, roots

    async def mapped(self, ask: Ask) -> Reply:
        return await self._rows(ask, "mapped")

    async def rejects(self, ask: Ask) -> Reply:
        return await self._rows(ask, "rejects")

    async def _rows(self, ask: Ask, part: str) -> Reply:
        """Return a page of rows of an output, as JSON or Arrow."""
        query = dict(ask.query)
        as_arrow = requests.accepts(ask.headers, ARROW, "application/json")
        most, default = (_MOST_ARROW, _MOST_ARROW) if as_arrow else (_MOST, 100)
        limit = queries.limit_of(query, default, most)
        run = await require_run(self._store, ask.path["run_id"])
        reason, cursor = query.get("reason"), query.get("cursor")
        owner = queries.owner_of(run.run_id, part, reason)
        place = None if cursor is None else queries.own_cursor(cursor, CURSOR, owner)
        noted = await require_output(self._store, run, part)
        is_empty = run.target_locations[part] is None
        if is_empty and not as_arrow:
            return Reply(200, _EMPTY)
        flow = self._flows.parsed(run.flow_version)
        job = read_output(run, flow, part, noted, limit=limit, reason=reason)
        if place is not None:
            _, row, position, identity = place.groups()
            if job.identity != identity:
                words = "the file has been changed since the run wrote it"
                _refuse(run, part, Unreadable("output-changed", words))
            job = evolve(job, row=int(row), position=position, identity=identity)
        job = evolve(job, path="" if is_empty else self._roots.output(job.path))
        _check_place(job)
        if as_arrow:
            first, content = await self._arrow_page(run, part, job)
            if "limit" not in query:
                return Reply(
                    200, None, content_type=ARROW, stream=self._stream(run, part, job, first, content)
                )
            following = _cursor(owner, first.row, first.position, first.identity)
            headers = {} if following is None else {"Lume-Next-Cursor": following}
            return Reply(200, content + _END, headers, ARROW)
        with reading():
            page = await self._reader.page(job)
        if isinstance(page, Unreadable):
            _refuse(run, part, page)
        following = _cursor(owner, page.row, page.position, page.identity)
        return Reply(200, orjson.dumps({"items": orjson.Fragment(page.items), "next_cursor": following}))

    async def _stream(
        self, run: StoredRun, part: str, job: Read, page: ArrowFile, content: bytes
    ) -> AsyncGenerator[bytes, None]:
        """Yield the first page and all that follow."""
        while True:
            yield content
            if page.position is None:
                break
            job = evolve(job, row=page.row, position=page.position, identity=page.identity, with_schema=False)
            page, content = await self._arrow_page(run, part, job)
        yield _END

    async def _arrow_page(self, run: StoredRun, part: str, job: Read) -> tuple[ArrowFile, bytes]:
        with reading():
            page = await self._reader.arrow(job)
        if isinstance(page, Unreadable):
            _refuse(run, part, page)
        return page

    async def statistics(self, ask: Ask) -> Reply:
        by, worst_first = queries.dimensions(ask.query)
        query = dict(ask.query)
        limit = queries.limit_of(query, 1000, 10_000)
        since, flow = queries.since_of(query), query.get("flow")
        counts = await self._store.statistics.counts(by, since, flow, worst_first=worst_first, limit=limit)
        items = [
            one.pop("of") | {name: value for name, value in one.items() if value is not None}
            for one in (count._asdict() for count in counts)
        ]
        return Reply(200, {"items": items})

    async def deliveries(self, ask: Ask) -> Reply:
        run = await require_run(self._store, ask.path["run_id"])
        found = await self._store.deliveries.of_run(run.run_id)
        return Reply(200, {"items": [delivery_document(delivery) for delivery in found]})

    async def output(self, ask: Ask) -> Reply:
        run, part = await require_run(self._store, ask.path["run_id"]), ask.path["output"]
        if part not in ("mapped", "rejects"):
            raise Problem("not-found", f"a run has the outputs mapped and rejects, not {part!r}")
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


def _check_place(job: Read) -> None:
    """Raise `Problem` if rows can't be read from their place."""
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


def _refuse(run: StoredRun, part: str, answer: Unreadable) -> NoReturn:
    location = run.target_locations[part]
    raise Problem(answer.kind, f"{location}: {answer.problem}", run_id=run.run_id, location=location)


def _cursor(owner: str, row: int, position: str | None, identity: str) -> str | None:
    return None if position is None else f"{owner}-{row}-{position}-{identity}"
