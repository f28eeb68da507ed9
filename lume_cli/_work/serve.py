"""Running the embedded server until a signal, on the port and with the key of its last start. The work of `serve`."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import click

import lume_local
from lume_async import ConfigurationError
from lume_async._base.tasks import task_group
from lume_cli import _server_file
from lume_cli._output.errors import OutputError
from lume_cli._session import CommandSession
from lume_cli._streams import drop_unwritten
from lume_cli._work import server_log
from lume_cli._work.flow.flow_changes import FlowChanges


def with_last_address(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `lume_local.serve`, with port and key of the last server on the data folder as defaults."""
    known = _server_file.read(_state(given))
    if known is None:
        return given
    port = known.port if _is_free(given["host"], known.port) else 0
    return {"port": port, "api_key": known.api_key, **given}


def _state(given: dict[str, Any]) -> Path:
    """The folder of the state."""
    return Path(given["state"]) if "state" in given else Path(given["data"]) / _server_file.STATE


async def until_stopped(
    session: CommandSession, wanted: dict[str, Any], key_env: str | None, log: server_log.Format | None
) -> int:
    """Serve until cancelled; a key from the variable `key_env` is not shown, and no key if there is a log."""
    server_log.log_to_stderr(log)
    state, flows = _state(wanted), wanted["flows"]
    changes = None if flows is None else FlowChanges(Path(flows), dev=wanted["dev"])
    async with _serving(state, wanted) as server, task_group() as group:
        try:
            file = _server_file.write(state, server.base_url, server.api_key)
        except OSError as error:
            raise click.ClickException(f"{state} is not writable: {error.strerror or error}") from None
        _print_url(session, server)
        if log is None:
            _print_use(session, server, file, key_env)
        else:
            server_log.log_url(server.base_url)
        if wanted["dev"]:
            session.say.warn(
                "a development server: flow versions change with their files, and every run has a note of it"
            )
        if changes is not None:
            group.start_soon(changes.report, session.say)
        await anyio.sleep_forever()
    return 0


@asynccontextmanager
async def _serving(state: Path, wanted: dict[str, Any]) -> "AsyncIterator[lume_local.Server]":
    """The server; if another one uses its data folder, the error has that one's URL."""
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(lume_local.serve(**wanted))
        except ConfigurationError as error:
            if (other := _server_file.read(state)) is None or not str(error).startswith("another server "):
                raise
            raise ConfigurationError(f"{error}. Its URL: {other.base_url}") from None
        yield server


def _print_url(session: CommandSession, server: "lume_local.Server") -> None:
    """Print the URL; if a supervisor has closed stdout, only warn."""
    try:
        session.data.one(server.base_url, {"base_url": server.base_url})
    except OutputError as error:
        session.say.warn(f"{error}; serving at {server.base_url}")
        drop_unwritten()


def _print_use(session: CommandSession, server: "lume_local.Server", file: Path, key_env: str | None) -> None:
    data = file.parents[1]
    if data.name == _server_file.FOLDER:
        found = f"Commands find it in {data.absolute().parent} and below; elsewhere:"
    else:
        found = "In another shell:"
    key = f'"${key_env}"  # set {key_env} there as well' if key_env else server.api_key
    # A link would give access to a key that must not be shown.
    link = (
        "`lume console` prints a link"
        if key_env
        else f"{server.console_url()} (works once); it expires after 10 minutes"
    )
    session.say.text(
        f"lume: serving; Ctrl-C to stop. Console: {link}\n{found}\n"
        f"  export LUME_BASE_URL={server.base_url}\n  export LUME_API_KEY={key}"
    )


def _is_free(host: str, port: int) -> bool:
    """Whether the port is free. Other errors are left to the server's own attempt."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
