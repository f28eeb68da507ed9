"""Reporting the exception that ended a command."""

import traceback
from contextlib import suppress

import click

from lume_async import LumeError
from lume_async._base.elided import elided
from lume_cli._options import Options
from lume_cli._output import exit_codes
from lume_cli._output.stderr import Say


def report(error: Exception, options: Options) -> int:
    """Report the error and what to do on stderr; return the exit code."""
    say = Say(options.output)
    if isinstance(error, click.ClickException):
        vars(error)["message"] = elided(
            error.message
        )  # final to type checkers; it may quote an argument or a file
        if options.output not in ("json", "ndjson"):
            with suppress(OSError):  # a stderr that takes nothing changes no exit code
                error.show()
        else:
            say.problem("usage" if isinstance(error, click.UsageError) else "error", error.format_message())
        return error.exit_code
    if options.verbose:
        traceback.print_exception(error)
    if isinstance(error, LumeError):
        say.error(error)
    elif isinstance(error, ModuleNotFoundError) and error.name == "duckdb":
        say.problem("missing_extra", f"error: {error}")  # it says which command installs it
    else:
        say.problem("unexpected", f"unexpected {type(error).__name__}: {error}; pass -v for a traceback")
    return exit_codes.of_error(error)
