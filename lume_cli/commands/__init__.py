"""One file per command, imported when it is invoked; its dependencies are imported when it runs."""

from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import click

from lume_cli._options import GlobalOptions

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""An argument that names an existing file."""
FOLDER = click.Path(exists=True, file_okay=False)
"""An argument that names an existing folder."""


def with_client(work: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., None]:
    """Make a command of `work`, which gets the session, a client and the options, and returns the exit code.

    Options that are refused before there is a client need a command without this.
    """

    @click.pass_obj
    @wraps(work)
    def command(options: GlobalOptions, /, **given: Any) -> None:
        from lume_cli._session import CommandSession

        session = CommandSession(options)
        session.finish_with_client(lambda client: work(session, client, **given))

    return command
