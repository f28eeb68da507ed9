"""`RejectedRows`: the operations of a client on the rejected rows of many runs.

Each method imports its work on first use, as in `ManyRuns`.
"""

import uuid
import warnings
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import lume_async  # for annotations: its names are loaded on use
from lume_async._base import arguments
from lume_async._base.duration import Duration, optional_seconds
from lume_async._base.words import counted
from lume_async._http.sender import Sender
from lume_async._run.pages import Paged, filters_of, items
from lume_async.models import check_run_id, plain_text

_PAGE = 1000
_FOREVER = 366 * 24 * 3600.0
"""Seconds for a replay without a timeout."""


class RejectedRows:
    """The operations of `Client` on the rejected rows of many runs."""

    _sender: Sender

    async def inbox(
        self, *, flow: str | None = None, since: datetime | Duration | None = None
    ) -> "lume_async.Inbox":
        """Count the open rejected rows of all runs, by flow and reason.

        A row is open until it is mended (accepted in an edited form), replayed (accepted as it was, by another flow
        version), discarded, or superseded, when its whole source is read again.

        Args:
            flow: only rows of this flow, in all its versions.
            since: count new and closed rows from the beginning of this day on: an aware `datetime`, or seconds (or a
                `timedelta`) ago; default: yesterday.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            NotSupportedError: the server has no inbox.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> inbox = await client.inbox(flow="customer_cleaner")
        """
        from lume_async._wire import row_endpoints

        return await self._sender.send(row_endpoints.inbox(self._filters(flow, None, since)))

    def open_rejects(
        self,
        *,
        flow: str | None = None,
        reason: str | Sequence[str] | None = None,
        since: datetime | Duration | None = None,
        run: str | None = None,
        state: "lume_async.RowState" = "open",
        assignee: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Paged[dict[str, Any]]:
        """Yield rejected rows of many runs, the oldest run first.

        The rows are as in `LumeRun.rejects`, with `_lume_run`, the ID of their run, and `_lume_reject`, their
        number among its rejects. `_lume_reasons` are their present reasons: a replay may have changed them.
        Rows that can't be read are skipped with a warning.

        Args:
            flow: only rows of this flow, in all its versions.
            reason: only rows with this reason, or with one of several, spelled as in the inbox.
            since: only rows of runs that ended at this time or later: an aware `datetime`, or seconds (or a
                `timedelta`) ago.
            run: only rows of the run with this ID.
            state: only rows in this state: "open" (nothing has been done about them), "replaying", "lost",
                "mended", "replayed", "discarded" or "superseded".
            assignee: only open rows that were assigned to this person.
            limit: the maximum number of rows.
            cursor: as in `list_runs`.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            NotSupportedError: raised by the iteration: the server does not list rows of many runs.

        Examples:
            >>> async for row in client.open_rejects(flow="customer_cleaner", limit=100):
            ...     print(row["_lume_run"], row["_lume_reasons"])
        """
        from lume_async._wire import row_endpoints
        from lume_async._wire.inbox_models import ROW_STATES

        arguments.choice(state, "state", ROW_STATES)
        filters = self._filters(flow, reason, since) | {"state": state}
        filters |= filters_of(self._sender, assignee=assignee, cursor=cursor)
        if run is not None:
            filters["run"] = check_run_id(run)
        ask = partial(row_endpoints.rejected_rows, filters, _warn)
        return items(self._sender, ask, _PAGE, limit, "rejected rows")

    async def assign_rejects(
        self,
        assignee: str | None,
        *,
        comment: str | None = None,
        flow: str | None = None,
        reason: str | Sequence[str] | None = None,
        since: datetime | Duration | None = None,
        run: str | None = None,
        rows: Sequence[int] | None = None,
    ) -> int:
        """Note who works on open rejected rows, and a comment; return how many rows. Idempotent.

        Both replace what was noted before, and end with the row. `open_rejects` shows them as `_lume_assignee` and
        `_lume_comment`.

        Args:
            assignee: the name of a key or a person; None for nobody.
            comment: one line for people who see the rows.
            flow: as in `discard_rejects`, like the arguments that follow.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            NotSupportedError: the server does not assign rows.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> count = await client.assign_rejects("ann", comment="asked the supplier", run=run.id)
        """
        from lume_async._wire import row_endpoints

        notes = {"assignee": assignee, "comment": comment}
        body = {name: plain_text(text, name) for name, text in notes.items() if text is not None}
        return await self._sender.send(
            row_endpoints.act("assign", body | self._chosen(flow, reason, since, run, rows))
        )

    async def discard_rejects(
        self,
        why: str,
        *,
        flow: str | None = None,
        reason: str | Sequence[str] | None = None,
        since: datetime | Duration | None = None,
        run: str | None = None,
        rows: Sequence[int] | None = None,
    ) -> int:
        """Note that nothing is left to do about open rejected rows; return how many were open. Idempotent.

        The server records the name of the key, the time and the reason. Rows in a replay that has not ended are not
        discarded.

        Args:
            why: one line for people who see the rows later.
            flow: rows of this flow, in all its versions; or pass `run`.
            reason: only rows with this reason, or with one of several.
            since: only rows of runs that ended at this time or later: an aware `datetime`, or seconds (or a
                `timedelta`) ago.
            run: rows of the run with this ID.
            rows: the numbers of the rows among the rejects of that run (`_lume_reject`), at most 10,000.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            NotSupportedError: the server does not discard rows.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> count = await client.discard_rejects("test data", run=run.id, rows=[1])
        """
        from lume_async._wire import row_endpoints

        body = {"why": plain_text(why, "why"), **self._chosen(flow, reason, since, run, rows)}
        return await self._sender.send(row_endpoints.act("discard", body))

    async def replay(
        self,
        flow: str,
        *,
        to: str | None = None,
        reason: str | Sequence[str] | None = None,
        since: datetime | Duration | None = None,
        dry_run: bool = False,
        timeout: Duration | None = 3600,
    ) -> "lume_async.Replay":
        """Send the open rejected rows of a flow through one of its versions, as they were.

        Rows with the same columns are processed by one run. A row is in one replay at a time and is accepted once,
        even if the client or the server is killed: call it again for the rows that are still open. Rows that are
        rejected again stay open, with their new reasons.

        Args:
            flow: the name of the flow; rows of all its versions are replayed.
            to: the flow version to process them; default: the version registered last.
            reason: only rows with this reason, or with one of several, spelled as in the inbox.
            since: only rows of runs that ended at this time or later: an aware `datetime`, or seconds (or a
                `timedelta`) ago.
            dry_run: only count the rows that would be accepted; nothing is kept.
            timeout: seconds (or a `timedelta`) to gather the rows, and for a dry run to process them.

        Raises:
            InvalidRequestError: the flow version does not exist, or it can't process such rows.
            NotSupportedError: the server does not offer replays.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> replay = await client.replay("customer_cleaner", to="customer_cleaner:v2", dry_run=True)
        """
        from lume_async._wire import row_endpoints

        seconds = optional_seconds(timeout, "timeout")
        arguments.flag(dry_run, "dry_run")
        body: dict[str, Any] = {
            **self._filters(plain_text(flow, "flow"), reason, since),
            "dry_run": dry_run,
        }
        if to is not None:
            body["to"] = plain_text(to, "to")
        call = row_endpoints.replay(body, uuid.uuid4().hex, _FOREVER if seconds is None else seconds)
        return await self._sender.send(call, timeout=seconds)

    def _chosen(
        self,
        flow: str | None,
        reason: str | Sequence[str] | None,
        since: datetime | Duration | None,
        run: str | None,
        rows: Sequence[int] | None,
    ) -> dict[str, Any]:
        """Return the fields of a request that choose rows."""
        body: dict[str, Any] = {**self._filters(flow, reason, since)}
        if (flow is None) == (run is None):
            raise ValueError("pass either flow or run, to choose its rows")
        if run is not None:
            body["run"] = check_run_id(run)
        if rows is not None:
            if run is None:
                raise ValueError("rows are numbers of one run's rejects: also pass run")
            numbers = arguments.several(rows, "rows", "numbers of rejects", Sequence)
            body["rows"] = [arguments.whole(row, "rows") for row in numbers]
        return body

    def _filters(
        self, flow: str | None, reason: str | Sequence[str] | None, since: datetime | Duration | None
    ) -> dict[str, str | list[str]]:
        filters = filters_of(self._sender, since, flow=flow)
        if reason is not None:
            arguments.instance(reason, "reason", (str, list, tuple), "one reason or a list of them")
            reasons = [reason] if isinstance(reason, str) else [*reason]
            if not reasons:
                raise ValueError("reason must name at least one reason: pass None for all")
            filters["reason"] = [arguments.text(one, "reason") for one in reasons]
        return filters


def _warn(rows: "lume_async.UnreadableRows") -> None:
    warnings.warn(
        f"{counted(rows.rows, 'rejected row')} of run {rows.run_id} can't be read: {rows.problem}",
        stacklevel=2,
    )
