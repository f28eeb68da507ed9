"""`lume watch`: many runs in one live table."""

import click

from lume_cli._options import GlobalOptions, Waiting, runs_argument, server_options, wait_options


@click.command("watch")
@runs_argument
@wait_options
@server_options
@click.pass_obj
def command(options: GlobalOptions, *, runs: tuple[str, ...], waiting: Waiting) -> None:
    """Watch each RUN until all have finished: a live table at a terminal, else a line per change.

    With -o ndjson each change is one JSON line; the exit code is that of `lume wait`. With - as RUN,
    ids are read from stdin, one per line; --timeout 0 polls once.

    \b
    lume watch run_01HY run_01HZ run_01J0
    lume list --flow invoices:v3 -o ids | lume watch -
    """
    from lume_cli._session import CommandSession
    from lume_cli._work.run_ids import run_ids
    from lume_cli._work.watch import RunWatcher

    session = CommandSession(options)
    watch = RunWatcher(session, run_ids(session, runs), waiting)
    session.finish_with_client(watch.until_ended, lambda: session.resume_wait(watch.unfinished))
