"""The arrivals of a server, as tables and JSON. Pure."""

from collections.abc import Iterable, Iterator

from lume_async import ArrivalFile, ArrivalInfo
from lume_cli._output.text import moment

HEADERS = ("ARRIVAL", "STATE", "SINCE", "PATH", "RUN", "STATUS", "WHY")


def summary(arrival: ArrivalInfo) -> str:
    """Return an arrival in one line."""
    counts = f"{arrival.waiting:,} waiting, {arrival.submitted:,} submitted, {arrival.refused:,} refused"
    watched = f"watched by {arrival.watched}" if arrival.watched else "not watched"
    trouble = f"; {arrival.trouble}" if arrival.trouble else ""
    return f"{arrival.name}: {arrival.uri} to {arrival.flow}, {watched}: {counts}{trouble}"


def rows(files: Iterable[ArrivalFile]) -> Iterator[tuple[str, ...]]:
    for one in files:
        run = one.run_id or "", one.status or ""
        yield one.arrival, one.state, moment(one.at), one.path, *run, one.why or ""
