"""Corrected rejects: whether a file looks like them, and whether a run has already processed the same content."""

import hashlib
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from lume_async import Client, LumeRun, NotSupportedError
from lume_cli._output.short_ids import short
from lume_cli._output.text import counted
from lume_cli._work.rejects.reject_columns import UnreadableError, has_reject_columns

PARENT = "resubmit_of"
"""The key in a run's metadata that links it to the run whose rejects it processes."""
CONTENT = "resubmit_sha256"
"""The key in a run's metadata with the checksum of the corrected file."""
_OWN_PLACE = ("{run_id}", "{source_path}")
"""With one of these in `target.mapped` a run on an upload writes to its own place; the default has the first."""


def refuse_others(file: Path, run: LumeRun) -> None:
    """Raises `click.UsageError` unless the file has the columns of a run's rejects: it may be the source."""
    if not run.has_output:
        raise click.UsageError(
            f"run {short(run.id)} is {run.status} and wrote no rejects: correct its source or its flow, then "
            f"`lume rerun {short(run.id)}` or `lume run`; or add --force to process this file anyway"
        )
    try:
        seen = has_reject_columns(file)
    except UnreadableError as error:
        raise click.UsageError(f"{file} is damaged or can't be read: {error}") from None
    if seen is None:
        raise click.UsageError(
            f"{file} is compressed with zstd, so it can't be checked whether it is a rejects file: decompress it, "
            "or add --force to process it anyway"
        )
    if not seen:
        raise click.UsageError(
            f"{file} has no _lume_ columns, so it is not a rejects file: its rows may already be in the output of "
            f"run {short(run.id)}. Correct what `lume rejects {short(run.id)} -o csv` prints, or add --force to "
            "process this file anyway"
        )


async def refuse_replacing(client: Client, run: LumeRun) -> None:
    """Raises `click.UsageError` if the next run would replace the rows of this one: all write the same file."""
    try:
        version = await client.flow_version(str(run.flow_version))
    except NotSupportedError:
        return
    mapped = (version.definition.get("target") or {}).get("mapped")
    if isinstance(mapped, str) and not any(name in mapped for name in _OWN_PLACE):
        rows = counted(run.metadata.metrics.rows_mapped, "row")
        raise click.UsageError(
            f"all runs of {run.flow_version} write {mapped}: the corrected rows would replace the {rows} of "
            f"run {short(run.id)} there. Put {{run_id}} into target.mapped of a new version and run that on the "
            "whole source; or copy that output, then add --force"
        )


@frozen
class Corrected:
    """The content of a file with corrected rejects of one run.

    Attributes:
        old: the run whose rejects they are.
        sha256: of the file.
    """

    old: LumeRun
    sha256: str

    @classmethod
    def of(cls, old: LumeRun, file: Path) -> "Corrected":
        """Read the file once."""
        with file.open("rb") as opened:
            return cls(old, hashlib.file_digest(opened, "sha256").hexdigest())

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of a run on this content."""
        return {**(self.old.run_metadata or {}), PARENT: self.old.id, CONTENT: self.sha256}

    async def earlier(self, client: Client) -> list[LumeRun]:
        """The runs submitted with this content for this run, newest first; empty if the server can't list runs."""
        runs = client.list_runs(flow_version=self.old.flow_version, since=self.old.created_at)
        try:
            return [run async for run in runs if self._is_of(run.run_metadata or {})]
        except NotSupportedError:
            return []

    def key(self, earlier: list[LumeRun]) -> str:
        """The idempotency key of the next submission: of two concurrent commands, the second is refused."""
        name = f"{self.old.id} {self.sha256} {len(earlier)}"
        return f"resubmit-{hashlib.sha256(name.encode()).hexdigest()}"

    def _is_of(self, metadata: dict[str, Any]) -> bool:
        return metadata.get(PARENT) == self.old.id and metadata.get(CONTENT) == self.sha256


def holder(runs: list[LumeRun]) -> LumeRun | None:
    """The run that is processing the content or has processed it; one that wrote nothing may be repeated."""
    return next((run for run in runs if not run.is_terminal or run.has_output), None)
