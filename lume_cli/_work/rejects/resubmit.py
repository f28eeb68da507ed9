"""Submitting corrected rejects once. The work of `resubmit`."""

from pathlib import Path

import click
from anyio import to_thread

from lume_async import Client, InvalidRequestError
from lume_cli._output.short_ids import short
from lume_cli._session import CommandSession
from lume_cli._work.rejects.corrected import Corrected, holder, refuse_others, refuse_replacing
from lume_cli._work.run import RunSubmission, fetch_finished

_KEY_IS_TAKEN = "urn:lume:problem:idempotency-key-reused"


async def resubmit(
    session: CommandSession,
    submission: RunSubmission,
    client: Client,
    run_id: str,
    file: Path,
    *,
    force: bool,
) -> int:
    """Run the flow version of a run on its corrected rejects, or find the run that has their content; the exit code.

    Raises:
        click.ClickException: the run can't be repeated, or the file is not a rejects file.
    """
    old = await fetch_finished(client, run_id)
    if not force:
        refuse_others(file, old)
    corrected = await to_thread.run_sync(Corrected.of, old, file)
    key = None
    if not force:
        earlier = await corrected.earlier(client)
        if (held := holder(earlier)) is not None:
            session.say.note(
                f"run {short(held.id)} already has this content for run {short(old.id)}: nothing is submitted; "
                "--force processes it again"
            )
            return await submission.follow(held)
        await refuse_replacing(client, old)
        key = corrected.key(earlier)
    try:
        return await submission.to_end(
            client,
            str(old.flow_version),
            str(file),
            is_uploaded=True,
            run_metadata=corrected.metadata,
            idempotency_key=key,
        )
    except InvalidRequestError as error:
        if key is None or _KEY_IS_TAKEN not in error.body:
            raise
        raise click.ClickException(
            f"this content was submitted for run {short(old.id)} a moment ago: repeat the command to follow that "
            "run, or add --force to process it again"
        ) from None
