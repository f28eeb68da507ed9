"""`lume backfill`: many sources through one flow, a bounded number at a time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from lume_cli._options import Options, Seconds, server_options, submit_options

if TYPE_CHECKING:
    from lume_cli._session import Session


@click.command("backfill")
@click.argument("flow")
@click.option(
    "--from-file",
    required=True,
    metavar="FILE",
    help="Source paths, one a line (not lines with #); - reads them from stdin.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Record of what was submitted: the same command, given again after any interruption, submits "
    "nothing twice and finishes the rest.",
)
@click.option("--retry-failed", is_flag=True, help="Submit what the journal knows as failed once more.")
@click.option(
    "--max-active",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many runs may be unfinished at once.",
)
@submit_options
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    help="Stop after so many seconds (5m, 2h …) and exit with 124; runs go on.",
)
@click.option("--allow-partial", is_flag=True, help="Exit with 0, not 5, where rows were rejected.")
@server_options
@click.pass_obj
def command(
    options: Options,
    *,
    flow: str,
    from_file: str,
    journal: str | None,
    retry_failed: bool,
    max_active: int,
    force_rerun: bool,
    metadata: dict[str, str] | None,
    on_duplicate: str,
    timeout: float | None,
    allow_partial: bool,
) -> None:
    """Run FLOW on every source path of a file, with at most so many unfinished runs at a time.

    Prints a summary; with -o ndjson each outcome as one JSON line, and the summary on stderr. Where the
    key is refused, or the first 5 sources all fail for want of the server or the flow version, it stops.
    On Ctrl-C started runs go on.

    \b
    lume backfill customer_cleaner:v1 --from-file paths.txt --journal state.db
    find data -name '*.csv' | lume backfill customer_cleaner:v1 --from-file - --max-active 20
    """
    from lume_async import RunRequest
    from lume_cli._session import Session
    from lume_cli._work.backfill import Backfill
    from lume_cli._work.source_paths import Paths

    if from_file == "-" and options.api_key_stdin:
        raise click.UsageError("stdin can't hold both the API key and the paths: use LUME_API_KEY or a file")
    if retry_failed and journal is None:
        raise click.UsageError(
            "--retry-failed needs --journal FILE: without one nothing is known of earlier runs"
        )
    session = Session(options)
    paths = Paths(from_file, lambda path: RunRequest(flow, path, metadata, force_rerun))
    backfill = Backfill(session, paths, paths.count(), allow_partial=allow_partial)

    async def work() -> int:
        async with session.client([backfill.heard]) as client:
            return await backfill.until_ended(
                client,
                max_active=max_active,
                journal=journal,
                retry_failed=retry_failed,
                on_duplicate="attach" if on_duplicate == "attach" else "raise",
                timeout=timeout,
            )

    resume = {
        "--from-file": from_file,
        "--journal": journal,
        "--retry-failed": retry_failed,
        "--max-active": max_active,
        "--force-rerun": force_rerun,
        "--metadata": metadata,
        "--on-duplicate": on_duplicate if on_duplicate != "raise" else None,
        "--allow-partial": allow_partial,
    }
    session.finish(work(), lambda: _interrupted(session, backfill.unfinished, flow, resume))


def _interrupted(
    session: "Session", active: int, flow: str, resume: Mapping[str, object]
) -> tuple[str, str | None]:
    """What goes on, and the same command again where there is a journal."""
    going = f"{active:,} started run{'' if active == 1 else 's'} go{'es' if active == 1 else ''} on"
    if resume["--journal"] is not None:
        return going, session.command("backfill", flow, **resume)
    look = session.command("list", **{"--flow": flow})
    return f"{going}, see `{look}`; with --journal FILE the same command could have resumed", None
