"""`lume backfill`: one flow over many sources, with bounded concurrency."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from lume_cli._options import GlobalOptions, Seconds, count_option, file_name, server_options, submit_options

if TYPE_CHECKING:
    from lume_cli._session import CommandSession


@click.command("backfill")
@click.argument("flow")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@click.option(
    "--from-file",
    metavar="FILE",
    help="File with source paths, one per line (# begins a comment line); - reads stdin.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False),
    callback=file_name,
    metavar="FILE",
    help="Record of what was submitted: repeated after any interruption, the same command submits nothing "
    "twice and finishes the rest.",
)
@click.option("--retry-failed", is_flag=True, help="Submit again what failed according to the journal.")
@count_option("--max-active", 50, "Maximum number of unfinished runs.")
@submit_options
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    help="Stop after this time (90, 5m, 2h …) and exit with 124; runs keep running.",
)
@click.option("--allow-partial", is_flag=True, help="Exit with 0 instead of 5 if rows were rejected.")
@server_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    flow: str,
    sources: tuple[str, ...],
    from_file: str | None,
    journal: str | None,
    retry_failed: bool,
    max_active: int,
    force_rerun: bool,
    run_metadata: dict[str, str] | None,
    layout: str | None,
    on_duplicate: str,
    timeout: float | None,
    allow_partial: bool,
) -> None:
    """Run FLOW on every SOURCE, or on every source path in a file, with a bounded number of unfinished runs.

    A SOURCE may be a pattern: 'in/*.csv' stands for the files here that match, in the order of their names.

    Prints a summary; with -o ndjson one JSON line per outcome, and the summary on stderr. Stops early if
    the key is rejected, or if the first 5 sources all fail because the server can't be reached or does not
    know the flow version. On Ctrl-C submitted runs keep running.

    \b
    lume backfill customer_cleaner:v1 'in/*.csv'
    lume backfill customer_cleaner:v1 --from-file paths.txt --journal state.db
    find data -name '*.csv' | lume backfill customer_cleaner:v1 --from-file - --max-active 20
    """
    from lume_async import Client, RunRequest
    from lume_cli._session import CommandSession
    from lume_cli._work.backfill import Backfill, Named, Paths

    if bool(sources) == (from_file is not None):
        raise click.UsageError("pass the sources, such as 'in/*.csv', or --from-file FILE with their paths")
    if from_file == "-" and options.api_key_stdin:
        raise click.UsageError(
            "stdin can't supply both the API key and the paths: use LUME_API_KEY or a file"
        )
    if retry_failed and journal is None:
        raise click.UsageError("--retry-failed needs --journal FILE, which records the earlier runs")
    session = CommandSession(options)

    def request(path: str) -> RunRequest:
        return RunRequest(flow, path, run_metadata, force_rerun, layout=layout)

    paths = Named(sources, request) if from_file is None else Paths(from_file, request)
    backfill = Backfill(session, paths, paths.count(), allow_partial=allow_partial)

    async def work(client: Client) -> int:
        return await backfill.until_ended(
            client,
            max_active=max_active,
            journal=journal,
            retry_failed=retry_failed,
            on_duplicate=on_duplicate,
            timeout=timeout,
        )

    resume = {
        "--from-file": from_file,
        "--journal": journal,
        "--retry-failed": retry_failed,
        "--max-active": max_active,
        "--force-rerun": force_rerun,
        "--metadata": run_metadata,
        "--layout": layout,
        "--on-duplicate": on_duplicate if on_duplicate != "raise" else None,
        "--allow-partial": allow_partial,
    }
    session.finish_with_client(
        work, lambda: _interruption(session, backfill.unfinished, [flow, *sources], resume)
    )


def _interruption(
    session: "CommandSession", active: int, words: Sequence[str], resume: Mapping[str, object]
) -> tuple[str, str | None]:
    """Return the message for Ctrl-C, and with a journal the command to resume."""
    from lume_async._base.words import counted

    going = counted(active, "submitted run keeps running", "submitted runs keep running")
    if resume["--journal"] is not None:
        return going, session.command("backfill", *words, **resume)
    listing = session.command("list", **{"--flow": words[0]})
    return f"{going}: see `{listing}`; with --journal FILE the command could be resumed", None
