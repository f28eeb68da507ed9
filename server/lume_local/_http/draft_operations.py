"""The operations on drafts: rejected rows that a person edits, has judged by the flow, and submits as one run."""

import re
from collections.abc import Callable
from typing import Any

from anyio.to_thread import run_sync

from lume_async._base.elided import elided
from lume_local._flow.definition import RESERVED, Flow, read_definition
from lume_local._flow.fields import FlowError
from lume_local._http import queries, requests
from lume_local._http.documents import run_document
from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._http.lookup import (
    following_version,
    needs_approval,
    refusals,
    runnable_version,
    unknown_flow,
)
from lume_local._mapping.substitute import with_rule
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.rejected.clusters import allowed_values, clusters
from lume_local._runs.rejected.mends import Mending, Mends, RowStanding
from lume_local._runs.rejected.replays import Replays
from lume_local._runs.rejected.suggestions import Example, Suggestions
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.drafts import (
    APPROVED,
    SENT_BACK,
    Cells,
    DraftChanged,
    DraftFull,
    DraftRow,
    Reject,
    Review,
    Room,
    RowChange,
    RowDraft,
    Submission,
)
from lume_local._runs.store.ledger import RowFilter

ROOM = Room(4 * 1024 * 1024, 256 * 1024 * 1024)
MOST_JUDGED = 2000
"""The maximum number of rows that one request has judged."""
KEPT = 30 * 86400.0
"""Seconds after its last change for which a draft is kept."""
MOST_ROWS = 2000
_MOST_COLUMNS, _LONGEST_NAME, _LONGEST_CELL = 1000, 500, 64 * 1024
_MOST_VALUES, _LONGEST_VALUE, _LONGEST_REASON = 200, 1000, 600
_MOST_CLUSTERED, _LONGEST_CLUSTERED = 4000, 100
"""The maximum number of distinct values to cluster, and their maximum length: longer texts are not spellings."""
_RAW = f"{RESERVED}raw"
_CURSOR = re.compile(r"([0-9]{1,12})-([A-Za-z0-9_-]{1,128})")
_MOST_ELSEWHERE = 1000


class DraftsApi:
    def __init__(
        self,
        store: SqlStore,
        flows: FlowRegistry,
        mends: Mends,
        suggestions: Suggestions,
        replays: Replays,
        has_other: Callable[[str], bool],
    ) -> None:
        self._drafts, self._flows, self._mends, self._suggestions = store.drafts, flows, mends, suggestions
        self._replays, self._has_other = replays, has_other

    async def get(self, ask: Ask) -> Reply:
        """Answer `GET /v1/drafts/{flow}`."""
        flow, query = self._flow(ask), dict(ask.query)
        limit = queries.limit_of(query, 1000, MOST_ROWS)
        after = None
        if "cursor" in query:
            match = _CURSOR.fullmatch(query["cursor"])
            if match is None:
                raise queries.invalid_cursor("cursor", "one of this draft")
            after = Reject(match[2], int(match[1]))
        owner = query.get("owner", ask.holder)
        if owner != ask.holder:
            await self._waiting(flow, owner)
        rows, last = await self._mends.rows(flow, owner, after, limit)
        document = await self._document(flow, owner, await self._drafts.draft(flow, owner))
        document["items"] = [_row(row, standing) for row, standing in rows]
        document["next_cursor"] = None if last is None else f"{last.row}-{last.run_id}"
        return Reply(200, document)

    async def change(self, ask: Ask) -> Reply:
        """Answer `PATCH /v1/drafts/{flow}`."""
        flow = self._flow(ask)
        changes = _changes(ask.body, ask.content_type)
        try:
            saved = await self._drafts.save(flow, ask.holder, changes, ROOM)
        except DraftFull as error:
            if error.of_all:
                raise Problem(
                    "storage-full",
                    f"all drafts together may have {error.limit:,} bytes: submit or remove some rows, or ask others "
                    "to",
                ) from None
            words = f"your drafts may have {error.limit:,} bytes together: submit or remove some rows first"
            raise Problem("too-large", words) from None
        document = await self._document(flow, ask.holder, saved.draft)
        document["saved"] = [{**_named(reject), "rev": rev} for reject, rev in saved.revs.items()]
        document["refused"] = [
            {**_named(reject), "rev": 0, "cells": None} if row is None else _row(row)
            for reject, row in saved.refused.items()
        ]
        return Reply(200, document)

    async def drop(self, ask: Ask) -> Reply:
        """Answer `DELETE /v1/drafts/{flow}`."""
        await self._drafts.drop(self._flow(ask), ask.holder, None)
        return Reply(204)

    async def judge(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/judge`."""
        fields = requests.known_fields(ask.body, ask.content_type, ("to", "limit"))
        limit = fields.get("limit", MOST_JUDGED)
        if type(limit) is not int or not 1 <= limit <= MOST_JUDGED:
            raise requests.field_problem("limit", f"must be a whole number from 1 to {MOST_JUDGED:,}")
        to = await self._version(ask, fields)
        with refusals(to, "the rows could not be judged"):
            found = await self._mends.judge(to.name, ask.holder, to, limit)
        items = [{**_named(one.reject), "rev": one.rev, "reasons": one.reasons} for one in found]
        return Reply(200, {"flow": to.name, "to": to.ref, "items": items, "more": len(found) >= limit})

    async def suggest(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/suggest`."""
        fields = requests.known_fields(ask.body, ask.content_type, ("column", "reason", "values", "to"))
        column, reason, examples = _column(fields), _reason(fields), _examples(fields)
        to = await self._version(ask, fields)
        with refusals(to, "the values could not be judged"):
            found = await self._suggestions.find(to, column, reason, examples, ask.holder)
        items = [
            {"repair": one.repair, "values": [{"from": before, "to": after} for before, after in one.values]}
            for one in found
        ]
        return Reply(200, {"flow": to.name, "to": to.ref, "items": items})

    async def cluster(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/clusters`."""
        fields = requests.known_fields(ask.body, ask.content_type, ("column", "values", "to"))
        column, values = _column(fields), _texts(fields, "values", list, _MOST_CLUSTERED, _LONGEST_CLUSTERED)
        to = await self._version(ask, fields)
        found = await run_sync(lambda: clusters(values, allowed_values(to, column)))
        items = [
            {"suggested": one.suggested, "allowed": one.is_allowed, "values": one.values} for one in found
        ]
        return Reply(200, {"flow": to.name, "to": to.ref, "items": items})

    async def rule(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/rule`."""
        fields = requests.known_fields(ask.body, ask.content_type, ("column", "reason", "changes", "to"))
        column, reason = _column(fields), _reason(fields)
        changes = _texts(fields, "changes", dict, _MOST_VALUES, _LONGEST_VALUE)
        base = await self._version(ask, fields)
        wanted = RowFilter(base.name, None if reason is None else (reason,))
        try:
            version = following_version(self._flows, base.name)
            to = read_definition(with_rule(base.definition, version, column, changes))
            with refusals(to, "the rule could not be tried"):
                tried = await self._replays.attempt(wanted, to, ask.holder, is_draft=True)
        except FlowError as error:
            raise requests.field_problem("changes", f"can't be a rule of {base.ref}: {error}") from None
        from lume_local._mapping.flow_text import file_text  # few servers write flow files

        head = f"{to.ref} is {base.ref} with a rule for {column}, made from edits of rejected rows."
        document = {
            **{"flow": to.name, "to": base.ref, "flow_version": to.ref, "definition": to.definition},
            **{"toml": file_text(head, to.definition), "rows": tried.rows, "passed": tried.passed},
            **{"rejected_for": tried.rejected_for, "messages": tried.messages},
        }
        return Reply(200, document)

    async def submit(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/submit`."""
        fields = requests.known_fields(ask.body, ask.content_type, ("rev", "to", "reason"))
        rev = fields.get("rev")
        if type(rev) is not int or not 0 < rev < 2**53:
            raise requests.field_problem("rev", "must be the revision of the draft, as GET and PATCH give it")
        reason, to = _reason(fields), await self._version(ask, fields)
        newest = await needs_approval(self._flows, to.name)
        if newest is not None and newest != to.ref:
            raise requests.field_problem("to", f"must be {newest}, which asks for a second person's approval")
        try:
            with refusals(to, "the rows could not be gathered"):
                if newest is not None:
                    return await self._propose(ask.holder, rev, to, reason)
                done = await self._mends.submit(to.name, ask.holder, rev, to, reason)
        except DraftChanged:
            raise Problem(
                "draft-changed", "the draft has been changed since: look at it, then submit it again"
            ) from None
        return _submitted(to, done)

    async def _propose(self, owner: str, rev: int, to: Flow, reason: str | None) -> Reply:
        if not self._has_other(owner):
            raise Problem(
                "not-supported",
                f"{to.ref} asks for a second person's approval, and nobody else may give it here: `lume key new` "
                "makes a key with the role submit for them, or `lume console --name` a link",
            )
        rows = await self._mends.propose(to.name, owner, rev, to, reason)
        document = {"flow": to.name, "to": to.ref, "rows": rows, "runs": []}
        return Reply(202 if rows else 200, document)

    async def review(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/review`."""
        fields = requests.known_fields(ask.body, ask.content_type, ("owner", "rev", "approve", "comment"))
        flow, owner, rev = self._flow(ask), requests.line(fields, "owner"), fields.get("rev")
        is_approved, comment = requests.flag(fields, "approve"), requests.optional_line(fields, "comment")
        if not is_approved and comment is None:
            raise requests.field_problem("comment", f"is missing: say what {owner} should change")
        if owner == ask.holder:
            raise Problem("forbidden", "these edits are your own: another person answers")
        to, one = await runnable_version(self._flows, flow, None), await self._waiting(flow, owner)
        review = Review(owner, one.rev, ask.holder, APPROVED if is_approved else SENT_BACK, comment or "")
        done = Mending([], 0)
        try:
            # The transaction checks it again, and that `owner` is another person.
            if one.rev != rev or (is_approved and one.to != to.ref):
                raise DraftChanged
            if not is_approved:
                await self._drafts.send_back(flow, review)
                return _submitted(to, done)
            with refusals(to, "the rows could not be gathered"):
                done = await self._mends.submit(flow, owner, one.rev, to, one.reason, review)
            if not done.runs:
                raise DraftChanged
        except DraftChanged:
            raise Problem(
                "draft-changed",
                f"the edits of {owner} were changed since, the rows have ended, or {to.ref} is newer: {owner} has to "
                "look at them and submit them again",
            ) from None
        return _submitted(to, done)

    async def _waiting(self, flow: str, owner: str) -> Submission:
        """Return the submission of another person. Raises `Problem`."""
        for one in await self._drafts.submissions(flow, owner):
            if one.owner == owner and one.state != SENT_BACK:
                return one
        words = f"no rows of {elided(repr(owner), 128)} in {flow} wait for approval, or they have been changed since"
        raise Problem("not-found", words)

    async def _version(self, ask: Ask, fields: dict[str, Any]) -> Flow:
        """Return the version that judges, by default the newest. Raises `Problem`."""
        version = requests.optional_line(fields, "to")
        return await runnable_version(self._flows, self._flow(ask), version)

    def _flow(self, ask: Ask) -> str:
        """Return the name of the flow. Raises `Problem`."""
        flow = ask.path["flow"]
        if not self._flows.all(flow):
            raise unknown_flow(self._flows, flow)
        return flow

    async def _document(self, flow: str, owner: str, draft: RowDraft | None) -> dict[str, Any]:
        elsewhere = await self._drafts.elsewhere(flow, owner, _MOST_ELSEWHERE)
        return {
            "flow": flow,
            "rev": 0 if draft is None else draft.rev,
            "rows": 0 if draft is None else draft.rows,
            "bytes": 0 if draft is None else draft.bytes,
            "most_bytes": ROOM.of_owner,
            "changed_at": None if draft is None else draft.changed_at,
            "submissions": [one._asdict() for one in await self._drafts.submissions(flow, owner)],
            "elsewhere": [{**_named(one.reject), "owner": one.owner, "at": one.at} for one in elsewhere],
        }


def _submitted(to: Flow, done: Mending) -> Reply:
    document = {"flow": to.name, "to": to.ref, "rows": done.rows, "runs": [*map(run_document, done.runs)]}
    return Reply(201 if done.runs else 200, document)


def _named(reject: Reject) -> dict[str, Any]:
    return {"run": reject.run_id, "row": reject.row + 1}


def _row(row: DraftRow, standing: RowStanding | None = None) -> dict[str, Any]:
    found = {**_named(row.reject), "cells": row.cells, "rev": row.rev}
    found |= {"judged_by": row.judged_by, "reasons": row.reasons}
    if standing is not None:
        found |= {"state": standing.state, "by": standing.by or None, "at": standing.at or None}
        found["rejected_for"] = standing.reasons
    return found


def _changes(body: bytes, content_type: str | None) -> list[RowChange]:
    """Return the rows of `PATCH /v1/drafts/{flow}`. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("rows",))
    rows = fields.get("rows")
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
        raise requests.field_problem("rows", f"must be an array of 1 to {MOST_ROWS:,} rows")
    needed, found = {"run", "row", "cells"}, list[RowChange]()
    for n, row in enumerate(rows):
        place = f"rows[{n}]"
        if not isinstance(row, dict) or not needed <= row.keys() <= needed | {"rev"}:
            raise requests.field_problem(
                place, "must be an object with run, row, cells and, unless it is new, rev"
            )
        reject, seen = _reject(row, place), row.get("rev", 0)
        if type(seen) is not int or not 0 <= seen < 2**53:
            raise requests.field_problem(
                f"{place}.rev", "must be the revision that you have of the row, or 0"
            )
        found.append(RowChange(reject, _cells(row["cells"], f"{place}.cells"), seen))
    if len({change.reject for change in found}) < len(found):
        raise requests.field_problem("rows", "has a row more than once")
    return found


def _cells(given: Any, place: str) -> Cells | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not 0 < len(given) <= _MOST_COLUMNS:
        raise requests.field_problem(
            place, f"must be an object with 1 to {_MOST_COLUMNS:,} columns, or null to take the row out"
        )
    for name, value in given.items():
        if not 0 < len(name) <= _LONGEST_NAME or (name.lower().startswith(RESERVED) and name != _RAW):
            raise requests.field_problem(place, f"{name[:100]!r} is not a column that can be edited")
        if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST_CELL):
            raise requests.field_problem(
                place, f"{name[:100]!r} must be a string of at most {_LONGEST_CELL:,} characters, or null"
            )
    return given


def _examples(fields: dict[str, Any]) -> list[Example]:
    """Return the values of a request for suggestions. Raises `Problem`."""
    values = fields.get("values")
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_VALUES:
        raise requests.field_problem("values", f"must be an array of 1 to {_MOST_VALUES} values")
    examples = list[Example]()
    for n, one in enumerate(values):
        place = f"values[{n}]"
        if not isinstance(one, dict) or one.keys() != {"run", "row", "value"}:
            raise requests.field_problem(place, "must be an object with run, row and value")
        value = one["value"]
        if not isinstance(value, str) or len(value) > _LONGEST_VALUE:
            raise requests.field_problem(
                f"{place}.value", f"must be a string of at most {_LONGEST_VALUE:,} characters"
            )
        examples.append(Example(_reject(one, place), value))
    if len({example.reject for example in examples}) < len(examples):
        raise requests.field_problem("values", "has a row more than once")
    return examples


def _column(fields: dict[str, Any]) -> str:
    name = fields.get("column")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or name.lower().startswith(RESERVED):
        raise requests.field_problem("column", "must be the name of a column of the rejected rows")
    return name


def _texts(fields: dict[str, Any], name: str, kind: type[Any], most: int, longest: int) -> Any:
    """Return an array of texts, or an object whose texts may have null for a value. Raises `Problem`."""
    given = fields.get(name, "")
    if not isinstance(given, kind) or not 0 < len(given) <= most:
        raise requests.field_problem(name, f"must have 1 to {most:,} texts")
    values = given.values() if isinstance(given, dict) else ()
    for text in (*given, *(value for value in values if value is not None)):
        if not isinstance(text, str) or not 0 < len(text) <= longest:
            raise requests.field_problem(name, f"must have texts of 1 to {longest:,} characters")
    return given


def _reason(fields: dict[str, Any]) -> str | None:
    reason = fields.get("reason")
    if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= _LONGEST_REASON):
        raise requests.field_problem(
            "reason", f"must be a string of 1 to {_LONGEST_REASON} characters, or null"
        )
    return reason


def _reject(given: dict[str, Any], place: str) -> Reject:
    run_id, number = given.get("run"), given.get("row")
    if not (isinstance(run_id, str) and requests.is_run_id(run_id)):
        raise requests.field_problem(f"{place}.run", "is not a run ID")
    if type(number) is not int or not 0 < number < 2**40:
        raise requests.field_problem(f"{place}.row", "must be the number of a reject, from 1 on")
    return Reject(run_id, number - 1)
