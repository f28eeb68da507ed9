"""`lume wait` and `lume watch`: wait for runs to finish, or look at them meanwhile."""

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


@click.command("watch")
@runs_argument
@wait_options
@server_options
@click.pass_obj
def watch(options: GlobalOptions, *, runs: tuple[str, ...], waiting: Waiting) -> None:
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
    watcher = RunWatcher(session, run_ids(session, runs), waiting)
    session.finish_with_client(watcher.until_ended, lambda: session.resume_wait(watcher.unfinished))
