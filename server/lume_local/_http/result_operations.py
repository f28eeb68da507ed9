"""The results of runs: rows page by page as JSON or Arrow, outputs as files, deliveries, statistics."""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import orjson
from attrs import evolve

from lume_local._flow.urls import is_store_url
from lume_local._http import queries, requests
from lume_local._http.documents import delivery_document
from lume_local._http.exchange import Ask, Output, Problem, Reply
from lume_local._http.lookup import newest_version, reading, require_flow, require_output, require_run
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.flow_table import FlowTable, NoTable, current_table
from lume_local._runs.output_reads import read_output
from lume_local._runs.row_reader import RowReader
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._shared.folders import MANIFEST
from lume_local._shared.protocol import Read, RowsPage, Unreadable

ARROW = "application/vnd.apache.arrow.stream"
_MOST, _MOST_ARROW = 1000, 1_000_000
"""The maximum rows of a page as JSON, and as Arrow."""
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The mark at the end of an Arrow stream, which is incomplete without it."""
_EMPTY = orjson.dumps({"items": [], "next_cursor": None})
_OF_TABLE = re.compile(
    r"([0-9a-f]{16})-([0-9a-f]{32})-([0-9]{1,9})-([0-9]{1,18})-([0-9]{1,90})-([0-9TZ:.-]{27})"
)
_TABLES = 4
"""The number of tables to remember for further pages; any server finds one again by the time in the cursor."""
CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})-([0-9]{1,90})-([0-9]{1,20}-[0-9]{1,20})")


class ResultsApi:
    def __init__(self, store: SqlStore, flows: FlowRegistry, reader: RowReader, roots: Roots) -> None:
        self._store, self._flows, self._reader, self._roots = store, flows, reader, roots
        self._tables: dict[tuple[str, str], FlowTable] = {}

    async def mapped(self, ask: Ask) -> Reply:
        return await self._rows(ask, "mapped")

    async def rejects(self, ask: Ask) -> Reply:
        return await self._rows(ask, "rejects")

    async def _rows(self, ask: Ask, part: str) -> Reply:
        """Return a page of rows of an output, as JSON or Arrow."""
        query = dict(ask.query)
        as_arrow, limit = _form(ask)
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
                _refuse(run.run_id, job.path, Unreadable("output-changed", words))
            job = evolve(job, row=int(row), position=position, identity=identity)
        job = evolve(job, path="" if is_empty else job.path)

        def cursor_of(page: RowsPage) -> str | None:
            return None if page.position is None else f"{owner}-{page.row}-{page.position}-{page.identity}"

        return await self._sent(ask, run.run_id, job, cursor_of)

    async def table(self, ask: Ask) -> Reply:
        """Return a page of the current table of a flow, with rows of one run; as Arrow without a limit, all rows."""
        query, flow = dict(ask.query), ask.path["flow"]
        version, source, at = query.get("version"), query.get("source_path"), queries.since_of(query, "as_of")
        owner = queries.owner_of("table", flow, version, source, at)
        tag, number, row, position = None, 0, 0, "0"
        if "cursor" in query:
            place = queries.own_cursor(query["cursor"], _OF_TABLE, owner)
            tag, number, row, position, at = place[2], int(place[3]), int(place[4]), place[5], place[6]
        await newest_version(self._flows, flow)
        if version is not None:
            await require_flow(self._flows.require(f"{flow}:{version}"))
        if at is not None and tag is None and await self._store.table.is_purged(flow):
            raise Problem("output-gone", f"the table of {at} is unknown: old runs of {flow} were purged")
        table = self._tables.get((owner, tag or ""))
        try:
            table = table or await current_table(self._store, self._flows, flow, version, source, at)
        except NoTable as refused:
            raise Problem(*refused.args) from None
        if tag not in (None, table.tag) or number >= max(1, len(table.parts)):
            raise Problem("output-changed", "rows of this table were removed meanwhile: read it again")
        if (owner, table.tag) not in self._tables:
            self._tables = dict([*self._tables.items(), ((owner, table.tag), table)][-_TABLES:])
        headers = {"ETag": f'"{table.tag}"'}
        if requests.matches(ask.if_none_match, headers["ETag"]):
            return Reply(304, None, headers)
        if not table.parts and not _form(ask)[0]:
            return Reply(200, {"items": [], "next_cursor": None, "rows": 0}, headers)
        run_id, job = table.read(number)
        first, others = evolve(job, row=row, position=position), range(number + 1, len(table.parts))

        def cursor_of(page: RowsPage) -> str | None:
            following = (number, page.row, page.position) if page.position else (number + 1, 0, "0")
            is_last = page.position is None and not others
            return None if is_last else "-".join(map(str, (owner, table.tag, *following, table.at)))

        return await self._sent(
            ask, run_id, first, cursor_of, map(table.read, others), headers, rows=table.rows
        )

    async def _sent(
        self,
        ask: Ask,
        run_id: str,
        job: Read,
        cursor_of: Callable[[RowsPage], str | None],
        others: Iterable[tuple[str, Read]] = (),
        headers: dict[str, str] | None = None,
        **more: int,
    ) -> Reply:
        """Return a page; as Arrow without a limit, all following pages, also of the runs in `others`."""
        (as_arrow, limit), headers = _form(ask), headers or {}
        page, content = await self._page(run_id, job, limit, as_arrow=as_arrow)
        following = cursor_of(page)
        if not as_arrow:
            document = {"items": orjson.Fragment(content), "next_cursor": following, **more}
            return Reply(200, orjson.dumps(document), headers)
        if "limit" not in dict(ask.query):
            stream = self._stream(run_id, job, iter(others), page, content)
            return Reply(200, None, headers, content_type=ARROW, stream=stream)
        headers |= {} if following is None else {"Lume-Next-Cursor": following}
        return Reply(200, content + _END, headers, ARROW)

    async def _stream(
        self, run_id: str, job: Read, others: Iterator[tuple[str, Read]], page: RowsPage, content: bytes
    ) -> AsyncGenerator[bytes, None]:
        """Yield the first page and all that follow."""
        while True:
            yield content
            if page.position is not None:
                job = evolve(job, row=page.row, position=page.position, identity=page.identity)
            elif following := next(others, None):
                run_id, job = following
            else:
                break
            job = evolve(job, with_schema=False)
            page, content = await self._page(run_id, job, _MOST_ARROW, as_arrow=True)
        yield _END

    async def _page(self, run_id: str, job: Read, limit: int, *, as_arrow: bool) -> tuple[RowsPage, bytes]:
        path = self._roots.output(job.path) if job.path else ""
        _check_place(evolve(job, path=path))
        with reading():
            found = await self._reader.page(evolve(job, path=path, limit=limit, arrow=as_arrow))
        if isinstance(found, Unreadable):
            _refuse(run_id, job.path, found)
        return found

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


def _refuse(run_id: str, location: str, answer: Unreadable) -> NoReturn:
    raise Problem(answer.kind, f"{location}: {answer.problem}", run_id=run_id, location=location)


def _form(ask: Ask) -> tuple[bool, int]:
    """Return whether the rows are sent as Arrow, and how many a page may have. Raises `Problem`."""
    as_arrow = requests.accepts(ask.headers, ARROW, "application/json")
    most, default = (_MOST_ARROW, _MOST_ARROW) if as_arrow else (_MOST, 100)
    return as_arrow, queries.limit_of(dict(ask.query), default, most)
