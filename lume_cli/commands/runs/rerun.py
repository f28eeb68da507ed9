"""`lume rerun`: run the flow version of a run on its source again."""

import click

from lume_cli._options import GlobalOptions, Waiting, server_or_ids_options, submit_and_wait_options


@click.command("rerun")
@click.argument("run", metavar="RUN")
@submit_and_wait_options
@server_or_ids_options
@click.pass_obj
def command(options: GlobalOptions, *, run: str, waiting: Waiting | None) -> None:
    """Submit a finished RUN again: the same flow version, source, metadata and layout. Print the id of the new run.

    It reads the current content of the source. If RUN has output, its source is processed again, which may
    duplicate rows in the target, and the open rejected rows of earlier runs become superseded; if the content has
    changed, there is a warning.

    \b
    lume rerun 2f91d0ab --wait
    """
    from lume_async import Client, DuplicateRunError, LumeRun
    from lume_cli._output.text import short
    from lume_cli._session import CommandSession
    from lume_cli._work.run import RunSubmission, fetch_finished

    session = CommandSession(options, "ids")
    submission = RunSubmission(session, waiting)

    async def again(old: LumeRun) -> LumeRun:
        try:
            return await old.rerun()
        except DuplicateRunError as error:
            holder = short(str(error.run_id))
            if "run-in-progress" in error.body:
                error.add_note(f"`lume wait {holder}`, then look whether another run is needed")
                raise
            if not old.has_output:
                named = {"--layout": old.layout, "--force-rerun": True}
                words = session.command("run", str(old.flow_version), str(old.source_path), **named)
                error.add_note(f"see `lume show {holder}`: nothing is left to do, unless you want `{words}`")
                raise
            if error.source_changed:
                session.say.warn(
                    f"the source has other content than run {holder} has read: the new run reads what is there now; "
                    "once it has output, the open rejected rows of the earlier content are superseded"
                )
        return await old.rerun(force=True)

    async def work(client: Client) -> int:
        old = await fetch_finished(client, run)
        return await submission.begin(
            str(old.flow_version),
            str(old.source_path),
            lambda: again(old),
            "already holds this source; following it",
        )

    session.finish_with_client(work, submission.interruption)
