"""Runs the server until a signal, on the port and with the key of its last start: the work of `lume serve`."""

import errno
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import anyio
import click

from lume_async import ConfigurationError
from lume_async._base.tasks import task_group
from lume_cli import _server_file
from lume_cli._output.errors import OutputError
from lume_cli._output.log_lines import JsonLines, TextLines
from lume_cli._output.stderr import Say
from lume_cli._session import CommandSession
from lume_cli._streams import drop_unwritten
from lume_cli._work.flow_diff import read_flow
from lume_local import FlowError, Server, serve
from lume_local._shared.saved import stamp

LogFormat = Literal["text", "json"]
_EVERY = 1.0
_WAYS_OUT = (
    "To use the change at once, increase the version; to test it, use `lume flow try` or a development server (`lume "
    "serve --dev`), where a version may change. After a restart this server uses the new content, unless a run has "
    "used the old one"
)


def with_last_address(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `lume_local.serve`, with port and key of the folder's last server as defaults."""
    known = _server_file.read(_state(given))
    if known is None:
        return given
    port = known.port if _is_free(given["host"], known.port) else 0
    return {"port": port, "api_key": known.api_key, **given}


def _state(given: dict[str, Any]) -> Path:
    return Path(given["state"]) if "state" in given else Path(given["data"]) / _server_file.STATE


async def until_stopped(
    session: CommandSession, wanted: dict[str, Any], key_env: str | None, log: LogFormat | None
) -> int:
    """Serve until cancelled. A key from the variable `key_env` is not shown, nor any key if there is a log."""
    log_to_stderr(log)
    state, flows = _state(wanted), wanted["flows"]
    changes = None if flows is None else FlowChanges(Path(flows), dev=wanted["dev"])
    async with _serving(state, wanted) as server, task_group() as group:
        try:
            file = _server_file.write(state, server.base_url, server.api_key)
        except OSError as error:
            raise click.ClickException(f"{state} is not writable: {error.strerror or error}") from None
        try:
            session.data.one(server.base_url, {"base_url": server.base_url})
        except OutputError as error:
            session.say.warn(f"{error}; serving at {server.base_url}")
            drop_unwritten()
        if log is None:
            _print_use(session, server, file, key_env)
        else:
            logging.getLogger("lume_local").info(
                "serving at %s", server.base_url, extra={"lume_base_url": server.base_url}
            )
        messages = wanted.get("messages") or wanted.get("arrivals")
        if messages and not wanted.get("public_url"):
            from lume_local import check_messages
            from lume_local.commands.message import warn_of_links

            with suppress(ConfigurationError, FlowError):  # its mistakes are reported by the server
                how = "pass --public-url with the address by which people open the console"
                warn_of_links(session, check_messages(messages), f"{server.base_url}: {how}")
        if wanted["dev"]:
            session.say.warn(
                "a development server: flow versions change with their files, and every run has a note of it"
            )
        if changes is not None:
            group.start_soon(changes.report, session.say)
        await anyio.sleep_forever()
    return 0


@asynccontextmanager
async def _serving(state: Path, wanted: dict[str, Any]) -> AsyncIterator[Server]:
    """Start the server; if another one uses its data folder, the error has that one's URL."""
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serve(**wanted))
        except ConfigurationError as error:
            if (other := _server_file.read(state)) is None or not str(error).startswith("another server "):
                raise
            raise ConfigurationError(f"{error}. Its URL: {other.base_url}") from None
        yield server


def _print_use(session: CommandSession, server: Server, file: Path, key_env: str | None) -> None:
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
        else f"{server.console_url(_server_file.user())} (works once); it expires after 10 minutes"
    )
    session.say.text(
        f"lume: serving; Ctrl-C to stop. Console: {link}\n{found}\n"
        f"  export LUME_BASE_URL={server.base_url}\n  export LUME_API_KEY={key}"
    )


def _is_free(host: str, port: int) -> bool:
    """Return whether the port is free. Other errors are left to the server's own attempt."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def log_to_stderr(wanted: LogFormat | None) -> None:
    """Print the server's log from now on; if no format is given, only warnings and errors, as plain text."""
    handler = logging.StreamHandler(sys.stderr)
    text = "%(message)s" if wanted is None else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if wanted == "json" else TextLines(text))
    logger = logging.getLogger("lume_local")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if wanted is None else logging.INFO)
    logger.propagate = False


class FlowChanges:
    """The flow files of a folder, as they were at the start.

    Args:
        dev: whether the server uses each change.
    """

    def __init__(self, folder: Path, *, dev: bool = False) -> None:
        self._dev = dev
        self._folder = folder
        self._stamps = {path: stamp(path) for path in folder.glob("*.toml")}
        self._known = {path: _definition(path) for path in self._stamps}
        self._reported: dict[Path, Any] = {}

    async def report(self, say: Say) -> None:
        """Warn of each change, until cancelled."""
        while True:
            await anyio.sleep(_EVERY)
            for warning in self.changes():
                say.warn(warning)

    def changes(self) -> list[str]:
        """Return a message for each file that has changed since the last call."""
        found = []
        for path, known in self._known.items():
            saved = stamp(path)
            if saved is None or saved == self._stamps[path] or known is None:
                continue
            self._stamps[path] = saved
            now = _definition(path)
            if now is None or _ref(now) != _ref(known) or now in (known, self._reported.get(path)):
                continue
            self._reported[path] = now
            if self._dev:
                found.append(f"{path} has changed: the next run of {_ref(known)} uses it")
            else:
                found.append(f"{path} has changed, but {_ref(known)} stays as it was. {_WAYS_OUT}")
        return found


def _definition(path: Path) -> dict[str, Any] | None:
    """Return the file's content; None while it is not valid TOML, as in the middle of an edit."""
    try:
        return read_flow(path)
    except click.ClickException:
        return None


def _ref(definition: dict[str, Any]) -> str:
    return f"{definition.get('flow')}:{definition.get('version')}"
