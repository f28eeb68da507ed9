"""`lume rerun`: run the flow version of a run on its source again."""

import click

from lume_cli._options import GlobalOptions, Waiting, server_or_ids_options, submit_and_wait_options


@click.command("rerun")
@click.argument("run", metavar="RUN")
@submit_and_wait_options
@server_or_ids_options
@click.pass_obj
def command(options: GlobalOptions, *, run: str, waiting: Waiting | None) -> None:
    """Submit a finished RUN again: the same flow version, source and metadata. Print the id of the new run.

    If RUN has output, its source is processed again, which may duplicate rows in the target.

    \b
    lume rerun 2f91d0ab --wait
    """
    from lume_async import Client
    from lume_cli._session import CommandSession
    from lume_cli._work.run import RunSubmission, fetch_finished

    session = CommandSession(options, "ids")
    submission = RunSubmission(session, waiting)

    async def work(client: Client) -> int:
        old = await fetch_finished(client, run)
        return await submission.begin(
            str(old.flow_version),
            str(old.source_path),
            lambda: old.rerun(force=old.has_output),
            "already holds this source; following it",
        )

    session.finish_with_client(work, submission.interruption)
