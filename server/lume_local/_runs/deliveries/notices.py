"""What happened that people may want to hear of: notices, which the rules of `_messages` turn into messages.

A notice is written in the transaction of what it reports, as a webhook is; which message it becomes, and for whom, is
decided afterwards, so that a run never waits for that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lume_async._base.elided import elided
from lume_local._runs.store.records import StoredRun
from lume_local._runs.times import now_text

REFUSED = "arrival.refused"
_MOST_REASONS = 20
"""The commonest reasons of rejects that a notice has."""
_LONGEST_PLACE = 200
"""Characters of a path in a message."""


def run_notice(
    run: StoredRun,
    status: str,
    at: str,
    metrics: Mapping[str, Any],
    message: str | None,
    unusual: Sequence[str] = (),
) -> bytes:
    """The end of a run. No cell values, except those that the error message quotes."""
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
    """A file that arrived is not submitted: `arrival` is the name of its table, `flow` the flow or flow version."""
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
