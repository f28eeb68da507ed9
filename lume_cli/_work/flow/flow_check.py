"""Checking flow files as the embedded server does, with the line of each mistake."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_cli._session import CommandSession
from lume_local import CheckedFlow, FlowError, check_flow

__all__ = ["CheckedFlow", "FlowError", "check", "files", "refuse_twin", "report"]


def files(given: Iterable[Path]) -> Iterator[Path]:
    """The flow files, those of a folder included. Raises `click.UsageError` if a folder contains none."""
    for path in given:
        if not path.is_dir():
            yield path
            continue
        if not (found := sorted(path.glob("*.toml"))):
            raise click.UsageError(f"no flow files (*.toml) in the folder {path}")
        yield from found


async def check(path: Path) -> CheckedFlow:
    """The flow of a file. Raises `FlowError` for a mistake, `click.ClickException` if it can't be read."""
    try:
        return await check_flow(path)
    except OSError as error:
        raise click.UsageError(f"{path} can't be read: {error.strerror or error}") from None
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


def refuse_twin(flow: CheckedFlow, path: Path, seen: dict[str, Path]) -> None:
    """Record the file of a flow version. Raises `FlowError` if another file defines it: no server accepts both."""
    if (other := seen.setdefault(flow.ref, path)) != path:
        raise FlowError("version", f"{flow.ref} is in {other} already: increase the version of one")


def report(session: CommandSession, path: Path, error: FlowError) -> None:
    """Write every mistake of a file to stderr."""
    for mistake in (error, *error.others):
        session.say.problem("flow", mistake.located(path), file=str(path), place=mistake.place)
