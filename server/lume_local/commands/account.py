"""What commands write about flows: their mistakes, and the account of a clean or a try."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lume_async._base.words import counted
from lume_async.models import RunStatus
from lume_cli._output.text import filtered, warnings
from lume_cli._session import CommandSession
from lume_local import FlowError


def lines_of(
    flow: str, source: str, status: RunStatus, failure: str | None, metrics: Mapping[str, Any], *more: str
) -> list[str]:
    """Return the counts, the reasons, `more`, and the warnings; or why it failed."""
    if failure is not None:
        return [f"{flow} on {source}: {status}: {failure}"]
    lines = [
        f"{flow} on {source}: {counted(metrics['rows_read'], 'row')} read, {metrics['rows_mapped']:,} clean, "
        f"{metrics['rows_rejected']:,} rejected{filtered(metrics.get('rows_filtered', 0))}"
    ]
    most_first = sorted(metrics["reject_reasons"].items(), key=lambda item: (-item[1], item[0]))
    lines += [f"  {counted(number, 'row')}: {reason}" for reason, number in most_first]
    return [*lines, *more, *(f"  warning: {one}" for one in warnings(metrics["warnings"]))]


def report(session: CommandSession, path: Path, error: FlowError) -> None:
    """Write every mistake of a file to stderr."""
    for mistake in (error, *error.others):
        session.say.problem("flow", mistake.located(path), file=str(path), place=mistake.place)
