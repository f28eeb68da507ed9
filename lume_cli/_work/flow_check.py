"""Checking flow files as the embedded server does, with the line of each mistake."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_local import CheckedFlow, FlowError, check_flow

__all__ = ["CheckedFlow", "FlowError", "check", "files"]


def files(given: Iterable[Path]) -> Iterator[Path]:
    """The flow files, those of a folder included.

    Raises:
        click.ClickException: a folder contains none.
    """
    for path in given:
        if not path.is_dir():
            yield path
            continue
        if not (found := sorted(path.glob("*.toml"))):
            raise click.ClickException(f"no flow files (*.toml) in the folder {path}")
        yield from found


async def check(path: Path) -> CheckedFlow:
    """Check one file; return its flow.

    Raises:
        FlowError: the file has a mistake.
        click.ClickException: the file can't be read or checked.
    """
    try:
        return await check_flow(path)
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror or error}") from None
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
