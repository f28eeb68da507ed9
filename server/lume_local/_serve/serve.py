"""`serve` and `serve_in_thread`: run a server for the duration of a block, in the caller's loop or in a thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar, Unpack

from lume_async._base.owned import Owned
from lume_local._http.console import Console
from lume_local._runs.runner import Runner
from lume_local._serve.assembly import assembled, for_browsers
from lume_local._serve.options import AnyPath, ServerOptions
from lume_local._serve.settings import ServerSettings

T = TypeVar("T")


@asynccontextmanager
async def owned(block: AbstractAsyncContextManager[T], name: str) -> AsyncIterator[T]:
    """Enter and leave the block in one task. If it fails meanwhile, so does the body of this block."""
    host = asyncio.current_task()
    assert host is not None
    broke = False

    def on_break() -> None:
        nonlocal broke
        broke = True
        host.cancel()

    owner = Owned(block, name, on_break)
    value = await owner.open()
    try:
        yield value
    except asyncio.CancelledError:
        if not broke:
            raise
        host.uncancel()  # cancelled by `on_break`; the owner's error says why
    finally:
        await owner.close()


if TYPE_CHECKING:
    import lume_async
    import lume_sync


class Server:
    """A running server.

    Attributes:
        base_url: the address that it listens at, such as `http://127.0.0.1:41234`.
        api_key: the key that requests must carry.
    """

    def __init__(self, base_url: str, api_key: str, runner: Runner, console: Console) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self._runner = runner
        self._console = console

    def __repr__(self) -> str:
        return f"<lume_local.Server {self.base_url}>"

    def client(self, **options: "Unpack[lume_async.ClientOptions]") -> "lume_async.Client":
        """Return a `lume_async.Client` for this server; `options` are the client's own. Close it."""
        from lume_async import Client

        return Client(self.api_key, base_url=self.base_url, **options)

    def console_url(self) -> str:
        """Return a new link to the console, for a browser. It works once, within 10 minutes."""
        return f"{for_browsers(self.base_url)}/#token={self._console.token()}"

    def workers(self) -> dict[str, int]:
        """Return the process ID of each active run's worker, by run ID."""
        return self._runner.workers()


class ThreadedServer:
    """A server that runs in a thread of its own.

    Attributes:
        base_url: the address that it listens at.
        api_key: the key that requests must carry.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.base_url = server.base_url
        self.api_key = server.api_key

    def console_url(self) -> str:
        """Return a new link to the console, for a browser. It works once, within 10 minutes."""
        return self._server.console_url()

    def workers(self) -> dict[str, int]:
        """Return the process ID of each active run's worker, by run ID."""
        return self._server.workers()

    def __repr__(self) -> str:
        return f"<lume_local.ThreadedServer {self.base_url}>"

    def client(self, **options: "Unpack[lume_sync.ClientOptions]") -> "lume_sync.Client":
        """Return a `lume_sync.Client` for this server; `options` are the client's own. Close it."""
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
    **options: Unpack[ServerOptions],
) -> AsyncIterator[Server]:
    """Run a server for the duration of the block.

    Args:
        flows: the folder with flow versions (`*.toml`); None for none. Read at the start, and again when an unknown
            version is requested.
        data: the folder for state and output; created if it doesn't exist. One server per folder,
            unless they share a state elsewhere (`state_env`).
        roots: the folders that may contain source files; by default the current one and `data`. Relative source
            paths belong to the first. URLs such as `s3://bucket/folder` allow objects below them; URLs such as
            `sftp://user@host/folder?key_file=…` allow files of that server (see "Read files of SFTP servers").
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        api_key: the key that requests must carry; by default a generated one. At least 16 characters if others
            reach it.
        max_active: the number of runs that are executed at a time, at most 10,000; the others wait. By default 2,
            or the number of slots of the cluster of `engine`.
        **options: see `ServerOptions`.

    Raises:
        ConfigurationError: a setting is not valid, a flow file has a mistake, the data folder is in use, or the
            address can't be used.
    """
    named = {"host": host, "port": port, "api_key": api_key, "max_active": max_active}
    settings = ServerSettings.of(flows, data, roots, options, **named)
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
    **options: Unpack[ServerOptions],
) -> Iterator[ThreadedServer]:
    """Run a server in a thread for the duration of the block, for synchronous code; otherwise the same as `serve`."""
    thread = _ServerThread(serve(flows, data, roots, host, port, api_key, max_active, **options))
    server = thread.start()
    try:
        yield ThreadedServer(server)
    finally:
        thread.stop()


class _ServerThread:
    def __init__(self, serving: AbstractAsyncContextManager[Server]) -> None:
        self._serving = serving
        self._thread = threading.Thread(target=self._main, name="lume_local server", daemon=True)
        self._settled = threading.Event()
        self._server: Server | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    def start(self) -> Server:
        """Wait until the server listens. Raises the errors of `serve`."""
        self._thread.start()
        self._settled.wait()
        if self._server is None:
            self._thread.join()
            assert self._error is not None
            raise self._error
        return self._server

    def stop(self) -> None:
        """End the server and wait for it. Raises the errors of its shutdown."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop has already ended, with an error that is raised below
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
        async with self._serving as server:
            self._server = server
            self._settled.set()
            await self._stop.wait()
