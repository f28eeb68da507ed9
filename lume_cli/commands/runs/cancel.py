"""`lume cancel`: cancel runs."""

import click

from lume_cli._options import GlobalOptions, runs_argument, server_options


@click.command("cancel")
@runs_argument
@server_options
@click.pass_obj
def command(options: GlobalOptions, *, runs: tuple[str, ...]) -> None:
    """Request cancellation of each RUN. Runs that have ended are left unchanged, and reported.

    Cancelling may take a moment: `lume wait RUN` shows how the run ended. With - as RUN, ids are read
    from stdin, one per line.

    \b
    lume cancel run_01HY
    lume list --source customers.csv -o ids | lume cancel -
    """
    from lume_async import Client, LumeRun
    from lume_cli._output import exit_codes, run_view
    from lume_cli._output.text import short
    from lume_cli._session import CommandSession
    from lume_cli._work.run_ids import each, run_ids, whole_ids

    session = CommandSession(options)
    ids = run_ids(session, runs)

    async def work(client: Client) -> int:
        async def cancel(run_id: str) -> LumeRun:
            run = await client.run_status(run_id)
            if run.is_terminal:
                session.say.warn(f"run {short(run.id)} has ended {run.status} already: nothing was cancelled")
            else:
                await run.cancel()
            return run

        found, codes = await each(session, await whole_ids(client, ids), cancel)
        session.data.many(found, run_view.HEADERS, run_view.rows, run_view.to_dict)
        return exit_codes.worst(codes)

    session.finish_with_client(work, lambda: ("interrupted; some runs may have been cancelled", None))
