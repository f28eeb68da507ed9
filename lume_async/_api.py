"""The module-level functions: the operations of `Client` on a default client."""

import os
from collections.abc import AsyncIterable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack

from lume_async._base.arguments import check_names
from lume_async._base.backoff import PollInterval
from lume_async._base.batched import Items
from lume_async._base.duration import Duration
from lume_async._base.secret import veiled, veiled_headers
from lume_async._client import Client, ClientOptions
from lume_async._http.settings import ApiKey
from lume_async._many import progress as _progress
from lume_async._many.monitor import Monitor
from lume_async._many.progress import Progress
from lume_async._run.handle import LumeRun
from lume_async._run.pages import Paged
from lume_async._run.results.rows import Rows
from lume_async._run.submit import OnDuplicate
from lume_async._run.transfer import OnProgress, SeedData, SourceData
from lume_async._wire.flow_models import FlowSummary, FlowVersion, Proposal
from lume_async._wire.inbox_models import Inbox, Replay, RowState
from lume_async._wire.report_models import (
    ArrivalFile,
    ArrivalReport,
    ArrivalState,
    AuditEntry,
    CountedBy,
    CountOrder,
    DryRun,
    ForgetReport,
    RunCount,
)
from lume_async.models import JsonObject, Outcome, RunRequest, RunStatus

# A dict operation is atomic, so there is no lock that a fork could leave locked.
_default: dict[str, Client] = {}


def default_client() -> Client:
    """Return the client of the module-level functions; created from the environment on first use.

    Raises:
        ConfigurationError: `init()` was not called and the environment lacks the API key or the base URL.

    Examples:
        >>> print(lume_async.default_client().base_url)
    """
    client = _default.get("client")
    return _default.setdefault("client", Client()) if client is None else client


def init(
    api_key: ApiKey | None = None, *, base_url: str | None = None, **client_options: Unpack[ClientOptions]
) -> None:
    """Configure the default client. Never blocks.

    It takes the arguments of `Client`. A previous default client stays open for the run handles that it created.

    Raises:
        ConfigurationError: a setting is missing or not valid; the message names the argument and the variable.

    Examples:
        >>> lume_async.init(request_timeout=30, max_connections=20)
    """
    api_key, base_url = veiled(api_key), veiled(base_url)
    check_names("init", client_options, ClientOptions.__annotations__, "api_key", "base_url")
    client_options["proxy"] = veiled(client_options.get("proxy"))
    client_options["token"] = veiled(client_options.get("token"))
    client_options["headers"] = veiled_headers(client_options.get("headers"))
    _default["client"] = Client(api_key, base_url=base_url, **client_options)


async def run(
    flow_version: str,
    source_path: str | None = None,
    run_metadata: JsonObject | None = None,
    force_rerun: bool = False,
    *,
    data: SourceData | None = None,
    seeds: SeedData | None = None,
    layout: str | None = None,
    idempotency_key: str | None = None,
    on_duplicate: OnDuplicate = "raise",
    webhook_url: str | None = None,
    priority: int = 0,
    progress: OnProgress | None = None,
) -> LumeRun:
    """Start a run and return at once, through the default client; see `Client.run`.

    Examples:
        >>> run = await lume_async.run("customer_cleaner:v1", "march.csv")
        >>> await run.wait()
    """
    return await default_client().run(
        flow_version,
        source_path,
        run_metadata,
        force_rerun,
        data=data,
        seeds=seeds,
        layout=layout,
        idempotency_key=idempotency_key,
        on_duplicate=on_duplicate,
        webhook_url=webhook_url,
        priority=priority,
        progress=progress,
    )


async def run_status(run_id: str) -> LumeRun:
    """Get the current state of a run, through the default client; see `Client.run_status`.

    Examples:
        >>> run = await lume_async.run_status(run.id)
    """
    return await default_client().run_status(run_id)


def attach(run_id: str) -> LumeRun:
    """Return a handle on an existing run, without a request; see `Client.attach`.

    Examples:
        >>> run = lume_async.attach(run.id)
    """
    return default_client().attach(run_id)


async def wait_for_run_completion(
    run_id: str,
    max_attempts: int = 10,
    initial_delay: Duration = 5,
    *,
    max_delay: Duration = 60,
    timeout: Duration | None = None,
) -> LumeRun:
    """Poll a run until it has ended, with delays that double; see `Client.wait_for_run_completion`.

    Examples:
        >>> run = await lume_async.wait_for_run_completion(run.id)
    """
    return await default_client().wait_for_run_completion(
        run_id, max_attempts, initial_delay, max_delay=max_delay, timeout=timeout
    )


def watch(
    run: LumeRun | str, *, poll_interval: PollInterval = None, timeout: Duration | None = None
) -> Items[LumeRun]:
    """Follow a run: yield a snapshot at once and at every change of its status; see `Client.watch`.

    Examples:
        >>> async for state in lume_async.watch(run.id):
        ...     print(state.status)
    """
    return default_client().watch(run, poll_interval=poll_interval, timeout=timeout)


def as_completed(
    runs: Iterable[LumeRun | str], *, timeout: Duration | None = None, poll_interval: PollInterval = None
) -> Items[Outcome[LumeRun]]:
    """Yield one `Outcome` per run (or ID), in completion order; see `Client.as_completed`.

    Examples:
        >>> async for outcome in lume_async.as_completed(runs):
        ...     print(outcome.run_id, outcome.error or outcome.run.status)
    """
    return default_client().as_completed(runs, timeout=timeout, poll_interval=poll_interval)


async def wait_all(
    runs: Iterable[LumeRun | str], *, timeout: Duration | None = None, poll_interval: PollInterval = None
) -> list[Outcome[LumeRun]]:
    """Return one `Outcome` per run (or ID), in the order of `runs`; see `Client.wait_all`.

    Examples:
        >>> outcomes = await lume_async.wait_all(runs, timeout=600)
    """
    return await default_client().wait_all(runs, timeout=timeout, poll_interval=poll_interval)


def run_many(
    requests: Iterable[RunRequest] | AsyncIterable[RunRequest],
    *,
    max_active: int = 100,
    journal: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    on_duplicate: OnDuplicate = "raise",
    timeout: Duration | None = None,
    poll_interval: PollInterval = None,
) -> Items[Outcome[LumeRun]]:
    """Submit requests with bounded concurrency; yield one `Outcome` each; see `Client.run_many`.

    Examples:
        >>> requests = [RunRequest("customer_cleaner:v1", path) for path in ("july.csv", "august.csv")]
        >>> outcomes = [outcome async for outcome in lume_async.run_many(requests)]
    """
    return default_client().run_many(
        requests,
        max_active=max_active,
        journal=journal,
        retry_failed=retry_failed,
        on_duplicate=on_duplicate,
        timeout=timeout,
        poll_interval=poll_interval,
    )


def monitor(*, max_in_flight: int = 64, poll_interval: PollInterval = None) -> Monitor:
    """Watch any number of runs continuously; see `Client.monitor`.

    Examples:
        >>> async with lume_async.monitor() as monitor:
        ...     monitor.add(run)
        ...     event = await anext(monitor)
    """
    return default_client().monitor(max_in_flight=max_in_flight, poll_interval=poll_interval)


def list_runs(
    *,
    flow_version: str | None = None,
    flow: str | None = None,
    source_path: str | None = None,
    source: str | None = None,
    status: RunStatus | str | Collection[RunStatus | str] | None = None,
    since: datetime | Duration | None = None,
    attention: float | None = None,
    submitted_by: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Paged[LumeRun]:
    """Yield the runs that match, newest first; see `Client.list_runs`.

    Examples:
        >>> failed = [run async for run in lume_async.list_runs(status="FAILED", limit=10)]
    """
    return default_client().list_runs(
        flow_version=flow_version,
        flow=flow,
        source_path=source_path,
        source=source,
        status=status,
        since=since,
        attention=attention,
        submitted_by=submitted_by,
        limit=limit,
        cursor=cursor,
    )


def progress(
    outcomes: Iterable[Outcome[object]] | AsyncIterable[Outcome[object]],
    *,
    total: int | None = None,
    every: Duration = 1.0,
) -> Items[Progress]:
    """Yield snapshots of the progress of many runs: one at once, one every `every` seconds, and one at the end.

    It consumes the outcomes, so don't read them elsewhere; `Progress.summary` counts them. Leaving this iteration
    also ends theirs.

    Args:
        outcomes: the result of `run_many` or `as_completed`.
        total: the number of outcomes to expect, for the estimate of the remaining time.
        every: seconds (or a `timedelta`) between two snapshots.

    Raises:
        ValueError: an argument is not valid.
        Exception: an exception that reading the outcomes raised, after a snapshot with those before it.

    Examples:
        >>> async for state in lume_async.progress(client.as_completed(runs), total=len(runs)):
        ...     print(state)
    """
    return _progress.progress(outcomes, total=total, every=every)


async def dry_run(
    flow_version: str,
    source_path: str,
    run_metadata: JsonObject | None = None,
    *,
    seeds: SeedData | None = None,
    layout: str | None = None,
    limit: int = 100,
    timeout: Duration | None = 3600,
) -> DryRun:
    """Execute a run without publishing anything; see `Client.dry_run`.

    Examples:
        >>> found = await lume_async.dry_run("customer_cleaner:v1", "customers.csv", limit=5)
    """
    return await default_client().dry_run(
        flow_version, source_path, run_metadata, seeds=seeds, layout=layout, limit=limit, timeout=timeout
    )


async def statistics(
    *,
    by: CountedBy | Sequence[CountedBy] = "status",
    since: datetime | Duration | None = None,
    flow: str | None = None,
    order: CountOrder = "dimensions",
    limit: int = 1000,
) -> list[RunCount]:
    """Count runs and their rows; see `Client.statistics`.

    Examples:
        >>> counts = await lume_async.statistics(by="flow_version", order="rejected")
    """
    return await default_client().statistics(by=by, since=since, flow=flow, order=order, limit=limit)


async def arrivals(
    *, name: str | None = None, state: ArrivalState | None = None, limit: int = 100
) -> ArrivalReport:
    """Report what arrives at the server; see `Client.arrivals`.

    Examples:
        >>> report = await lume_async.arrivals(state="refused")
    """
    return await default_client().arrivals(name=name, state=state, limit=limit)


async def forget(
    match: Mapping[str, str], *, dry_run: bool = True, ignore_case: bool = False, tables: bool = False
) -> ForgetReport:
    """Remove the rows of a person, or count them; see `Client.forget`.

    Examples:
        >>> report = await lume_async.forget({"email": "ada@example.com"})
    """
    return await default_client().forget(match, dry_run=dry_run, ignore_case=ignore_case, tables=tables)


async def retry_arrivals(name: str, *, paths: Sequence[str] = ()) -> list[ArrivalFile]:
    """Take files again that have failed or were refused; see `Client.retry_arrivals`.

    Examples:
        >>> for arrival in (await lume_async.arrivals()).arrivals:
        ...     files = await lume_async.retry_arrivals(arrival.name)
    """
    return await default_client().retry_arrivals(name, paths=paths)


def audit(
    *,
    by: str | None = None,
    what: str | None = None,
    since: datetime | Duration | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Paged[AuditEntry]:
    """Yield who did what at the server and when; see `Client.audit`.

    Examples:
        >>> entries = [entry async for entry in lume_async.audit(limit=10)]
    """
    return default_client().audit(by=by, what=what, since=since, limit=limit, cursor=cursor)


async def inbox(*, flow: str | None = None, since: datetime | Duration | None = None) -> Inbox:
    """Count the open rejected rows of all runs; see `Client.inbox`.

    Examples:
        >>> inbox = await lume_async.inbox()
    """
    return await default_client().inbox(flow=flow, since=since)


def open_rejects(
    *,
    flow: str | None = None,
    reason: str | Sequence[str] | None = None,
    since: datetime | Duration | None = None,
    run: str | None = None,
    state: RowState = "open",
    assignee: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Paged[dict[str, Any]]:
    """Yield rejected rows of many runs; see `Client.open_rejects`.

    Examples:
        >>> rows = [row async for row in lume_async.open_rejects(run=run.id)]
    """
    return default_client().open_rejects(
        flow=flow,
        reason=reason,
        since=since,
        run=run,
        state=state,
        assignee=assignee,
        limit=limit,
        cursor=cursor,
    )


async def assign_rejects(
    assignee: str | None,
    *,
    comment: str | None = None,
    flow: str | None = None,
    reason: str | Sequence[str] | None = None,
    since: datetime | Duration | None = None,
    run: str | None = None,
    rows: Sequence[int] | None = None,
) -> int:
    """Note who works on open rejected rows, and a comment; see `Client.assign_rejects`.

    Examples:
        >>> count = await lume_async.assign_rejects("ann", run=run.id, rows=[1])
    """
    return await default_client().assign_rejects(
        assignee, comment=comment, flow=flow, reason=reason, since=since, run=run, rows=rows
    )


async def discard_rejects(
    why: str,
    *,
    flow: str | None = None,
    reason: str | Sequence[str] | None = None,
    since: datetime | Duration | None = None,
    run: str | None = None,
    rows: Sequence[int] | None = None,
) -> int:
    """Note that nothing is left to do about open rejected rows; see `Client.discard_rejects`.

    Examples:
        >>> count = await lume_async.discard_rejects("test data", run=run.id, rows=[1])
    """
    return await default_client().discard_rejects(
        why, flow=flow, reason=reason, since=since, run=run, rows=rows
    )


async def replay(
    flow: str,
    *,
    to: str | None = None,
    reason: str | Sequence[str] | None = None,
    since: datetime | Duration | None = None,
    dry_run: bool = False,
    timeout: Duration | None = 3600,
) -> Replay:
    """Send open rejected rows of a flow through one of its versions; see `Client.replay`.

    Examples:
        >>> replay = await lume_async.replay("customer_cleaner", dry_run=True)
    """
    return await default_client().replay(
        flow, to=to, reason=reason, since=since, dry_run=dry_run, timeout=timeout
    )


async def register_flow(flow: str | os.PathLike[str] | JsonObject) -> FlowVersion:
    """Register a flow version from a file, its text, or a dict; see `Client.register_flow`.

    Examples:
        >>> version = await lume_async.register_flow("flows/customer_cleaner.v2.toml")
    """
    return await default_client().register_flow(flow)


async def flow_version(ref: str) -> FlowVersion:
    """Get a flow version as it was registered; see `Client.flow_version`.

    Examples:
        >>> version = await lume_async.flow_version("customer_cleaner:v1")
    """
    return await default_client().flow_version(ref)


async def propose(
    flow_or_schema: str | JsonObject,
    samples: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    flow: str | None = None,
    source: JsonObject | None = None,
    choices: Mapping[str, str | JsonObject | None] | None = None,
    inline_lookups: bool = False,
    dry_run: bool = False,
) -> Proposal:
    """Propose how samples become rows of a target; see `Client.propose`.

    Examples:
        >>> proposal = await lume_async.propose("customer_cleaner", "customers.csv")
    """
    return await default_client().propose(
        flow_or_schema,
        samples,
        flow=flow,
        source=source,
        choices=choices,
        inline_lookups=inline_lookups,
        dry_run=dry_run,
    )


def table(flow: str, *, as_of: datetime | None = None, source: str | None = None) -> Rows:
    """Return the current clean rows of a flow, each once, through the default client; see `Client.table`.

    Examples:
        >>> frame = await lume_async.table("customer_cleaner").to_polars()
    """
    return default_client().table(flow, as_of=as_of, source=source)


def list_flows(flow: str | None = None) -> Items[FlowSummary]:
    """Yield the registered flow versions; see `Client.list_flows`.

    Examples:
        >>> versions = [found.flow_version async for found in lume_async.list_flows()]
    """
    return default_client().list_flows(flow)


async def upload(
    source: SourceData,
    *,
    name: str | None = None,
    flow_version: str | None = None,
    progress: OnProgress | None = None,
) -> str:
    """Send data of this program to the server's staging area; see `Client.upload`.

    Returns:
        The `source_path` to pass to `run`.

    Examples:
        >>> path = await lume_async.upload("customers.csv", name="customers_march.csv")
    """
    return await default_client().upload(source, name=name, flow_version=flow_version, progress=progress)


async def upload_file(path: str | os.PathLike[str], *, flow_version: str | None = None) -> str:
    """Stream a local file to the server's staging area (beta); see `Client.upload_file`.

    Examples:
        >>> path = await lume_async.upload_file("customers.csv")
    """
    return await default_client().upload_file(path, flow_version=flow_version)


async def aclose() -> None:
    """Close the default client; the next call creates a new one from the environment.

    Examples:
        >>> await lume_async.aclose()
    """
    client = _default.pop("client", None)
    if client is not None:
        await client.aclose()
