"""The operations on the rejected rows of all runs: inbox, rows, replays, discarding."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import orjson
from attrs import asdict, evolve, frozen

from lume_local._http import queries, requests
from lume_local._http.documents import run_document
from lume_local._http.exchange import Ask, Reply
from lume_local._http.lookup import newest_version, reading, refusals, require_run, runnable_version
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.rejected.replays import Replays, UnreadRows
from lume_local._runs.row_reader import RowReader, output_job
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.ledger import LOST, OPEN, STATES, Assignment, RowFilter, RowsOfRun
from lume_local._runs.times import ago_text
from lume_local._shared.protocol import Unreadable
from lume_local._shared.row_set import names_of, row_set, rows_in

_MOST_REASONS, _LONGEST_REASON, _MOST_ROWS = 100, 600, 10_000
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})-([0-9]{1,18})-([0-9]{1,90})-([0-9]{1,20}-[0-9]{1,20})?")
_MOST, _MOST_RUNS = 1000, 50
"""The maximum rows of a page, and the maximum runs that they are read from."""
_RUNS_AT_ONCE = 100
"""The number of runs whose rows are discarded by one transaction."""
_DAY = 86400.0
_CHOICE = ("flow", "reason", "since", "run", "rows")
"""The fields that choose rows."""


class _Place(NamedTuple):
    """The beginning of a page of rows: a row of a run, and its position in the run's rejects."""

    seq: int = 0
    row: int = 0
    position: str = "0"
    identity: str = ""

    def cursor(self, owner: str) -> str:
        return f"{owner}-{self.seq}-{self.row}-{self.position}-{self.identity}"


@frozen
class _Page:
    """Rows of one run, and the place of the next page; None after its last wanted row."""

    items: bytes
    count: int
    following: _Place | None


class RejectsApi:
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
                items.append(item._asdict())
                continue
            account = await ledger.account(item.flow)
            of_flow = item._asdict()
            del of_flow["reason"]
            flows.append(
                {
                    **of_flow,
                    "account": account._asdict() | {"closes": account.closes},
                    "days": [day._asdict() for day in await ledger.days(item.flow, None, since)],
                    "replays": await ledger.replays(item.flow),
                    "submissions": [one._asdict() for one in await self._store.drafts.submissions(item.flow)],
                    "assigned": [
                        {"assignee": assignee, "reason": reason, "open": rows}
                        for (assignee, reason), rows in (await ledger.assignees(item.flow)).items()
                        if assignee
                    ],
                }
            )
        return Reply(200, {"since": since, "flows": flows, "items": items})

    # -- rows

    async def rejects(self, ask: Ask) -> Reply:
        """Answer `GET /v1/rejects`."""
        wanted = _row_filter(ask.query)
        query = dict(ask.query)
        limit = queries.limit_of(query, 100, _MOST)
        named = () if wanted.assignee is None else (wanted.assignee,)
        owner = queries.owner_of(
            wanted.flow, wanted.reasons, wanted.since, wanted.run_id, wanted.state, *named
        )
        place = _Place()
        if "cursor" in query:
            match = queries.own_cursor(query["cursor"], _CURSOR, owner)
            place = _Place(int(match[2]), int(match[3]), match[4], match[5] or "")
        if wanted.run_id is not None:
            await require_run(self._store, wanted.run_id)
        found = await self._store.ledger.rows(wanted, place.seq - 1, _MOST_RUNS + 1)
        if wanted.flow is not None and not found:
            await newest_version(self._flows, wanted.flow)
        items, unread = list[bytes](), list[UnreadRows]()
        following: _Place | None = None
        for number, one in enumerate(found):
            if number == _MOST_RUNS or limit == 0:
                following = _Place(one.seq)
                break
            page = await self._page(one, place if place.seq == one.seq else _Place(one.seq), limit)
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
            "next_cursor": None if following is None else following.cursor(owner),
            "unreadable": [asdict(each) for each in unread],
        }
        return Reply(200, orjson.dumps(document))

    async def _page(self, one: RowsOfRun, begin: _Place, limit: int) -> _Page | UnreadRows:
        """Return rows of a run from a place on, at most one page of its rejects."""
        left = one.rows >> begin.row
        numbers = [begin.row + row for row in islice(rows_in(left), limit)]
        if not numbers:
            return _Page(b"[]", 0, None)
        run = await self._store.require(one.run_id)
        flow = self._flows.parsed(run.flow_version)
        job = await output_job(self._store, self._roots, run, flow, "rejects", limit=limit)
        if job is None:
            return UnreadRows.removed(one)
        reasons = await self._store.ledger.reasons(one.seq)
        assigned = await self._store.ledger.assignments(one.seq)

        def notes(row: int) -> dict[str, str]:
            to = next((to for to, rows in assigned.items() if rows >> row & 1), Assignment("", ""))
            noted = {f"_lume_{name}": text for name, text in to._asdict().items() if text}
            return {"_lume_source": run.source_path, **noted}

        job = evolve(
            job,
            run_id=run.run_id,
            picked=[(row, why, notes(row)) for row, why in names_of(numbers, reasons, one.count).items()],
            row=begin.row,
            position=begin.position,
            identity=begin.identity or job.identity,
        )
        with reading():
            answer = await self._reader.page(job)
        if isinstance(answer, Unreadable):
            if answer.kind == "output-gone":
                await self._store.ledger.set_lost(run.run_id, is_lost=True)
            return UnreadRows(run.run_id, one.rows.bit_count(), answer.kind, answer.problem)
        page, items = answer
        following = None
        if page.position is not None and one.rows >> page.row:
            following = _Place(one.seq, page.row, page.position, page.identity)
        return _Page(items, sum(number < page.row for number in numbers), following)

    # -- ends

    async def assign(self, ask: Ask) -> Reply:
        """Answer `POST /v1/rejects/assign`."""
        fields = requests.known_fields(ask.body, ask.content_type, (*_CHOICE, "assignee", "comment"))
        to = Assignment(*(requests.optional_line(fields, name) or "" for name in ("assignee", "comment")))
        act = partial(self._store.ledger.assign, to=to, by=ask.holder)
        return Reply(200, {"assigned": await self._act(fields, (OPEN,), act)})

    async def discard(self, ask: Ask) -> Reply:
        """Answer `POST /v1/rejects/discard`."""
        fields = requests.known_fields(ask.body, ask.content_type, (*_CHOICE, "why"))
        act = partial(self._store.ledger.discard, by=ask.holder, why=requests.line(fields, "why"))
        # Rows whose rejects were removed can be discarded, too, since nobody will see them again.
        return Reply(200, {"discarded": await self._act(fields, (OPEN, LOST), act)})

    async def _act(
        self,
        fields: dict[str, Any],
        states: Iterable[str],
        act: Callable[[Sequence[RowsOfRun]], Awaitable[int]],
    ) -> int:
        """Act on the rows in these states that a request chooses; return how many. Raises `Problem`."""
        run_id, numbers = fields.get("run"), fields.get("rows")
        if run_id is not None and not (isinstance(run_id, str) and requests.is_run_id(run_id)):
            raise requests.field_problem("run", "is not a run ID")
        if numbers is not None and run_id is None:
            raise requests.field_problem("rows", "are numbers of rejects of one run: name it in run")
        flow = requests.line(fields, "flow") if run_id is None else None
        wanted = RowFilter(flow, _reasons(fields), _since(fields), run_id)
        if numbers is not None:
            is_list = isinstance(numbers, list) and 0 < len(numbers) <= _MOST_ROWS
            if not is_list or not all(type(row) is int and 0 < row < 2**40 for row in numbers):
                words = f"must be 1 to {_MOST_ROWS:,} numbers of rejects, from 1 on"
                raise requests.field_problem("rows", words)
        if run_id is not None:
            await require_run(self._store, run_id)
        count = 0
        for state in states:
            after = 0
            while found := await self._store.ledger.rows(evolve(wanted, state=state), after, _RUNS_AT_ONCE):
                after = found[-1].seq
                if numbers is not None:  # of one run; numbers beyond its rows don't make the set larger
                    (one,) = found
                    named = row_set((number - 1 for number in numbers if number <= one.count), one.count)
                    found = [evolve(one, rows=one.rows & named)]
                count += await act(found)
        if flow is not None and not count:
            await newest_version(self._flows, flow)
        return count

    async def replay(self, ask: Ask) -> Reply:
        """Answer `POST /v1/replays`."""
        key = requests.idempotency_key(ask.every("Idempotency-Key"))
        fields = requests.known_fields(
            ask.body, ask.content_type, ("flow", "to", "reason", "since", "dry_run")
        )
        flow = requests.line(fields, "flow")
        wanted = RowFilter(flow, _reasons(fields), _since(fields))
        version, is_dry = requests.optional_line(fields, "to"), requests.flag(fields, "dry_run")
        to = await runnable_version(self._flows, flow, version)
        with refusals(to, "the rows could not be gathered"):
            if is_dry:
                tried = await self._replays.attempt(wanted, to, ask.holder)
                reasons = sorted(tried.reasons.items(), key=lambda item: -item[1][0])
                document = {
                    "dry_run": True,
                    "flow": to.name,
                    "to": to.ref,
                    "rows": tried.rows,
                    "passed": tried.passed,
                    "reasons": [
                        {"reason": reason, "rows": rows, "passed": passed}
                        for reason, (rows, passed) in reasons
                    ],
                    "rejected_for": tried.rejected_for,
                    "messages": tried.messages,
                    "unreadable": [asdict(each) for each in tried.unread],
                }
                return Reply(200, document)
            started = await self._replays.start(wanted, to, key, ask.holder)
        document = {
            "flow": to.name,
            "to": to.ref,
            "rows": started.rows,
            "runs": [run_document(run) for run in started.runs],
            "replaying": started.replaying,
            "unreadable": [asdict(each) for each in started.unread],
        }
        return Reply(201 if started.rows else 200, document)


def _row_filter(pairs: queries.Pairs) -> RowFilter:
    """Return the filter of `GET /v1/rejects`. Raises `Problem`."""
    query = dict(pairs)
    state, run_id = query.get("state", OPEN), query.get("run")
    if state not in STATES:
        raise queries.parameter_problem("state", f"must be one of {', '.join(STATES)}")
    if run_id is not None and not requests.is_run_id(run_id):
        raise queries.parameter_problem("run", "is not a run ID")
    if query.get("assignee") == "":
        raise queries.parameter_problem("assignee", "must name somebody")
    reasons = tuple(value for name, value in pairs if name == "reason")
    return RowFilter(
        query.get("flow"), reasons or None, queries.since_of(query), run_id, state, query.get("assignee")
    )


def _reasons(fields: dict[str, Any]) -> tuple[str, ...] | None:
    found = fields.get("reason")
    if found is None:
        return None
    reasons = [found] if isinstance(found, str) else found
    if not isinstance(reasons, list) or not 0 < len(reasons) <= _MOST_REASONS:
        raise requests.field_problem(
            "reason", f"must be a string or an array of 1 to {_MOST_REASONS} strings"
        )
    for one in reasons:
        if not isinstance(one, str) or not 0 < len(one) <= _LONGEST_REASON:
            raise requests.field_problem("reason", f"must have 1 to {_LONGEST_REASON} characters")
    return tuple(reasons)


def _since(fields: dict[str, Any]) -> str | None:
    since = fields.get("since")
    if since is None:
        return None
    if not isinstance(since, str):
        raise requests.field_problem("since", "must be a time such as 2026-01-02T03:04:05Z")
    return queries.since_of({"since": since})
