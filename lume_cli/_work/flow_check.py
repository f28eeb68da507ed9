"""Checking a flow file the way the embedded server does, and saying in which line a mistake is."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_local import CheckedFlow, FlowError, check_flow

__all__ = ["CheckedFlow", "FlowError", "check", "files", "need_local"]


def need_local() -> None:
    """Make sure that the embedded server can be used: it is an extra.

    Raises:
        click.ClickException: what it needs is not installed; says what to do.
    """
    if find_spec("duckdb") is None:
        raise click.ClickException("this command needs duckdb: pip install 'lume-client[local]'")


def files(given: Iterable[Path]) -> Iterator[Path]:
    """The flow files; a folder stands for those in it.

    Raises:
        click.ClickException: a folder has none.
    """
    for path in given:
        if not path.is_dir():
            yield path
            continue
        if not (found := sorted(path.glob("*.toml"))):
            raise click.ClickException(f"there are no flow files (*.toml) in the folder {path}")
        yield from found


async def check(path: Path) -> CheckedFlow:
    """The flow of a file without mistakes.

    Raises:
        FlowError: it has a mistake.
        click.ClickException: the file can't be read, or not be checked.
    """
    try:
        return await check_flow(path)
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror or error}") from None
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
