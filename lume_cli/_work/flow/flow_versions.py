"""Flow versions as they are shown, and as they are named on the command line."""

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click

from lume_async import Client, FlowSummary
from lume_cli._output.text import age

HEADERS = ("FLOW", "RUNS", "COLUMNS", "AGE", "CONTENT")


def rows(flows: Sequence[FlowSummary]) -> list[tuple[str, ...]]:
    """The table rows under `HEADERS`."""
    now = datetime.now(UTC)
    return [
        (
            flow.flow_version,
            f"{flow.runs:,}",
            str(len(flow.columns)),
            age((now - flow.created_at).total_seconds()),
            flow.content_hash[:12],
        )
        for flow in flows
    ]


def to_dict(flow: FlowSummary) -> dict[str, Any]:
    """The flow version as JSON, with the names of the wire format."""
    return attrs.asdict(flow) | {"created_at": flow.created_at.isoformat()}


async def pair(client: Client, before: str, after: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The definitions of two flow versions, each a file or a version of the server.

    Where only a file is named, the first is the registered version of its name.

    Raises:
        click.ClickException: a file can't be read, or does not say what it is.
        click.UsageError: a version is named, and nothing to compare it with.
    """
    if after is not None:
        return await _definition(client, before), await _definition(client, after)
    if not _is_file(before):
        raise click.UsageError("name two flow versions, or a flow file (*.toml)")
    new = _read(Path(before))
    ref = f"{new.get('flow')}:{new.get('version')}"
    return (await client.flow_version(ref)).definition, new


async def _definition(client: Client, name: str) -> dict[str, Any]:
    return _read(Path(name)) if _is_file(name) else (await client.flow_version(name)).definition


def _is_file(name: str) -> bool:
    return name.endswith(".toml") or Path(name).is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise click.ClickException(f"{path} is not TOML: {error}") from None
