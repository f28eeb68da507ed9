"""`lume rerun`: run the flow version of a run on its source again."""

import click

from lume_cli._options import GlobalOptions, server_or_ids_options, wait_options


@click.command("rerun")
@click.argument("run", metavar="RUN")
@click.option(
    "--wait", "-w", is_flag=True, help="Wait for the run to finish; the exit code reflects its status."
)
@wait_options
@server_or_ids_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    run: str,
    wait: bool,
    timeout: float | None,
    poll_interval: float | None,
    allow_partial: bool,
) -> None:
    """Submit a finished RUN again: the same flow version, source and metadata. Print the id of the new run.

    If RUN has output, its source is processed again, which may duplicate rows in the target.

    \b
    lume rerun 2f91d0ab --wait
    """
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession
    from lume_cli._work.run import RunSubmission, repeat

    if not wait and (timeout is not None or poll_interval is not None):
        raise click.UsageError("--timeout and --poll-interval need --wait")
    session = CommandSession(options, ids=True)
    submissions: list[RunSubmission] = []

    async def work() -> int:
        async with session.client() as client:
            submission, how = await repeat(session, client, run)
            submissions.append(submission)
            new = await submission.begin(client, is_waited_for=wait, timeout=timeout, **how)
            if not wait:
                return exit_codes.OK
            return await submission.until_ended(new, timeout, poll_interval, allow_partial=allow_partial)

    session.finish(work(), lambda: submissions[0].interruption() if submissions else ("interrupted", None))
