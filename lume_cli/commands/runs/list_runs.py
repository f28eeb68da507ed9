"""`lume list`: list runs."""

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lume_cli._options import GlobalOptions, Utf8, count_option, list_options, since_option

if TYPE_CHECKING:
    from lume_async import Client
    from lume_cli._session import CommandSession

_RECENT = 200
"""The number of runs whose flow versions are compared with a misspelled one."""


@click.command("list")
@click.option(
    "--flow",
    type=Utf8(),
    metavar="FLOW",
    help="Only runs of this flow, such as customer_cleaner, or of one version of it: customer_cleaner:v1.",
)
@click.option(
    "--source",
    type=Utf8(),
    metavar="SOURCE",
    help="Only runs on this source, as it was submitted: not its absolute path, if that was relative.",
)
@click.option(
    "--status", type=Utf8(), metavar="STATUS", help="Only runs with this current status, such as FAILED."
)
@since_option("Only runs created in this time: 30m, 2h, 7d …")
@click.option("--by", type=Utf8(), metavar="KEY", help="Only runs that the key with this name has submitted.")
@count_option("--limit", 50, "Maximum number of runs.")
@list_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    flow: str | None,
    source: str | None,
    status: str | None,
    since: float | None,
    by: str | None,
    limit: int,
) -> None:
    """List runs, newest first.

    \b
    lume list --status FAILED --since 2h
    lume list --status FAILED -o ids | lume show -
    lume list --status FAILED -o sources | lume backfill invoices:v3 --from-file -
    lume list --flow invoices:v3 -o ndjson | jq -r .run_metadata.ticket
    """
    from lume_async import LumeRun
    from lume_async.models import wanted_status
    from lume_cli._output import run_view
    from lume_cli._session import CommandSession
    from lume_cli._streams import write_utf8

    session = CommandSession(options, "ids", "sources")
    data = session.data
    if data.format == "sources":
        write_utf8()
    try:
        status = str(wanted_status(status)) if status else None
    except ValueError as error:  # it is misspelled
        raise click.UsageError(str(error)) from None
    asked = click.get_current_context().get_parameter_source("limit") is not ParameterSource.DEFAULT

    async def work(client: "Client") -> None:
        found, kept, printed = 0, list[LumeRun](), set[str]()
        async for run in client.list_runs(
            **_of(flow), source_path=source, status=status, since=since, submitted_by=by, limit=limit
        ):
            found += 1
            if data.format == "ndjson":
                data.document(run_view.to_dict(run))
            elif data.format == "ids":
                data.line(run.id)
            elif data.format == "sources":
                _print_source(session, run.source_path, printed)
            else:
                kept.append(run)
        if not found and (text := await _mistake(client, flow, status)) is not None:
            session.say.warn(text)
        if data.format in ("table", "json"):
            data.many(kept, run_view.HEADERS, run_view.rows, run_view.to_dict)
        if data.format in ("table", "ids", "sources") and not found:
            session.say.note("no runs match")
        if found == limit and not asked:
            session.say.note(f"showing the newest {limit:,}; there may be more: raise --limit to see them")

    session.finish_with_client(work)


def _of(flow: str | None) -> dict[str, Any]:
    """Return the filter for a flow in all its versions, or for one of them."""
    return {"flow_version" if flow is not None and ":" in flow else "flow": flow}


async def _mistake(client: "Client", flow: str | None, status: str | None) -> str | None:
    """Return the probable mistake in filters that no run matches; None if there is none."""
    from difflib import get_close_matches

    from lume_async import RunStatus

    known = [str(one) for one in RunStatus]
    if status is not None and status not in known:
        return f"{status!r} is not a known status: {', '.join(known)}"
    if flow is None or [run async for run in client.list_runs(**_of(flow), limit=1)]:
        return None
    recent = {run.flow_version or "" async for run in client.list_runs(limit=_RECENT)} - {""}
    named = recent if ":" in flow else {version.partition(":")[0] for version in recent}
    near = get_close_matches(flow, named, n=1)
    known_flows = f"recent runs are of {', '.join(sorted(recent)[:5])}" if recent else "there are no runs yet"
    return f"no run of {flow!r} exists: " + (f"did you mean {near[0]!r}?" if near else known_flows)


def _print_source(session: "CommandSession", source: str | None, printed: set[str]) -> None:
    """Print each source once; some can't be lines of a list in which # begins a comment."""
    if source is None or source in printed:
        return
    printed.add(source)
    if source.startswith("#") or source != source.strip() or len(source.splitlines()) != 1:
        session.say.warn(f"omitted, since it can't be written on one line of a list: {source!r}")
    else:
        session.data.line(source)
