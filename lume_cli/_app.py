"""The command tree, and the one place that turns an exception into a message and an exit code."""

import errno
import re
import signal
import sys
from types import FrameType
from typing import Any

import click

from lume_cli._options import GlobalOptions, general_options
from lume_cli._streams import broken_pipes, drop_unwritten
from lume_cli._table import PROGRAM, CommandTable

_COMMANDS = {
    "run": ("runs.run", "Start a run; print its id."),
    "status": ("runs.status", "Show the current status of runs."),
    "wait": ("runs.wait", "Wait for runs to finish."),
    "watch": ("runs.wait:watch", "Watch many runs in a live table."),
    "show": ("runs.show", "Show runs in detail."),
    "list": ("runs.list_runs", "List runs, newest first."),
    "cancel": ("runs.cancel", "Cancel runs."),
    "rerun": ("runs.rerun", "Submit a finished run again."),
    "rejects": ("rejected.rejects", "Print the rejected rows of a run."),
    "resubmit": ("rejected.resubmit", "Submit the corrected rejects of a run."),
    "inbox": ("rejected.inbox", "Print the open rejected rows of all runs."),
    "replay": ("rejected.replay", "Send open rejected rows through a newer flow version."),
    "discard": ("rejected.discard", "Discard open rejected rows."),
    "table": ("table", "Print the current clean rows of a flow, or write them to a file."),
    "clean": ("", "Clean files by a flow file, without a server."),
    "backfill": ("runs.backfill", "Run a flow over many sources; resumable."),
    "arrivals": ("server.arrivals", "List what arrives at a server; check its arrivals file."),
    "serve": ("", "Run a Lume server on this machine."),
    "backup": ("", "Back up the data folder of a server."),
    "restore": ("", "Make a backup the data folder of a new server."),
    "audit": ("server.audit", "Print who did what at a server."),
    "forget": ("server.forget", "Remove the rows of a person from a server."),
    "key": ("", "Create keys with roles for a server."),
    "console": ("server.console", "Print a link to the console of a server."),
    "flow": ("flow", "Write, check, register and compare flow files."),
    "message": ("", "Check and try the messages of a server."),
    "webhook": ("server.webhook", "Receive and verify webhook deliveries."),
    "doctor": ("server.doctor", "Diagnose the connection to the service."),
    "conformance": ("server.conformance", "Check that a server keeps the wire contract."),
    "completion": ("completion", "Print a shell completion script."),
}
"""See `CommandTable`; in the order of a typical session."""

_READER_IS_GONE = 128 + 13
"""The exit code of a command that writes to a closed pipe: as after SIGPIPE, even on systems without this signal."""

_NEW_LINE = re.compile(r"\s*\n\s*")
"""A line break in click's messages, which list choices on separate lines."""

_UNUSABLE = {"duckdb": "missing_extra", "lume-local": "missing_extra", "lume_local": "unsupported_platform"}
"""The error codes for modules that can't be imported."""

_EXIT_CODES = """\b
Exit codes; for several runs that of the worst one, which is the first in this list:
  4    the API key is missing or was rejected
  2    usage error
  1    error: no connection, request rejected, unexpected failure
  7    the server does not keep the wire contract (`lume conformance`)
  6    a run CRASHED or was CANCELLED
  3    a run FAILED
  124  timed out waiting; the run keeps running
  5    a run PARTIAL_FAILED: some rows were rejected (0 with --allow-partial); `lume forget` leaves places
  0    success
Ctrl-C exits with 130, SIGTERM with 143; runs keep running, and the command to resume is printed."""


class App(CommandTable):
    def invoke(self, ctx: click.Context) -> Any:
        """Invoke as click does, but a closed pipe (`lume list | head -1`) is not an error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.exceptions.Exit(_READER_IS_GONE) from None

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line and end the process with its exit code."""
        options = extra.setdefault("obj", GlobalOptions())
        try:
            code = super().main(*args, **{"prog_name": PROGRAM, **extra, "standalone_mode": False})
            with broken_pipes():
                sys.stdout.flush()
        except BrokenPipeError:
            code = _READER_IS_GONE
        except Exception as error:
            code = _end(error, options)
        drop_unwritten()
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    PROGRAM,
    cls=App,
    table=_COMMANDS,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@general_options
@click.version_option(
    None, "--version", package_name="lume-client", prog_name=PROGRAM, message="%(prog)s %(version)s"
)
def app() -> None:
    """Run Lume flows, wait for their runs, and watch thousands of them.

    \b
    lume run customer_cleaner:v1 customers.csv --wait
    lume backfill customer_cleaner:v1 --from-file paths.txt --journal state.db

    The base URL and the API key are read from LUME_BASE_URL and LUME_API_KEY, or from a profile in
    ~/.config/lume/config.toml. Data goes to stdout, everything else to stderr.
    """


def end_on_sigterm() -> None:
    """Make SIGTERM end the process cleanly with 143, even where no event loop is running."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


def _end(error: Exception, options: GlobalOptions) -> int:
    """Report the error once; return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        return 128 + signal.SIGINT
    import traceback

    from lume_async import LumeError
    from lume_async._base.elided import elided
    from lume_cli._output import exit_codes
    from lume_cli._output.errors import OutputError
    from lume_cli._output.stderr import Say

    say = Say(options.output)
    if isinstance(error, click.ClickException):
        message = elided(_NEW_LINE.sub(" ", error.format_message()))  # it may quote an argument or a file
        if options.output in ("json", "ndjson"):
            say.problem("usage" if isinstance(error, click.UsageError) else "error", message)
        elif isinstance(error, click.exceptions.NoArgsIsHelpError):
            say.text(error.format_message())
        else:
            if isinstance(error, click.UsageError) and error.ctx is not None:
                say.text(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n")
            say.text(f"error: {message}")
        return error.exit_code
    if options.verbose:
        say.text("".join(traceback.format_exception(error)))
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.EBADF, errno.ENOSPC):
        error = OutputError(error)  # raised by click's own output, such as a help page
    if isinstance(error, LumeError):
        say.error(error)
    elif isinstance(error, ImportError) and error.name in _UNUSABLE:
        say.problem(_UNUSABLE[error.name], f"error: {error}")  # the message has the remedy
    else:
        say.problem("unexpected", f"unexpected {type(error).__name__}: {error}; pass -v for a traceback")
    return exit_codes.of_error(error)
