"""What happened that people may want to hear of: notices, which the rules of `_messages` turn into messages.

A notice is written in the transaction of what it reports, as a webhook is; which message it becomes, and for whom, is
decided afterwards, so that a run never waits for that.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from lume_async._base.elided import elided
from lume_local._runs.messages import Messages
from lume_local._runs.records import StoredRun
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


class Notices:
    """Notices that do not belong to the end of a run.

    Args:
        on_notice: called after one was written.
        is_on: whether there may be anybody to tell; else nothing is written.
    """

    def __init__(self, messages: Messages, on_notice: Callable[[], None], *, is_on: bool) -> None:
        self._messages, self._on_notice, self._is_on = messages, on_notice, is_on

    async def arrival_refused(self, arrival: str, flow: str, place: str, why: str) -> None:
        """A file that has arrived is not submitted. Call it once for each refusal. Raises `StoreFailed`.

        This is what arrivals call: `arrival` is the name of its table, `flow` the flow or flow version that it names,
        `place` the path or URL of the file, `why` the reason.
        """
        if not self._is_on:
            return
        notice = {
            "kind": REFUSED,
            "flow": flow.partition(":")[0],
            "flow_version": flow,
            "arrival": arrival,
            "place": elided(place, _LONGEST_PLACE),
            "error": elided(why),
            "at": now_text(),
        }
        await self._messages.note(orjson.dumps(notice))
        self._on_notice()
