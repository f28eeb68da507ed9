"""The runs that `list` shows, and why there are none. The work of `list`."""

from collections.abc import AsyncIterator
from difflib import get_close_matches

from attrs import frozen

from lume_async import Client, LumeRun, RunStatus

_RECENT = 200
"""Runs whose flow versions a misspelled one is compared with."""


@frozen
class Wanted:
    """Which runs: the filters of the server, a limit, and an age in seconds."""

    flow: str | None
    source: str | None
    status: str | None
    limit: int
    since: float | None


def listed(client: Client, wanted: Wanted) -> AsyncIterator[LumeRun]:
    """The runs, newest first."""
    return client.list_runs(
        flow_version=wanted.flow,
        source_path=wanted.source,
        status=wanted.status,
        since=wanted.since,
        limit=wanted.limit,
    )


async def mistake(client: Client, wanted: Wanted) -> str | None:
    """What is probably wrong with the filters that no run has passed; None if nothing is."""
    known = [str(one) for one in RunStatus]
    if wanted.status is not None and wanted.status not in known:
        return f"{wanted.status!r} is not a known status: {', '.join(known)}"
    if wanted.flow is None or [run async for run in client.list_runs(flow_version=wanted.flow, limit=1)]:
        return None
    recent = {run.flow_version or "" async for run in client.list_runs(limit=_RECENT)} - {""}
    near = get_close_matches(wanted.flow, recent, n=1)
    known_flows = f"recent runs are of {', '.join(sorted(recent)[:5])}" if recent else "there are no runs yet"
    return f"no run of {wanted.flow!r} exists: " + (f"did you mean {near[0]!r}?" if near else known_flows)
