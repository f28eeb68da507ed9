"""`lume resubmit`: run the flow version of a run on its corrected rejects."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, server_or_ids_options, wait_options


@click.command("resubmit")
@click.argument("run", metavar="RUN")
@click.argument("corrected", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--wait", "-w", is_flag=True, help="Wait for the run to finish; the exit code reflects its status."
)
@click.option(
    "--force",
    is_flag=True,
    help="Accept a file without _lume_ columns and content that was submitted before; replace rows of RUN.",
)
@wait_options
@server_or_ids_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    run: str,
    corrected: Path,
    wait: bool,
    force: bool,
    timeout: float | None,
    poll_interval: float | None,
    allow_partial: bool,
) -> None:
    """Upload FILE, corrected rejects of RUN, and run the same flow version on it. Print the new run's id.

    The new run has the metadata of RUN, and its id as `resubmit_of`. If a run has already processed the same content
    for RUN, its id is printed and nothing is submitted. A run that would overwrite the file with the rows of RUN is
    refused.

    \b
    lume rejects 2f91d0ab -o csv > mended.csv       # then correct mended.csv
    lume resubmit 2f91d0ab mended.csv --wait
    """
    from lume_cli._session import CommandSession
    from lume_cli._work.rejects.resubmit import resubmit
    from lume_cli._work.run import RunSubmission

    if not wait and (timeout is not None or poll_interval is not None):
        raise click.UsageError("--timeout and --poll-interval need --wait")
    session = CommandSession(options, ids=True)
    submissions: list[RunSubmission] = []

    async def work() -> int:
        from lume_cli._output import exit_codes

        async with session.client() as client:
            new = await resubmit(
                session,
                client,
                run,
                corrected,
                force=force,
                is_waited_for=wait,
                timeout=timeout,
                into=submissions,
            )
            if not wait:
                return exit_codes.OK
            return await submissions[0].until_ended(new, timeout, poll_interval, allow_partial=allow_partial)

    session.finish(work(), lambda: submissions[0].interruption() if submissions else ("interrupted", None))
