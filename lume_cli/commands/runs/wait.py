"""`lume wait`: wait for runs to finish."""

import click

from lume_cli._options import GlobalOptions, Waiting, runs_argument, server_options, wait_options


@click.command("wait")
@runs_argument
@wait_options
@server_options
@click.pass_obj
def command(options: GlobalOptions, *, runs: tuple[str, ...], waiting: Waiting) -> None:
    """Wait until each RUN has finished; the exit code is that of the worst one.

    Interrupting the wait does not affect the runs: just wait again. With - as RUN, ids are read from
    stdin, one per line; --timeout 0 polls once.

    \b
    lume wait run_01HY run_01HZ --timeout 30m
    lume list --status TRANSFORMING -o ids | lume wait -
    """
    from lume_cli._session import CommandSession
    from lume_cli._work.run_ids import run_ids
    from lume_cli._work.wait import Wait

    session = CommandSession(options)
    wait = Wait(session, run_ids(session, runs), waiting)
    session.finish_with_client(wait.until_ended, lambda: session.resume_wait(wait.unfinished))
