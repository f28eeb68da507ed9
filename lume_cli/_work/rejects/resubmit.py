"""Submitting corrected rejects, as `LumeRun.resubmit` does, with the words of a command. The work of `resubmit`."""

from pathlib import Path

import click

from lume_async import Client, InvalidRequestError, LumeRun
from lume_cli._output.live import sending
from lume_cli._output.short_ids import short
from lume_cli._session import CommandSession
from lume_cli._work.run import RunSubmission, fetch_finished


async def resubmit(
    session: CommandSession,
    submission: RunSubmission,
    client: Client,
    run_id: str,
    file: Path,
    *,
    force: bool,
) -> int:
    """Follow the run on these corrected rejects, a new or an earlier one; return the exit code.

    Raises:
        click.ClickException: the run can't be repeated, or the file is not a rejects file.
    """
    old = await fetch_finished(client, run_id)
    reused = (
        f"already has this content for run {short(old.id)}: nothing is submitted; --force processes it again"
    )

    async def start() -> LumeRun:
        with sending(session.say, file.name) as report:
            return await old.resubmit(file, force=force, progress=report)

    try:
        return await submission.begin(str(old.flow_version), str(file), start, reused)
    except InvalidRequestError as error:
        if error.status_code is not None and "force=True" not in str(error):
            raise
        refused = str(error.args[0]).removeprefix("corrected: ").replace(old.id, short(old.id))
        refused = refused.replace("pass force=True", "add --force")
        kind = click.UsageError if error.status_code is None else click.ClickException
    raise kind(refused)
