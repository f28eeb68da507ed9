"""Notices: events that people may want to hear about. The rules of `_messages` turn them into messages.

A notice is written in the same transaction as the event, like a webhook. The message and its recipients are decided
later, so that a run never waits for that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lume_async._base.elided import elided
from lume_local._runs.store.records import StoredRun
from lume_local._runs.times import now_text

REFUSED = "arrival.refused"
_MOST_REASONS = 20
"""The maximum number of reject reasons in a notice, most frequent first."""
_LONGEST_PLACE = 200
"""The maximum length of a path in a message."""


def run_notice(
    run: StoredRun,
    status: str,
    at: str,
    metrics: Mapping[str, Any],
    message: str | None,
    unusual: Sequence[str] = (),
) -> bytes:
    """Return the notice for the end of a run. It has no cell values except any that the error message quotes."""
    reasons: dict[str, int] = metrics.get("reject_reasons", {})
    commonest = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]
    return orjson.dumps(
        {
            "kind": status,
            "flow": run.flow_version.partition(":")[0],
            "flow_version": run.flow_version,
            "run_id": run.run_id,
            "place": elided(run.source_path, _LONGEST_PLACE),
            "read": metrics.get("rows_read", 0),
            "rejected": metrics.get("rows_rejected", 0),
            "reasons": dict(commonest),
            "error": message,
            "unusual": list(unusual),
            "at": at,
        }
    )


def refusal_notice(arrival: str, flow: str, place: str, why: str) -> bytes:
    """Return the notice that an arrived file was refused.

    Args:
        arrival: the name of the arrival's table.
        flow: the flow or flow version.
    """
    return orjson.dumps(
        {
            "kind": REFUSED,
            "flow": flow.partition(":")[0],
            "flow_version": flow,
            "arrival": arrival,
            "place": elided(place, _LONGEST_PLACE),
            "error": elided(why),
            "at": now_text(),
        }
    )
