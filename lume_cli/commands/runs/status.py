"""`lume status`: the current status of runs."""

import click

from lume_cli._options import GlobalOptions, runs_argument, server_options


@click.command("status")
@runs_argument
@click.option(
    "--exit-status", is_flag=True, help="Exit with the code of the worst run (3, 5, 6) instead of 0."
)
@click.option(
    "--allow-partial", is_flag=True, help="With --exit-status: 0 instead of 5 if rows were rejected."
)
@server_options
@click.pass_obj
def command(options: GlobalOptions, *, runs: tuple[str, ...], exit_status: bool, allow_partial: bool) -> None:
    """Show the current status of each RUN, without waiting.

    The exit code is 0 if the request succeeded, whatever the status; --exit-status makes it reflect the
    runs. With - as RUN, ids are read from stdin, one per line.

    \b
    lume status run_01HY run_01HZ
    lume status run_01HY -o json | jq -r '.[0].status'
    """
    from lume_async import Client, LumeRun
    from lume_cli._output import exit_codes, run_view
    from lume_cli._session import CommandSession
    from lume_cli._work.run_ids import each, run_ids, whole_ids

    session = CommandSession(options)
    ids = run_ids(session, runs)

    async def work(client: Client) -> int:
        found, codes = await each(session, await whole_ids(client, ids), client.run_status)
        session.data.many(found, run_view.HEADERS, run_view.rows, run_view.to_dict)
        for run in found:
            if run_view.failure(run) is not None:
                session.say.note(run_view.ending(run))
        return exit_codes.worst([*codes, *(code(run) for run in found if exit_status)])

    def code(run: LumeRun) -> int:
        ended = exit_codes.of_status(run.status, allow_partial=allow_partial)
        return ended if run.is_terminal else exit_codes.OK

    session.finish_with_client(work)
