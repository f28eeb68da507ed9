"""`lume list`: the runs of the service."""

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lume_cli._options import Options, server_or_ids_options

if TYPE_CHECKING:
    from lume_cli._session import Session


@click.command("list")
@click.option("--flow", metavar="FLOW", help="Only runs of this flow version, such as customer_cleaner:v1.")
@click.option("--source", metavar="SOURCE", help="Only runs on this source.")
@click.option("--status", metavar="STATUS", help="Only runs that have this status now, such as FAILED.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many runs."
)
@server_or_ids_options
@click.pass_obj
def command(
    options: Options, *, flow: str | None, source: str | None, status: str | None, limit: int
) -> None:
    """List runs, newest first.

    \b
    lume list --status FAILED --limit 10
    lume list --status FAILED -o ids | lume show -
    lume list --status FAILED -o sources | lume backfill invoices:v3 --from-file -
    lume list --flow invoices:v3 -o ndjson | jq -r .run_metadata.ticket
    """
    from lume_async import LumeRun
    from lume_cli._output import exit_codes, run_view
    from lume_cli._session import Session

    session = Session(options, ids=True, sources=True)
    data = session.data
    wanted = _status(status) if status else None
    asked = click.get_current_context().get_parameter_source("limit") is not ParameterSource.DEFAULT

    async def work() -> int:
        async with session.client() as client:
            found, kept, told = 0, list[LumeRun](), set[str]()
            pages = client.list_runs(flow_version=flow, source_path=source, status=wanted, limit=limit)
            async for run in pages:
                found += 1
                if data.format == "ndjson":
                    data.document(run_view.to_dict(run))
                elif data.format == "ids":
                    data.line(run.id)
                elif data.format == "sources":
                    _tell_source(session, run.source_path, told)
                else:
                    kept.append(run)
        if data.format in ("table", "json"):
            data.many(kept, run_view.HEADERS, run_view.row, run_view.to_dict)
        if data.format in ("table", "ids", "sources") and not found:
            session.say.note("no runs match")
        if found == limit and not asked:
            session.say.note(
                f"these are the newest {limit:,}; there may be more: --limit says how many you want"
            )
        return exit_codes.OK

    session.finish(work(), lambda: ("interrupted", None))


def _status(text: str) -> str:
    """The status. One that is unknown here may be a newer server's; one that is nearly known is a slip.

    Raises:
        click.UsageError: it is nearly known.
    """
    from difflib import get_close_matches

    from lume_async import RunStatus

    status, known = text.upper(), [str(one) for one in RunStatus]
    if status not in known and (near := get_close_matches(status, known, n=1, cutoff=0.75)):
        raise click.UsageError(f"there is no status {text!r}: did you mean {near[0]}?")
    return status


def _tell_source(session: "Session", source: str | None, told: set[str]) -> None:
    """Each source once; a list of lines, in which # begins a comment, can't hold every one."""
    if source is None or source in told:
        return
    told.add(source)
    if source.startswith("#") or source != source.strip() or len(source.splitlines()) != 1:
        session.say.warn(f"left out, for it can't stand in a list of lines: {source!r}")
    else:
        session.data.line(source)
