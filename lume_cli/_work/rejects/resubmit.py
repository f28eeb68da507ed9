"""Submitting corrected rejects once. The work of `resubmit`."""

from pathlib import Path

import click
from anyio import to_thread

from lume_async import Client, InvalidRequestError, LumeRun
from lume_cli._output.short_ids import short
from lume_cli._session import CommandSession
from lume_cli._work.rejects.corrected import Corrected, holder, refuse_others, refuse_replacing
from lume_cli._work.run import RunSubmission, fetch_finished

_KEY_IS_TAKEN = "urn:lume:problem:idempotency-key-reused"


async def resubmit(
    session: CommandSession,
    client: Client,
    run_id: str,
    file: Path,
    *,
    force: bool,
    is_waited_for: bool,
    timeout: float | None,
    into: list[RunSubmission],
) -> LumeRun:
    """The run on these corrected rejects: a new one, or the one that has their content; `into` gets its submission.

    Raises:
        click.ClickException: the run can't be repeated, or the file is not a rejects file.
    """
    old = await fetch_finished(client, run_id)
    if not force:
        refuse_others(file, old)
    corrected = await to_thread.run_sync(Corrected.of, old, file)
    submission = RunSubmission(session, str(old.flow_version), str(file))
    into.append(submission)

    def follow(run: LumeRun) -> LumeRun:
        session.say.note(
            f"run {short(run.id)} already has this content for run {short(old.id)}: nothing is submitted; "
            "--force processes it again"
        )
        return submission.show(run, is_waited_for=is_waited_for)

    key = None
    if not force:
        earlier = await corrected.earlier(client)
        if (held := holder(earlier)) is not None:
            return follow(held)
        await refuse_replacing(client, old)
        key = corrected.key(earlier)
    try:
        return await submission.begin(
            client,
            is_waited_for=is_waited_for,
            timeout=timeout,
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
