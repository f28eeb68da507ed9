"""`lume resubmit`: run the flow version of a run on its corrected rejects."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, Waiting, server_or_ids_options, submit_and_wait_options
from lume_cli.commands import FILE


@click.command("resubmit")
@click.argument("run", metavar="RUN")
@click.argument("corrected", type=FILE, metavar="FILE")
@click.option(
    "--force",
    is_flag=True,
    help="Accept a file without _lume_ columns and content that was submitted before; replace rows of RUN.",
)
@submit_and_wait_options
@server_or_ids_options
@click.pass_obj
def command(
    options: GlobalOptions, *, run: str, corrected: Path, force: bool, waiting: Waiting | None
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
    from lume_cli._work.run import RunSubmission, resubmit

    session = CommandSession(options, "ids")
    submission = RunSubmission(session, waiting)
    session.finish_with_client(
        lambda client: resubmit(session, submission, client, run, corrected, force=force),
        submission.interruption,
    )
