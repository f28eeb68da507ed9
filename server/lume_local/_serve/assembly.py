"""Creates the parts of a server, and closes them in reverse order."""

import errno
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio.abc import TaskGroup

from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_local._http.access.keys import ApiKeys
from lume_local._http.access.sign_in import SignIn
from lume_local._http.access.tokens import Tokens
from lume_local._http.console import Console, Sessions
from lume_local._http.draft_operations import KEPT, DraftsApi
from lume_local._http.flow_operations import FlowsApi, ProposalsApi
from lume_local._http.front import Front
from lume_local._http.listener import Listener, RenewedContext, Standby
from lume_local._http.reject_operations import RejectsApi
from lume_local._http.result_operations import ResultsApi
from lume_local._http.routes import Operations
from lume_local._http.run_operations import RunsApi
from lume_local._http.server_operations import ArrivalsApi, ForgetApi, ServerApi
from lume_local._http.telemetry import ServerMetrics, Telemetry
from lume_local._http.upload_operations import UploadsApi
from lume_local._http.uploading.uploads import Uploads
from lume_local._runs.deliveries.http_carriers import http_carriers
from lume_local._runs.deliveries.message_carrier import MessageCarrier
from lume_local._runs.deliveries.outbox import DeliveryOutbox
from lume_local._runs.dry_run import DryRuns
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.forget import Forgetter
from lume_local._runs.health import Health
from lume_local._runs.proposals import Proposals
from lume_local._runs.purge import Purger
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.recovery.late import Late, Leftovers
from lume_local._runs.recovery.old_files import LostRejects, OldFiles
from lume_local._runs.recovery.settle import Settler
from lume_local._runs.rejected.mends import Mends
from lume_local._runs.rejected.replays import Replays, remove_source
from lume_local._runs.rejected.suggestions import Suggestions
from lume_local._runs.row_reader import RowReader
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.resolver import SourceResolver
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun
from lume_local._runs.times import ago_text
from lume_local._runs.unusual import has_rejects
from lume_local._runs.upkeep import AT_ONCE, Acts, sweep_daily
from lume_local._runs.waiters import Hub
from lume_local._runs.workers.child import Secrets
from lume_local._runs.workers.engine_process import EngineFailed, EngineProcess
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._serve.settings import ServerSettings
from lume_local._serve.state import State, opened_state
from lume_local._shards.executor import is_cluster, kind_of
from lume_local._shared.commit import explain
from lume_local._shared.protocol import Json

if TYPE_CHECKING:
    from lume_local._arrivals.arrivals import Arrivals
    from lume_local._messages.messenger import Messenger

MAX_ACTIVE = 2
"""The default number of simultaneous runs without a cluster."""


@asynccontextmanager
async def assembled(settings: ServerSettings) -> AsyncIterator[tuple[str, Runner, Console]]:
    """Run a server for the duration of the block; yield its URL, runs and console. Raises `ConfigurationError`."""
    arrivals, messenger = None, None
    own = settings.secrets
    # Imported only for a server that has them. Mistakes in arrivals are reported before mistakes in messages.
    if settings.arrivals is not None:
        from lume_local._arrivals.arrivals import Arrivals

        arrivals = Arrivals(settings.arrivals)
    if settings.messages is not None:
        from lume_local._messages.messenger import Messenger

        messenger = Messenger(settings.messages)

    def secrets() -> frozenset[str]:
        return own if messenger is None else own | messenger.rules.secrets()

    hub = Hub()
    listener = Listener(Standby(), hub)
    async with AsyncExitStack() as stack:
        if settings.state_url is not None:  # answer requests while waiting for the state
            await stack.enter_async_context(_listening(listener, settings, listener.front))
        state = await stack.enter_async_context(opened_state(settings))
        engine, max_active = await stack.enter_async_context(_engine(settings, state.health, secrets))
        max_active = settings.max_active or max_active
        server = _running(settings, state, listener, hub, engine, max_active, secrets, arrivals, messenger)
        yield await stack.enter_async_context(server)


@asynccontextmanager
async def _engine(
    settings: ServerSettings, health: Health, secrets: Secrets
) -> AsyncIterator[tuple[Json | None, int]]:
    """Yield the engine for the jobs of runs, and the number of simultaneous runs."""
    url = settings.engine
    if url is None or not is_cluster(url):
        yield settings.shards, MAX_ACTIVE
        return
    process = EngineProcess(url, settings.places.runs.parent, health, secrets)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(process.running())
        except EngineFailed as error:
            raise ConfigurationError(str(error)) from None
        except OSError as error:
            raise ConfigurationError(f"the engine can't be used: {error}") from None
        for_jobs = {"url": process.url, "kind": kind_of(url), "shard_bytes": settings.shard_bytes}
        yield for_jobs, process.slots


@asynccontextmanager
async def _running(
    settings: ServerSettings,
    state: State,
    listener: Listener,
    hub: Hub,
    engine: Json | None,
    max_active: int,
    secrets: Secrets,
    arrivals: "Arrivals | None",
    messenger: "Messenger | None",
) -> AsyncIterator[tuple[str, Runner, Console]]:
    places, store, health = settings.places, state.store, state.health
    uploads = _opened_uploads(places, settings)
    pool = WorkerPool(max_active, health, secrets=secrets)
    metrics = ServerMetrics.of()
    watch = Telemetry(metrics)
    carriers = [*http_carriers(settings.webhooks, settings.lineage)]
    if messenger is not None:
        carriers.append(MessageCarrier(health, secrets))
    outbox = DeliveryOutbox(store.deliveries, carriers, health, watch.delivery_given_up)
    flows = FlowRegistry(store, await store.flows(), pool, settings.flows, dev=settings.dev)

    on_notice = None if messenger is None else messenger.wake

    def on_message() -> None:
        outbox.wake()
        if on_notice is not None:
            on_notice()

    def run_ended(run: StoredRun) -> None:
        watch.run_ended(run)
        remove_source(run, places.uploads)
        if arrivals is not None:
            arrivals.run_ended(run)
        if has_rejects(run.run_metadata):
            runner.wake_lanes()  # others may wait for their turn

    recorder = RunRecorder(
        store, hub, health, on_message, run_ended, settings.lineage, tells=messenger is not None
    )
    paths = RunPaths(places, flows, store, engine)
    settler = Settler(store, recorder, paths, pool)
    late = Late(settler, paths, health)
    acts = Acts(store.audit, health)
    listener.on_reload = acts.reloaded

    def keys_changed(path: Path, **found: int) -> None:
        acts.reloaded(path, **found)
        runner.wake_lanes()  # a key may have more active runs now

    keys = ApiKeys(settings.api_key, settings.keys, keys_changed)
    if arrivals is not None:
        arrivals.on_reload = acts.reloaded
    if messenger is not None:
        messenger.rules.on_reload = acts.reloaded
    runner = Runner(
        *(store, recorder, paths, pool, settler, late, health, max_active, settings.run_timeout),
        at_limit=keys.at_limit,
        drain=settings.drain or 0.0,
    )
    reader = RowReader(places.state / "rows", health, secrets)
    dry_runs = DryRuns(paths, pool, reader, settings.run_timeout)
    resolver = SourceResolver(flows, places, store.sources, reader.pool)
    replays = Replays(store, flows, runner, dry_runs, resolver, reader, places)
    mends = Mends(store, replays)
    files = OldFiles(store, places, uploads.remove_old)
    forgetter = Forgetter(store, flows, places, reader.pool, settler, uploads.remove_old, settings.archive)
    tokens = Tokens()
    public = urlsplit(settings.public_url or "").hostname
    hosts = (settings.host, *settings.console_hosts, *([public] if public else []))
    console = Console(Sessions(), keys, hosts, SignIn(tokens, keys))
    operations = Operations(
        RunsApi(store, runner, hub, settings.webhooks, dry_runs, resolver, flows, files),
        ServerApi(store, runner, health),
        FlowsApi(store, flows),
        ProposalsApi(store, flows, Proposals(places, reader.pool), dry_runs),
        ResultsApi(store, flows, reader, places),
        RejectsApi(store, flows, reader, places, replays),
        DraftsApi(store, flows, mends, Suggestions(mends, reader), replays, keys.has_other),
        UploadsApi(flows, uploads),
        ArrivalsApi(arrivals, store, flows),
        ForgetApi(forgetter, store),
        console,
        watch,
    )
    front = Front(operations, keys, tokens, settings.keep)
    if metrics is not None:
        _add_gauges(metrics, store, runner, pool, health)
        if arrivals is not None:
            metrics.arriving(arrivals.counts)
    async with (
        task_group() as upkeep,
        pool.running(),
        reader.running(),
        tokens.running(),
    ):
        await _load_flows(settings, flows, pool)
        await replays.clear()
        await forgetter.recover()
        upkeep.start_soon(store.follow, hub.notify)
        upkeep.start_soon(acts.note)
        upkeep.start_soon(late.carry_out)
        upkeep.start_soon(Leftovers(settler, paths, health).undo_all)
        upkeep.start_soon(sweep_daily, uploads.remove_abandoned, "removing abandoned uploads", health)
        _start_upkeep(upkeep, settings, state, files, reader.pool)
        async with (
            outbox.running(),
            runner.running(),
            nullcontext()
            if arrivals is None
            else arrivals.running(store, flows, runner, resolver, places, on_notice),
            _listening(listener, settings, front) as base_url,
            nullcontext()
            if messenger is None
            else messenger.running(
                store.messages, health, outbox.wake, settings.public_url or for_browsers(base_url)
            ),
        ):
            try:
                yield base_url, runner, console
            finally:
                if not state.is_lost():
                    await runner.drain()  # while the server still answers
        upkeep.cancel_scope.cancel()


def for_browsers(base_url: str) -> str:
    """Return the address of a server for this machine's browsers, which refuse the address of all interfaces."""
    return base_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _start_upkeep(
    upkeep: TaskGroup, settings: ServerSettings, state: State, files: OldFiles, pool: WorkerPool
) -> None:
    """Start the hourly and daily tasks of a running server."""
    store, health = state.store, state.health
    for work in state.upkeep:
        upkeep.start_soon(work)
    upkeep.start_soon(sweep_daily, LostRejects(store).check, "looking for rejects", health)
    if settings.keep_runs is not None:
        has_end = settings.keep_output is not None
        purger = Purger(store.purge, settings.keep_runs, settings.archive, pool, outputs=has_end)
        upkeep.start_soon(sweep_daily, purger.step, "removing old runs", health)
    kept: tuple[tuple[float | None, Callable[[float], Awaitable[int]], str], ...] = (
        (settings.keep, lambda keep: store.forget(ago_text(keep), AT_ONCE), "dropping old rows"),
        (KEPT, lambda keep: store.drafts.expire(ago_text(keep), 1), "dropping old drafts"),
        (settings.keep_audit, lambda keep: store.audit.forget(ago_text(keep), AT_ONCE), "dropping old acts"),
        (settings.keep_uploads, files.remove_uploads, "removing old uploads"),
        (settings.keep_output, files.remove_outputs, "removing old outputs"),
    )
    for keep, remove, what in kept:
        if keep is not None:
            upkeep.start_soon(sweep_daily, partial(remove, keep), what, health)


def _add_gauges(
    metrics: ServerMetrics, store: SqlStore, runner: Runner, pool: WorkerPool, health: Health
) -> None:
    metrics.counted("lume_runs_waiting", "Runs that have not begun.", store.waiting)
    metrics.gauge("lume_runs_active", "Runs that have a worker process.", lambda: len(runner.workers()))
    metrics.gauge("lume_workers", "Worker processes, idle ones included.", lambda: pool.size)
    pending = store.deliveries.pending
    metrics.counted("lume_deliveries_pending", "Webhooks that are to be delivered.", pending)
    metrics.gauge("lume_healthy", "1 if the server can do its work, else 0.", lambda: not health.reasons())
    metrics.gauge(
        "lume_backup_age_seconds",
        "Seconds since the copy of the state was made; NaN before the first.",
        lambda: math.nan if (age := health.backup_age()) is None else age,
    )
    waiting = (
        "Runs that wait for something elsewhere: to put their output in place, to undo what they began, or for a "
        "process of an earlier server that holds them."
    )
    metrics.gauge("lume_waiting_elsewhere", waiting, health.runs_waiting)


async def _load_flows(settings: ServerSettings, flows: FlowRegistry, pool: WorkerPool) -> None:
    pool.warm()
    if settings.flows is None:
        return
    try:
        await flows.load(settings.flows)
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can be started: {error}") from None


def _opened_uploads(places: Roots, settings: ServerSettings) -> Uploads:
    uploads = Uploads(places.uploads, settings.max_upload_bytes, settings.uploads_quota)
    try:
        uploads.open()
    except OSError as error:
        raise ConfigurationError(f"the folder {places.uploads} can't be used: {explain(error)}") from None
    return uploads


@asynccontextmanager
async def _listening(
    listener: Listener, settings: ServerSettings, front: Front | Standby
) -> AsyncIterator[str]:
    """Let `front` answer requests for the duration of the block, even if a standby does so; then refuse them."""
    listener.front = front
    if listener.base_url is None:
        host, port, tls = settings.host, settings.port, None
        if settings.tls_cert is not None and settings.tls_key is not None:
            tls = RenewedContext(
                settings.tls_cert, settings.tls_key, lambda path: listener.on_reload(path)
            ).context
        try:
            await listener.open(host, port, tls)
        except (OSError, UnicodeError) as error:
            await listener.close()
            raise ConfigurationError(f"can't listen on {host}:{port}: {_why(error)}") from None
    assert listener.base_url is not None
    try:
        yield listener.base_url
    finally:
        await listener.close()


def _why(error: OSError | UnicodeError) -> str:
    """Return why an address can't be listened on."""
    if isinstance(error, UnicodeError):
        return "it is not the name of a host"
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; pass another port=, or port=0 for a free one"
    if error.errno == errno.EACCES:
        return "ports below 1024 need special rights; pass another port=, or port=0 for a free one"
    if error.errno in (
        None,
        errno.EADDRNOTAVAIL,
    ):  # asyncio reports the failure of several addresses without a number
        return 'this machine has no such address; "0.0.0.0" is all that it has'
    return error.strerror or str(error)
