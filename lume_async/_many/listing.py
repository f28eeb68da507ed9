"""Listing runs: pages, each fetched when the previous one has been read."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from datetime import UTC, datetime

from lume_async._base import arguments
from lume_async._base.batched import Chunked
from lume_async._base.duration import Duration, seconds
from lume_async._http.sender import Sender
from lume_async._run.handle import LumeRun
from lume_async._run.pages import check_limit, run_pages
from lume_async._run.state import record_of
from lume_async.models import RunStatus, plain_text, wanted_status


def list_runs(
    sender: Sender,
    *,
    flow_version: str | None,
    flow: str | None,
    source_path: str | None,
    source: str | None,
    status: RunStatus | str | Collection[RunStatus | str] | None,
    since: datetime | Duration | None,
    attention: float | None,
    submitted_by: str | None,
    limit: int | None,
) -> Chunked[LumeRun]:
    """The runs that match, newest first. Raises `ValueError` if an argument is not valid; no request was sent."""
    check_limit(limit)
    asked = {"flow_version": flow_version, "flow": flow, "source_path": source_path, "source": source}
    asked["submitted_by"] = submitted_by
    filters: dict[str, str | list[str]] = {
        name: plain_text(value, name) for name, value in asked.items() if value is not None
    }
    if status is not None:
        statuses = [status] if isinstance(status, str) else status
        arguments.several(statuses, "status", "statuses", Collection)
        filters["status"] = [str(wanted_status(one)) for one in statuses]
        if not statuses:
            raise ValueError("status must name a status: an empty collection matches no run")
    if attention is not None:
        share = f"{arguments.number(attention, 'attention', 0, 1):.9f}"
        filters["attention"] = share.rstrip("0").rstrip(".")
    return Chunked(_pages(sender, filters, oldest(sender, since), limit), "runs")


def oldest(sender: Sender, since: datetime | Duration | None) -> datetime | None:
    """The time before which runs are too old; None for no limit."""
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since must be an aware datetime, such as datetime.now(UTC)")
        return since
    if since is None:
        return None
    # `fromtimestamp` fails for times long before 1970.
    return datetime.fromtimestamp(max(0.0, sender.clock.wall() - seconds(since, "since")), UTC)


async def _pages(
    sender: Sender, filters: Mapping[str, str | list[str]], oldest: datetime | None, limit: int | None
) -> AsyncGenerator[list[LumeRun], None]:
    async with aclosing(run_pages(sender, filters, oldest, limit)) as found:
        async for page in found:
            yield [LumeRun(sender, run.id, record_of(run)) for run in page]
