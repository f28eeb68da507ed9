"""`Reports`: operations on a server as a whole: dry runs, counts of runs, arrivals, the audit, forgetting."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, get_args

from attrs import evolve

import lume_async  # for annotations: its names are loaded on use
from lume_async._base import arguments
from lume_async._base.duration import Duration, optional_seconds
from lume_async._http.sender import Sender
from lume_async._run.pages import Paged, filters_of, items
from lume_async._run.transfer import SeedData
from lume_async.models import JsonObject, RunRequest

_ENTRIES = 200
"""Entries of the audit per request."""
_FOREVER = 366 * 24 * 3600.0
"""Seconds for a dry run without a timeout."""


class Reports:
    """The operations of `Client` on the server as a whole."""

    _sender: Sender

    async def dry_run(
        self,
        flow_version: str,
        source_path: str,
        run_metadata: JsonObject | None = None,
        *,
        seeds: SeedData | None = None,
        layout: str | None = None,
        limit: int = 100,
        timeout: Duration | None = 3600,
    ) -> "lume_async.DryRun":
        """Execute a run without publishing anything, to see how it would end and its first rows.

        The source is read, mapped and checked as in any run. Nothing is kept, no run exists afterwards, and the
        source may have been processed before.

        Args:
            flow_version: the flow and its version, such as `customer_cleaner:v1`.
            source_path: as in `run`.
            run_metadata: as in `run`, for flows that use it.
            seeds: as in `run`.
            layout: as in `run`.
            limit: the number of rows of each kind to return, 0 to 1,000.
            timeout: seconds (or a `timedelta`) for the run itself, which lasts as long as a real one would.

        Raises:
            InvalidRequestError: an argument or the flow version is not valid.
            NotSupportedError: the server does not offer dry runs. If it has started a run, the message names it.
            ApiError: see the tree in `lume_async.errors`. A run that would fail is not an error: see
                `DryRun.would_fail`.

        Examples:
            >>> found = await client.dry_run("customer_cleaner:v1", "customers.csv", limit=5)
            >>> print(found.would_fail, found.metrics.reject_reasons)
        """
        arguments.whole(limit, "limit", 0, 1000)
        from lume_async._wire import report_endpoints

        seconds = optional_seconds(timeout, "timeout")
        request = RunRequest(flow_version, source_path, run_metadata, layout=layout)
        if seeds is not None:
            from lume_async._run.data_in import sent_seeds

            request = evolve(request, seeds=await sent_seeds(self._sender, flow_version, seeds))
        patience = _FOREVER if seconds is None else seconds
        call = report_endpoints.dry_run(request, limit, uuid.uuid4().hex, patience)
        return await self._sender.send(call, timeout=seconds)

    async def statistics(
        self,
        *,
        by: "lume_async.CountedBy | Sequence[lume_async.CountedBy]" = "status",
        since: datetime | Duration | None = None,
        flow: str | None = None,
        order: "lume_async.CountOrder" = "dimensions",
        limit: int = 1000,
    ) -> "list[lume_async.RunCount]":
        """Count runs and their rows, without listing them.

        Args:
            by: the dimensions to count by, one or several of "hour", "day", "flow_version", "status" and "layout".
                Hours and days refer to the creation of the runs, in UTC. By layout, ended runs of flow versions with
                layouts are counted, each for every layout of its files, with its files and rows.
            since: only runs created in the hour of this time or later: an aware `datetime`, or seconds (or a
                `timedelta`) ago.
            flow: only runs of this flow, in all its versions.
            order: "rejected" for the largest share of rejected rows first.
            limit: the maximum number of counts, up to 10,000.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            NotSupportedError: the server does not count runs.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> for count in await client.statistics(by=["day", "status"], since=7 * 24 * 3600):
            ...     print(count.day, count.status, count.runs)
        """
        arguments.whole(limit, "limit", 1, 10_000)
        arguments.instance(by, "by", (str, Sequence), "one name or several")
        dimensions: list[str] = [by] if isinstance(by, str) else list(by)
        from lume_async._wire import report_endpoints
        from lume_async._wire.report_models import CountedBy, CountOrder

        known = list(get_args(CountedBy))
        once = all(one in known and dimensions.count(one) == 1 for one in dimensions)
        if not (dimensions and once):
            raise ValueError(
                f"by must name each of {', '.join(known)} once at most, not {arguments.shown(by)}"
            )
        arguments.choice(order, "order", get_args(CountOrder))
        filters = {"by": dimensions, "order": order, "limit": str(limit)}
        filters |= filters_of(self._sender, since, flow=flow)
        return await self._sender.send(report_endpoints.statistics(filters))

    async def arrivals(
        self, *, name: str | None = None, state: "lume_async.ArrivalState | None" = None, limit: int = 100
    ) -> "lume_async.ArrivalReport":
        """Report what arrives: the places that the server watches, and the state of their files.

        Args:
            name: only files of this arrival.
            state: only files in this state: "waiting", "submitted" or "refused".
            limit: the maximum number of files in each state, 1 to 1,000. `list_runs(submitted_by="arrival:NAME")`
                yields all submitted ones.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            InvalidRequestError: there is no arrival of this name.
            NotSupportedError: the server watches no places.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> report = await client.arrivals(state="waiting")
            >>> print(len(report.files))
        """
        arguments.whole(limit, "limit", 1, 1000)
        from lume_async._wire import report_endpoints
        from lume_async._wire.report_models import ARRIVAL_STATES

        filters = {"limit": str(limit)} | filters_of(self._sender, name=name)
        if state is not None:
            filters["state"] = arguments.choice(state, "state", ARRIVAL_STATES)
        return await self._sender.send(report_endpoints.arrivals(filters))

    async def forget(
        self,
        match: Mapping[str, str],
        *,
        dry_run: bool = True,
        ignore_case: bool = False,
        tables: bool = False,
    ) -> "lume_async.ForgetReport":
        """Remove the rows of a person from everything that the server keeps, or count them. Needs the role admin.

        Args:
            match: a value for each column, of a target or a source; a row must have all of them.
            dry_run: whether to only count; False removes the rows, and can't be undone.
            ignore_case: whether case and spaces around a value don't matter; otherwise the text must be the same.
            tables: whether to also delete the rows that runs have loaded into tables. They are always counted.

        Raises:
            InvalidRequestError: there is no column, more than 10, or one has no text.
            PermissionDeniedError: the key doesn't have the role.
            NotSupportedError: the server can't forget a person.
            ApiError: see the tree in `lume_async.errors`. Rows that were removed stay removed; call it again.

        Examples:
            >>> report = await client.forget({"email": "ada@example.com"})
            >>> print(report.outputs, report.rejects, report.uploads)
        """
        arguments.flag(dry_run, "dry_run")
        arguments.flag(ignore_case, "ignore_case")
        arguments.flag(tables, "tables")
        for column, value in arguments.instance(match, "match", Mapping, "a value for each column").items():
            arguments.text(column, "match")
            arguments.text(value, "match")
        from lume_async._wire import report_endpoints

        body = {"match": dict(match), "dry_run": dry_run, "ignore_case": ignore_case}
        body |= {"tables": True} if tables else {}  # older servers refuse what they don't know
        counts, uploads, left, cursor = Counter[str](), set[str](), dict[str, str](), None
        while True:
            part, cursor = await self._sender.send(report_endpoints.forget(body | {"cursor": cursor}))
            counts.update(outputs=part.outputs, rejects=part.rejects, texts=part.texts)
            uploads, left = uploads.union(part.uploads), left | part.left
            if cursor is None:
                outputs, rejects, texts = (counts[name] for name in ("outputs", "rejects", "texts"))
                found = evolve(
                    part, uploads=sorted(uploads), left=left
                )  # only the last has tables and backups
                return evolve(found, outputs=outputs, rejects=rejects, texts=texts)

    async def retry_arrivals(self, name: str, *, paths: Sequence[str] = ()) -> "list[lume_async.ArrivalFile]":
        """Take files again that have failed or were refused, such as after a new version of their flow.

        Return them: submitted with a new run, or waiting, and why. A file that was put aside comes back to its path.

        Args:
            name: the name of the arrival.
            paths: only these files, up to 1,000, as `arrivals` spells them; by default all that have failed. Those
                whose last run is of an earlier flow of the arrival are left out.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            InvalidRequestError: there is no arrival of this name.
            NotSupportedError: the server does not take files again.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> for arrival in (await client.arrivals()).arrivals:
            ...     for file in await client.retry_arrivals(arrival.name):
            ...         print(file.path, file.run_id, file.why)
        """
        arguments.line(name, "name")
        from lume_async._wire import report_endpoints

        checked = [arguments.text(one, "paths") for one in arguments.several(paths, "paths", "paths")]
        body: dict[str, Any] = {"paths": checked}
        files: list[lume_async.ArrivalFile] = []
        while True:
            page = await self._sender.send(report_endpoints.retry_arrival(name, body))
            files += page.items
            if page.cursor is None:
                return files
            body["cursor"] = page.cursor

    def audit(
        self,
        *,
        by: str | None = None,
        what: str | None = None,
        since: datetime | Duration | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> "Paged[lume_async.AuditEntry]":
        """Yield who did what at the server and when, newest first, except submissions. Needs the role admin.

        Args:
            by: only acts of the key with this name.
            what: only acts of this kind, such as "cancel", "discard" or "register_flow".
            since: only acts at this time or later: an aware `datetime`, or seconds (or a `timedelta`) ago.
            limit: the maximum number of entries.
            cursor: as in `list_runs`.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            PermissionDeniedError: raised by the iteration: the key doesn't have the role.
            NotSupportedError: raised by the iteration: the server keeps no audit.

        Examples:
            >>> async for entry in client.audit(what="register_flow", limit=10):
            ...     print(entry.at, entry.by)
        """
        from lume_async._wire import report_endpoints

        ask = partial(
            report_endpoints.audit, filters_of(self._sender, since, by=by, what=what, cursor=cursor)
        )
        return items(self._sender, ask, _ENTRIES, limit, "audit entries")
