"""The session of a running command: its output streams, settings, client and exit."""

import sys
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import anyio
import click

from lume_async import ApiConnectionError, ConfigurationError
from lume_async._base.platform import command_line
from lume_async._base.tasks import background
from lume_async._base.words import counted
from lume_cli import _loop
from lume_cli._options import Format, GlobalOptions
from lume_cli._output import errors, exit_codes
from lume_cli._output.stderr import Say
from lume_cli._output.stdout import Data
from lume_cli._output.text import shorts
from lume_cli._server_file import ServerFile

if TYPE_CHECKING:
    from lume_async import Client
    from lume_cli._server_watch import ServerWatch

_GONE = "it is not running"
"""For the server of the nearest `.lume` folder, whose port another program may use now."""

_EVERY = 1.0
"""Seconds between two checks of that server's URL."""

_SPECIAL = {
    "ids": "`lume list` and `lume run`",
    "sources": "`lume list`",
    "csv": "`lume rejects`, `lume table` and `lume clean`",
    "arrow": "`lume clean`",
    "junit": "`lume conformance`",
}
"""The output formats that only some commands have."""

NAMED = 20
"""The maximum number of runs in the command to resume."""


class _Moved(Exception):
    """The server of the nearest `.lume` folder has another URL now; the client keeps its first one."""


Interruption: TypeAlias = Callable[[], tuple[str, str | None]]
"""Returns the message for Ctrl-C, and the command to resume."""


def _interrupted() -> tuple[str, None]:
    return "interrupted", None


class CommandSession:
    """The session of a running command, with the `special` formats of it. Raises `click.UsageError` for others."""

    def __init__(self, options: GlobalOptions, *special: Format) -> None:
        if options.output in _SPECIAL and options.output not in special:
            *formats, last = ("table", "json", "ndjson", *special)
            raise click.UsageError(
                f"-o {options.output} is for {_SPECIAL[options.output]}: use {', '.join(formats)} or {last}"
            )
        self.options = options
        self.say = Say(options.output)
        self.data = Data(options.output)
        self.server: ServerWatch | None = None
        if options.verbose:
            import logging

            from lume_cli._output.log_lines import TextLines

            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(TextLines("%(name)s: %(message)s"))
            logger = logging.getLogger("lume")
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)

    @property
    def away(self) -> str | None:
        """The trouble of the server (no response, or failures); None while it works, or if unknown."""
        trouble = None if self.server is None else self.server.trouble
        return None if trouble is None else f"the server {trouble}"

    @asynccontextmanager
    async def client(self) -> "AsyncIterator[Client]":
        """Open a client, and report if the server stops responding meanwhile. Raises `ConfigurationError`."""
        from lume_async import Client
        from lume_cli._health import HealthCheck
        from lume_cli._server_watch import ServerWatch, unresponsive
        from lume_cli._settings import resolve

        settings = resolve(self.options, self.say.warn).check()
        base_url = settings.base_url or ""
        health, gone = HealthCheck(base_url), unresponsive(_GONE)

        async def check() -> str | None:
            is_gone = settings.server is not None and not settings.server.is_running
            return gone if is_gone else await health.check()

        self.server = watch = ServerWatch(base_url, self.say, check)

        def key() -> str:
            try:
                return settings.key()
            except ApiConnectionError:
                watch.on_unsent(gone)
                raise

        try:
            client = Client(
                settings.api_key if settings.server is None else key,
                base_url=base_url,
                request_timeout=settings.request_timeout,
                user_agent="lume-cli",
                hooks=[self.server.on_event],
            )
        except ConfigurationError as error:
            raise ConfigurationError(settings.in_context(str(error))) from None
        async with client, health, background() as group:
            group.start_soon(self.server.run)
            if settings.server is not None:
                group.start_soon(_end_if_moved, settings.server)
            yield client

    def finish_with_client(
        self,
        work: "Callable[[Client], Coroutine[Any, Any, int | None]]",
        interrupted: Interruption = _interrupted,
    ) -> NoReturn:
        """Do as `finish`, with a client for the work."""

        async def with_client() -> int | None:
            async with self.client() as client:
                return await work(client)

        self.finish(with_client(), interrupted)

    def finish(
        self, work: Coroutine[Any, Any, int | None], interrupted: Interruption = _interrupted
    ) -> NoReturn:
        """Run the command and exit with its exit code, None for 0; `interrupted` is the message for Ctrl-C."""
        try:
            with self._worded_warnings():
                code = _loop.run(work) or exit_codes.OK
        except _loop.Interrupted as signal:
            message, resume = interrupted()
            text = f"{message}; resume with `{resume}`" if resume else message
            self.say.problem("interrupted", text, retryable=True, **({"resume": resume} if resume else {}))
            code = signal.exit_code
        except _Moved as moved:
            message, resume = interrupted()
            text = f"{moved}; " + (f"resume with `{resume}`" if resume else message)
            self.say.problem("server_moved", text, retryable=True, **({"resume": resume} if resume else {}))
            code = exit_codes.ERROR
        raise click.exceptions.Exit(code)

    @contextmanager
    def _worded_warnings(self) -> Iterator[None]:
        """Print the library's warnings in the words of a command."""
        with warnings.catch_warnings():
            for category in (RuntimeWarning, UserWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = lambda message, *_: self.say.warn(errors.in_options(str(message)))
            yield

    def command(self, *words: str, **options: object) -> str:
        """Return a command line for the same service; `options` have their names on the command line: `--flow`."""
        service = _words({"-p": self.options.profile, "--base-url": self.options.base_url})
        return command_line(["lume", *service, *words, *_words(options)])

    def resume_wait(self, runs: Sequence[str]) -> tuple[str, str | None]:
        """Return the message for an interrupted wait, and the command to resume it."""
        if not runs:
            return "interrupted", None
        if self.data.format == "table":
            runs = list(shorts(runs).values())
        one = len(runs) == 1
        going = "the run keeps running" if one else f"{counted(len(runs), 'run')} keep running"
        if self.away is not None:
            going = f"{self.away}, so it is not known whether "
            going += "the run is still running" if one else f"{counted(len(runs), 'run')} are still running"
        if len(runs) > NAMED:
            return f"{going}: wait for the same runs again", None
        return going, self.command("wait", *runs)


async def _end_if_moved(server: ServerFile) -> None:
    while (url := server.moved_to) is None:  # noqa: ASYNC110 - another process writes it
        await anyio.sleep(_EVERY)
    raise _Moved(
        f"the server of {server.home} now runs at {url}, but this command started with {server.base_url}"
    )


def _words(options: Mapping[str, object]) -> list[str]:
    """Return options as words: a flag for True, nothing for None or False, KEY=VALUE pairs for a mapping."""
    found: list[str] = []
    for name, value in options.items():
        if value is True:
            found.append(name)
        elif isinstance(value, Mapping):
            found += [word for key, text in value.items() for word in (name, f"{key}={text}")]
        elif value is not None and value is not False:
            found += [name, str(value)]
    return found
