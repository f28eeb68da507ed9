"""`serve` and `serve_in_thread`: a server as long as a block lasts, in the caller's event loop or in a thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lume_local._assembly import assembled
from lume_local._flow.engine import SHARD_BYTES
from lume_local._http.console import Console
from lume_local._owned import owned
from lume_local._runs.runner import Runner
from lume_local._settings import (
    CONSOLE_HOSTS,
    KEEP,
    MOST_UPLOADED,
    RUN_TIMEOUT,
    WEBHOOK_HOSTS,
    AnyPath,
    Settings,
)

if TYPE_CHECKING:
    import lume_async
    import lume_sync


class Server:
    """A running server.

    Attributes:
        base_url: where it listens, such as `http://127.0.0.1:41234`.
        api_key: the key that requests must carry.
    """

    def __init__(self, base_url: str, api_key: str, runner: Runner, console: Console) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self._runner = runner
        self._console = console

    def __repr__(self) -> str:
        return f"<lume_local.Server {self.base_url}>"

    def client(self, **options: Any) -> "lume_async.Client":
        """A `lume_async.Client` for this server; `options` are the client's own. Close it."""
        from lume_async import Client

        return Client(self.api_key, base_url=self.base_url, **options)

    def console_url(self) -> str:
        """A new link to the console, for a browser. It works once, until the server ends."""
        # An address that means all of a machine's is for listening: browsers refuse it.
        address = self.base_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        return f"{address}/#token={self._console.token()}"

    def workers(self) -> dict[str, int]:
        """The process id of each active run's worker, by run id."""
        return self._runner.workers()


class ThreadedServer:
    """A server that runs in a thread of its own.

    Attributes:
        base_url: where it listens.
        api_key: the key that requests must carry.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.base_url = server.base_url
        self.api_key = server.api_key

    def console_url(self) -> str:
        """A new link to the console, for a browser. It works once, until the server ends."""
        return self._server.console_url()

    def workers(self) -> dict[str, int]:
        """The process id of each active run's worker, by run id."""
        return self._server.workers()

    def __repr__(self) -> str:
        return f"<lume_local.ThreadedServer {self.base_url}>"

    def client(self, **options: Any) -> "lume_sync.Client":
        """A `lume_sync.Client` for this server; `options` are the client's own. Close it."""
        from lume_sync import Client

        return Client(self.api_key, base_url=self.base_url, **options)


@asynccontextmanager
async def serve(
    flows: AnyPath | None = "flows",
    data: AnyPath = ".lume",
    roots: Sequence[AnyPath] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    max_active: int | None = None,
    *,
    max_upload_bytes: int = MOST_UPLOADED,
    webhook_secret: str | bytes | Sequence[str | bytes] | None = None,
    webhook_hosts: Sequence[str] = WEBHOOK_HOSTS,
    keep: float | timedelta | None = KEEP,
    run_timeout: float | timedelta | None = RUN_TIMEOUT,
    dev: bool = False,
    keys: AnyPath | None = None,
    uploads_quota: int | None = None,
    keep_uploads: float | timedelta | None = None,
    keep_output: float | timedelta | None = None,
    console_hosts: Sequence[str] = CONSOLE_HOSTS,
    lineage_url: str | None = None,
    lineage_key: str | None = None,
    lineage_namespace: str = "lume",
    engine: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> AsyncIterator[Server]:
    """Run a server as long as the block lasts.

    Args:
        flows: the folder with flow versions (`*.toml`); None for none. Read at the start, and again when a version
            is asked for that isn't known.
        data: the folder for state and output; made where it doesn't exist. One server per folder.
        roots: the folders that source files may lie in; by default the current one and `data`. Relative source
            paths belong to the first. URLs such as `s3://bucket/folder` allow objects below them.
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        api_key: the key that requests must carry; made up where none is given.
        max_active: how many runs are worked on at a time; the others wait. By default 2, or as many as the cluster of
            `engine` has slots.
        max_upload_bytes: of one upload, by default 10 GiB. They lie in `data`/uploads.
        webhook_secret: what deliveries are signed with, for `lume_async.webhooks`; two while it is rotated, of which
            the first signs `X-Lume-Signature-256`. Without one, requests that name a `webhook_url` are refused. The
            end of a run is delivered at least once: 8 attempts, 2 s, 4 s, 8 s … apart, also after a restart.
        webhook_hosts: the hosts that a `webhook_url` may name, by default none: `host` or `host:port`, compared
            literally. This machine needs its port (`127.0.0.1:9000`), and no other name may lead to it. Redirects are
            not followed.
        keep: how long idempotency keys, the change feed and settled webhook deliveries are kept, by default 30
            days: seconds or a timedelta, None for ever. What is older is dropped at the start and daily: a request
            that is repeated later counts as a new one. Runs are never dropped.
        run_timeout: how long one run may take, by default a day: seconds or a timedelta, None for any time. One that
            takes longer is FAILED.
        dev: whether a flow version changes with its file even after it has run. Such a server is for writing flows:
            every run of it says in its metadata (`notes`) with which content it was made.
        keys: a file of further keys, each with a role: `read`, `submit` or `admin`; `lume key new` writes it. It is
            read again when it changes. `api_key` may do everything.
        uploads_quota: the bytes that all uploads may have together; by default any number.
        keep_uploads: how long uploads are kept, by default for ever; none that an unfinished run reads is removed.
        keep_output: how long the files are kept that runs have written, by default for ever. Their runs stay, and
            their sources count as processed.
        console_hosts: the names that browsers may open the console by, besides `host`, `localhost`, IP addresses and
            the name of this machine: that of a proxy in front, say.
        lineage_url: where the start and the end of each run are told to, as events of OpenLineage, delivered as
            webhooks are; by default nowhere.
        lineage_key: the key for that address, sent as `Authorization: Bearer`.
        lineage_namespace: what the jobs of this server belong to there.
        engine: what spreads a run over shards of its source: `pool` for the cores of this machine, `pool://4` for so
            many processes, or a cluster: `dask://host:8786`, `spark://host:7077`, `sc://host:15002` (Spark Connect),
            `ray://host:10001`; by default each run is one worker's. What a run gives is the same.
        shard_bytes: about how large a shard is. A source that is not larger is one worker's, or one task of the
            cluster.

    Raises:
        ConfigurationError: a setting makes no sense, a flow file has a mistake, the data folder is in use, the
            address can't be used.
    """
    settings = Settings.of(
        flows,
        data,
        roots,
        host,
        port,
        api_key,
        max_active,
        max_upload_bytes,
        webhook_secret,
        webhook_hosts,
        keep,
        run_timeout,
        dev,
        keys,
        uploads_quota,
        keep_uploads,
        keep_output,
        console_hosts,
        lineage_url,
        lineage_key,
        lineage_namespace,
        engine,
        shard_bytes,
    )
    async with owned(assembled(settings), "lume_local server") as (base_url, runner, console):
        yield Server(base_url, settings.api_key, runner, console)


@contextmanager
def serve_in_thread(
    flows: AnyPath | None = "flows",
    data: AnyPath = ".lume",
    roots: Sequence[AnyPath] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    max_active: int | None = None,
    *,
    max_upload_bytes: int = MOST_UPLOADED,
    webhook_secret: str | bytes | Sequence[str | bytes] | None = None,
    webhook_hosts: Sequence[str] = WEBHOOK_HOSTS,
    keep: float | timedelta | None = KEEP,
    run_timeout: float | timedelta | None = RUN_TIMEOUT,
    dev: bool = False,
    keys: AnyPath | None = None,
    uploads_quota: int | None = None,
    keep_uploads: float | timedelta | None = None,
    keep_output: float | timedelta | None = None,
    console_hosts: Sequence[str] = CONSOLE_HOSTS,
    lineage_url: str | None = None,
    lineage_key: str | None = None,
    lineage_namespace: str = "lume",
    engine: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Iterator[ThreadedServer]:
    """Run a server in a thread as long as the block lasts, for synchronous code; as `serve` otherwise."""
    options: dict[str, Any] = {
        "flows": flows,
        "data": data,
        "roots": roots,
        "host": host,
        "port": port,
        "api_key": api_key,
        "max_active": max_active,
        "max_upload_bytes": max_upload_bytes,
        "webhook_secret": webhook_secret,
        "webhook_hosts": webhook_hosts,
        "keep": keep,
        "run_timeout": run_timeout,
        "dev": dev,
        "keys": keys,
        "uploads_quota": uploads_quota,
        "keep_uploads": keep_uploads,
        "keep_output": keep_output,
        "console_hosts": console_hosts,
        "lineage_url": lineage_url,
        "lineage_key": lineage_key,
        "lineage_namespace": lineage_namespace,
        "engine": engine,
        "shard_bytes": shard_bytes,
    }
    host_thread = _ServerThread(options)
    server = host_thread.start()
    try:
        yield ThreadedServer(server)
    finally:
        host_thread.stop()


class _ServerThread:
    """The thread, and the way in and out of it."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._thread = threading.Thread(target=self._main, name="lume_local server", daemon=True)
        self._settled = threading.Event()
        self._server: Server | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    def start(self) -> Server:
        """Wait until the server listens. Raises what `serve` raises."""
        self._thread.start()
        self._settled.wait()
        if self._server is None:
            self._thread.join()
            assert self._error is not None
            raise self._error
        return self._server

    def stop(self) -> None:
        """End the server and wait for it. Raises what its shutdown raises."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop has ended already, with an error that is raised below
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with serve(**self._options) as server:
            self._server = server
            self._settled.set()
            await self._stop.wait()
