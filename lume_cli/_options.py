"""Options shared by several commands. Connection and output options work before or after the command:
`lume -p staging list` is `lume list -p staging`. Imports only click.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

import click

if TYPE_CHECKING:
    Type = click.ParamType[Any]  # click 8.1 has the class, but not as a generic one
else:
    Type = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])
Format = Literal["table", "json", "ndjson", "csv", "ids", "sources", "junit", "arrow"]


class GlobalOptions:
    """The options common to all commands; None if not given."""

    def __init__(self) -> None:
        self.profile: str | None = None
        self.base_url: str | None = None
        self.request_timeout: float | None = None
        self.api_key_stdin: bool | None = None
        self.output: Format = "table"
        self.verbose: bool | None = None


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Store the value for the command; the last occurrence (nearest to the command) wins."""
    if value is not None:
        setattr(context.ensure_object(GlobalOptions), str(parameter.name), value)


class Seconds(Type):
    """A duration: a number of seconds, or one with a unit: 90, 1.5, 500ms, 5m, 2h, 1d."""

    name = "duration"
    _UNITS = (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0), ("", 1.0))

    def __init__(self, *, above_zero: bool = False) -> None:
        self._above_zero = above_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        unit, scale = next((unit, scale) for unit, scale in self._UNITS if text.endswith(unit))
        try:
            number = float(text.removesuffix(unit)) * scale
        except ValueError:
            number = -1.0
        if not (0 <= number < float("inf")) or (self._above_zero and number == 0):
            least = "above 0" if self._above_zero else "0 or more"
            self.fail(f"{value!r} is not a valid duration ({least}): write 90, 1.5, 5m or 2h", param, ctx)
        return number


class Utf8(Type):
    """A string that is sent to the server, so it must be valid UTF-8."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is not valid UTF-8", param, ctx)
        return text


class FlowName(Utf8):
    """The name of a flow, for all its versions."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = super().convert(value, param, ctx)
        name, colon, _ = text.partition(":")
        if colon:
            self.fail(
                f"{text!r} is one version: name the flow, {name!r}, whose versions share their rows",
                param,
                ctx,
            )
        return text


class Size(Type):
    """A number of bytes, or one with a unit of 1024: 500000, 64K, 100M, 10G."""

    name = "size"
    _SCALES = (("k", 1024), ("m", 1024**2), ("g", 1024**3), ("t", 1024**4), ("", 1))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        unit, scale = next((unit, scale) for unit, scale in self._SCALES if text.endswith(unit))
        number = text.removesuffix(unit)
        if not (number.isascii() and number.isdecimal() and len(number) <= 18):
            self.fail(f"{value!r} is not a valid size: write 500000, 64K, 100M or 10G", param, ctx)
        return int(number) * scale


FOREVER = float("inf")


class SecondsOrForever(Seconds):
    """A duration above 0, or `forever`."""

    _LONGEST = 1e10

    def __init__(self) -> None:
        super().__init__(above_zero=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value == "forever":
            return FOREVER
        seconds = super().convert(value, param, ctx)
        if self._LONGEST < seconds < FOREVER:
            self.fail(f"{value!r} is longer than 300 years: write forever", param, ctx)
        return seconds


def stack(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Combine several options into one decorator, in help order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def file_name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Return the name of a file that may be missing: an empty one would be the current folder."""
    if value == "":
        raise click.BadParameter("it is empty: name a file")
    return value


def _global(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_store, default=None, **settings)


def _output(*special: str, more: str = "") -> Callable[[F], F]:
    """Accept all formats: the session refuses formats that a command lacks, and names the commands that have them."""
    return stack(
        _global(
            "-o",
            "--output",
            "output",
            type=click.Choice(get_args(Format)),
            metavar=f"[{'|'.join(['table', 'json', 'ndjson', *special])}]",
            help=f"Format of the data on stdout: a table, one JSON document, JSON lines{more}.",
        ),
        _global("--json", "output", flag_value="json", help="Same as -o json."),
    )


output_options = _output()
_any_output = _output(
    *("csv", "ids", "sources", "junit", "arrow"),
    more=", CSV (`rejects`, `table`, `clean`), run ids (`list`, `run`), source paths (`list`), JUnit XML "
    "(`conformance`) or an Arrow stream (`clean`)",
)
_output_or_ids = _output("ids", more=", or bare run ids")
_output_or_sources = _output("ids", "sources", more=", bare run ids, or source paths")
_output_or_junit = _output("junit", more=", or JUnit XML")
_output_or_csv = _output("csv", more=", or CSV")
clean_output_options = _output("csv", "arrow", more="; the clean rows as CSV or an Arrow stream")

profile_option = _global(
    "-p", "--profile", metavar="NAME", help="Profile in the configuration file (or LUME_PROFILE)."
)
verbose_option = _global("-v", "--verbose", is_flag=True, help="Log requests to stderr; show tracebacks.")

_connection_options = stack(
    profile_option,
    _global("--base-url", metavar="URL", help="Base URL of the service (or LUME_BASE_URL)."),
    _global(
        "--request-timeout",
        type=Seconds(above_zero=True),
        metavar="S",
        help="Timeout of one request attempt in seconds (or LUME_REQUEST_TIMEOUT).",
    ),
    _global("--api-key-stdin", is_flag=True, help="Read the API key from the first line of stdin."),
)

server_options = stack(_connection_options, output_options, verbose_option)
file_options = stack(_connection_options, verbose_option)
"""For commands that write a file of their own."""
rows_options = stack(_connection_options, _output_or_csv, verbose_option)
server_or_ids_options = stack(_connection_options, _output_or_ids, verbose_option)
"""For commands that can print bare run ids, which other commands read from stdin."""
junit_options = stack(_connection_options, _output_or_junit, verbose_option)
list_options = stack(_connection_options, _output_or_sources, verbose_option)
general_options = stack(_connection_options, _any_output, verbose_option)
"""Options before the command."""


class Waiting(NamedTuple):
    """The values of `wait_options`."""

    timeout: float | None
    poll_interval: float | None
    allow_partial: bool


_wait_options = stack(
    click.option(
        "--timeout",
        type=Seconds(),
        metavar="S",
        help="Stop waiting after this time (90, 5m, 2h …) and exit with 124; the run keeps running. "
        "No limit by default.",
    ),
    click.option(
        "--poll-interval",
        type=Seconds(),
        metavar="S",
        help="Poll every S seconds; by default immediately, then at intervals growing from 0.5 s to 5 s.",
    ),
    click.option("--allow-partial", is_flag=True, help="Exit with 0 instead of 5 if rows were rejected."),
)


def wait_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that wait; they get a `Waiting`."""

    @wraps(command)
    def collect(
        *given: Any, timeout: float | None, poll_interval: float | None, allow_partial: bool, **others: Any
    ) -> None:
        command(*given, waiting=Waiting(timeout, poll_interval, allow_partial), **others)

    return _wait_options(collect)


def submit_and_wait_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--wait` and its options; the commands get a `Waiting`, or None without `--wait`."""

    @wraps(command)
    def collect(*given: Any, wait: bool, waiting: Waiting, **others: Any) -> None:
        if not wait and (waiting.timeout is not None or waiting.poll_interval is not None):
            raise click.UsageError("--timeout and --poll-interval need --wait")
        command(*given, waiting=waiting if wait else None, **others)

    flag = click.option(
        "--wait", "-w", is_flag=True, help="Wait for the run to finish; the exit code reflects its status."
    )
    return flag(wait_options(collect))


submit_options = stack(
    click.option(
        "--force-rerun", is_flag=True, help="Process the source again; may duplicate rows in the target."
    ),
    click.option(
        "--metadata",
        "run_metadata",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda _context, parameter, values: pairs(parameter, values),
        help="A string returned with the run and its webhook; repeatable.",
    ),
    click.option(
        "--layout", metavar="NAME", help="Layout of FLOW for all files of the source; default: recognised."
    ),
    click.option(
        "--on-duplicate",
        type=click.Choice(["raise", "attach"]),
        default="raise",
        show_default=True,
        help="If a run already holds the source: fail, or follow that run.",
    ),
)

secret_options = stack(
    click.option(
        "--secret-env",
        "variables",
        multiple=True,
        metavar="VARIABLE",
        help="Environment variable that holds the secret; repeat it during a rotation. Default: "
        "LUME_WEBHOOK_SECRET, then the profile's webhook_secret.",
    ),
    click.option("--secret-stdin", is_flag=True, help="Read the secret from the first line of stdin."),
)


def count_option(
    name: str, default: int, help: str, least: int = 1, most: int | None = None
) -> Callable[[F], F]:
    """Return an option for a number of things."""
    kind = click.IntRange(least, most)
    return click.option(name, type=kind, metavar="N", default=default, show_default=True, help=help)


def since_option(help: str) -> Callable[[F], F]:
    """Return the option `--since`, as a time before now."""
    return click.option("--since", type=Seconds(above_zero=True), metavar="TIME", help=help)


reason_option = click.option("--reason", metavar="TEXT", help="Only rows with a reason that contains TEXT.")
open_rows_options = stack(reason_option, since_option("Only rows of runs that ended in this time."))
"""Selects open rejected rows of a flow."""

runs_argument = click.argument("runs", nargs=-1, required=True, metavar="RUN...")


def pairs(parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    """Return the values of a repeatable option as a mapping; None if there are none."""
    found: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(
                f"{value!r} must look like {parameter.metavar or 'KEY=VALUE'}", param=parameter
            )
        if key in found:
            raise click.BadParameter(f"{key!r} was given twice", param=parameter)
        found[key] = text
    return found or None
