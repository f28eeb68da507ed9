"""`serve` and `serve_in_thread`: run a server for the duration of a block, in the caller's loop or in a thread."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar, Unpack

from anyio.from_thread import start_blocking_portal

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


class _Running:
    def __init__(self, base_url: str, api_key: str, runner: Runner, console: Console) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self._runner = runner
        self._console = console

    def __repr__(self) -> str:
        return f"<lume_local.{type(self).__name__} {self.base_url}>"

    def console_url(self, name: str | None = None) -> str:
        """Return a new link to the console, for a browser. It works once, within 10 minutes.

        Args:
            name: the name of the person whom it is for; the audit has it as `server:NAME`.
        """
        return f"{for_browsers(self.base_url)}/#token={self._console.token(name)}"

    def workers(self) -> dict[str, int]:
        """Return the process ID of each active run's worker, by run ID."""
        return self._runner.workers()


class Server(_Running):
    """A running server.

    Attributes:
        base_url: the address that it listens at, such as `http://127.0.0.1:41234`.
        api_key: the key that requests must carry.
    """

    def client(self, **options: "Unpack[lume_async.ClientOptions]") -> "lume_async.Client":
        """Return a `lume_async.Client` for this server; `options` are the client's own. Close it."""
        from lume_async import Client

        return Client(self.api_key, base_url=self.base_url, **options)


class ThreadedServer(_Running):
    """A server that runs in a thread of its own.

    Attributes:
        base_url: the address that it listens at.
        api_key: the key that requests must carry.
    """

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
    serving = serve(flows, data, roots, host, port, api_key, max_active, **options)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving) as server:
        yield ThreadedServer(server.base_url, server.api_key, server._runner, server._console)
