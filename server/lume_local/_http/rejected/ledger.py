"""The operations on the rejected rows of all runs: inbox, rows, replays, discarding."""

from itertools import islice
from typing import Any

import orjson
from attrs import asdict, evolve, frozen

from lume_local._flow.definition import Flow
from lume_local._http import queries, requests
from lume_local._http.documents import run_document
from lume_local._http.lookup import newest_version, reading, require_run, runnable_version
from lume_local._http.messages import Ask, Reply
from lume_local._http.rejected import ledger_requests
from lume_local._http.rejected.ledger_requests import Place
from lume_local._http.rejected.refusals import refusals
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.read_jobs import read_output
from lume_local._runs.rejected.replays import Replays, UnreadRows
from lume_local._runs.row_reader import RowReader
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.ledger import LOST, RowFilter, RowsOfRun
from lume_local._runs.times import ago_text
from lume_local._shared.protocol import Unreadable
from lume_local._shared.row_set import names_of, row_set, rows_in

_MOST, _MOST_RUNS = 1000, 50
"""The maximum rows of a page, and the maximum runs that they are read from."""
_RUNS_AT_ONCE = 100
"""The number of runs whose rows are discarded by one transaction."""
_DAY = 86400.0


@frozen
class _Page:
    """Rows of one run, and the place of the next page; None after its last wanted row."""

    items: bytes
    count: int
    following: Place | None


class RejectedApi:
    def __init__(
        self, store: SqlStore, flows: FlowRegistry, reader: RowReader, roots: Roots, replays: Replays
    ) -> None:
        self._store, self._flows, self._reader, self._roots = store, flows, reader, roots
        self._replays = replays

    async def inbox(self, ask: Ask) -> Reply:
        """Answer `GET /v1/inbox`."""
        query = dict(ask.query)
        since = queries.since_of(query) or ago_text(_DAY)
        ledger = self._store.ledger
        items, flows = [], list[dict[str, Any]]()
        found = await ledger.inbox(flow := query.get("flow"), since)
        if flow is not None and not found:
            await newest_version(self._flows, flow)
        for item in found:
            if item.reason is not None:
                items.append(asdict(item))
                continue
            account = await ledger.account(item.flow)
            of_flow = asdict(item, filter=lambda field, _: field.name != "reason")
            flows.append(
                {
                    **of_flow,
                    "account": asdict(account) | {"closes": account.closes},
                    "days": [asdict(day) for day in await ledger.days(item.flow, None, since)],
                    "replays": await ledger.replays(item.flow),
                }
            )
        return Reply(200, {"since": since, "flows": flows, "items": items})

    # -- rows

    async def rejects(self, ask: Ask) -> Reply:
        """Answer `GET /v1/rejects`."""
        wanted = ledger_requests.row_filter(ask.query)
        query = dict(ask.query)
        limit = queries.limit_of(query, 100, _MOST)
        owner = queries.owner_of(wanted.flow, wanted.reasons, wanted.since, wanted.run_id, wanted.state)
        place = ledger_requests.place(query.get("cursor"), owner)
        if wanted.run_id is not None:
            await require_run(self._store, wanted.run_id)
        found = await self._store.ledger.rows(wanted, place.seq - 1, _MOST_RUNS + 1)
        if wanted.flow is not None and not found:
            await newest_version(self._flows, wanted.flow)
        items, unread = list[bytes](), list[UnreadRows]()
        following: Place | None = None
        for number, one in enumerate(found):
            if number == _MOST_RUNS or limit == 0:
                following = Place(one.seq)
                break
            page = await self._page(one, place if place.seq == one.seq else Place(one.seq), limit)
            if isinstance(page, UnreadRows):
                unread.append(page)
                continue
            items += [page.items] if page.count else []
            limit, following = limit - page.count, page.following
            if following is not None:
                break
        joined = b"[" + b",".join(part[1:-1] for part in items) + b"]"
        document = {
            "items": orjson.Fragment(joined),
            "next_cursor": None if following is None else ledger_requests.cursor(owner, following),
            "unreadable": [asdict(each) for each in unread],
        }
        return Reply(200, orjson.dumps(document))

    async def _page(self, one: RowsOfRun, begin: Place, limit: int) -> _Page | UnreadRows:
        """Return rows of a run from a place on, at most one page of its rejects."""
        count = one.rows.bit_count()
        left = one.rows >> begin.row
        numbers = [begin.row + row for row in islice(rows_in(left), limit)]
        if not numbers:
            return _Page(b"[]", 0, None)
        run = await self._store.require(one.run_id)
        identity = await self._store.outputs.identity(run.run_id, "rejects")
        location = run.target_locations.get("rejects")
        if identity == "" or location is None:
            return UnreadRows(
                run.run_id, count, "output-gone", "the output was removed when its time was over"
            )
        reasons = await self._store.ledger.reasons(one.seq)
        job = read_output(run, self._flows.parsed(run.flow_version), "rejects", identity or "", limit=limit)
        job = evolve(
            job,
            path=self._roots.output(job.path),
            run_id=run.run_id,
            picked=[*names_of(numbers, reasons, one.count).items()],
            row=begin.row,
            position=begin.position,
            identity=begin.identity or job.identity,
        )
        with reading():
            answer = await self._reader.page(job)
        if isinstance(answer, Unreadable):
            if answer.kind == "output-gone":
                await self._store.ledger.lose(run.run_id)
            return UnreadRows(run.run_id, count, answer.kind, answer.problem)
        following = None
        if answer.position is not None and one.rows >> answer.row:
            following = Place(one.seq, answer.row, answer.position, answer.identity)
        shown = sum(number < answer.row for number in numbers)
        return _Page(answer.items.encode(), shown, following)

    # -- ends

    async def discard(self, ask: Ask) -> Reply:
        """Answer `POST /v1/rejects/discard`."""
        body = ledger_requests.discard(ask.body, ask.content_type)
        if body.wanted.run_id is not None:
            await require_run(self._store, body.wanted.run_id)
        only = None if body.rows is None else row_set((row - 1 for row in body.rows), max(body.rows))
        count = 0
        # Rows whose rejects were removed can be discarded, too, since nobody will see them again.
        for state in ("open", LOST):
            after = 0
            while found := await self._store.ledger.rows(
                evolve(body.wanted, state=state), after, _RUNS_AT_ONCE
            ):
                after = found[-1].seq
                rows = [one if only is None else evolve(one, rows=one.rows & only) for one in found]
                count += await self._store.ledger.discard(rows, ask.holder, body.why)
        if body.wanted.flow is not None and not count:
            await newest_version(self._flows, body.wanted.flow)
        return Reply(200, {"discarded": count})

    async def replay(self, ask: Ask) -> Reply:
        """Answer `POST /v1/replays`."""
        key = requests.idempotency_key(ask.idempotency_keys)
        body = ledger_requests.replay(ask.body, ask.content_type)
        to = await runnable_version(self._flows, str(body.wanted.flow), body.to)
        with refusals(to, "the rows could not be gathered"):
            if body.dry_run:
                return Reply(200, await self._tried(body.wanted, to, ask.holder))
            started = await self._replays.start(body.wanted, to, key, ask.holder)
        document = {
            "flow": to.name,
            "to": to.ref,
            "rows": started.rows,
            "runs": [run_document(run) for run in started.runs],
            "replaying": started.replaying,
            "unreadable": [asdict(each) for each in started.unread],
        }
        return Reply(201 if started.rows else 200, document)

    async def _tried(self, wanted: RowFilter, to: Flow, by: str) -> dict[str, Any]:
        tried = await self._replays.attempt(wanted, to, by)
        return {
            "dry_run": True,
            "flow": to.name,
            "to": to.ref,
            "rows": tried.rows,
            "passed": tried.passed,
            "reasons": [
                {"reason": reason, "rows": rows, "passed": passed}
                for reason, (rows, passed) in sorted(tried.reasons.items(), key=lambda item: -item[1][0])
            ],
            "rejected_for": tried.rejected_for,
            "messages": tried.messages,
            "unreadable": [asdict(each) for each in tried.unread],
        }
