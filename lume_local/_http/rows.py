"""`GET /v1/runs/{id}/mapped` and `…/rejects`: the rows of a run's outputs, page by page."""

import hashlib
import re
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import orjson
from attrs import evolve

from lume_local._flow.store_urls import is_store_url
from lume_local._http import requests
from lume_local._http.lookup import require_output, require_run
from lume_local._http.messages import Ask, Reply
from lume_local._http.problems import Problem
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.records import StoredRun
from lume_local._runs.row_reader import RowReader
from lume_local._runs.sources.paths import Roots
from lume_local._runs.store import Store
from lume_local._runs.workers.worker import WorkerDied
from lume_local._shared.manifest import MANIFEST
from lume_local._shared.protocol import Page, Read, Unreadable

_MOST = 1000
_EMPTY = orjson.dumps({"items": [], "next_cursor": None})
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})-([0-9]{1,90})-([0-9]{1,20}-[0-9]{1,20})")


class RowsApi:
    """The operations for rows."""

    def __init__(self, store: Store, flows: FlowRegistry, reader: RowReader, roots: Roots) -> None:
        self._store, self._flows, self._reader, self._roots = store, flows, reader, roots

    async def mapped(self, ask: Ask) -> Reply:
        """`GET /v1/runs/{id}/mapped`."""
        return await self._page(ask, "mapped")

    async def rejects(self, ask: Ask) -> Reply:
        """`GET /v1/runs/{id}/rejects`."""
        return await self._page(ask, "rejects", "reason")

    async def _page(self, ask: Ask, part: str, *filters: str) -> Reply:
        requests.only_known(ask.query, ("limit", "cursor", *filters))
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
                "not-supported", f"the rows lie at {job.path}, and this server reads files and objects only"
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
        items = orjson.Fragment(answer.items)
        return orjson.dumps({"items": items, "next_cursor": _cursor(answer, owner)})


def _refuse(run: StoredRun, part: str, answer: Unreadable) -> NoReturn:
    location = run.target_locations[part]
    raise Problem(answer.kind, f"{location}: {answer.problem}", run_id=run.run_id, location=location)


def _owner(run_id: str, part: str, reason: str | None) -> str:
    """What a cursor belongs to: requests for another run or with another filter can't use it."""
    content = orjson.dumps([run_id, part, reason])
    return hashlib.sha256(content).hexdigest()[:16]


def _cursor(page: Page, owner: str) -> str | None:
    """Where the next page begins, and in which file."""
    return None if page.position is None else f"{owner}-{page.row}-{page.position}-{page.identity}"


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
