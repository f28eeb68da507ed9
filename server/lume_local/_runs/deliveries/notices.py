"""Notices: events that people may want to hear about. The rules of `_messages` turn them into messages.

A notice is written in the same transaction as the event, like a webhook. The message and its recipients are decided
later, so that a run never waits for that. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import field, frozen

from lume_async._base.elided import elided
from lume_local._runs.store.records import StoredRun
from lume_local._runs.times import now_text

REFUSED = "arrival.refused"
_MOST_REASONS = 20
"""The maximum number of reject reasons in a notice, most frequent first."""
_LONGEST_PLACE = 200
"""The maximum length of a path in a message."""
_QUOTED = re.compile(r"(?<!\w)(?:(['\"`]).*\1(?!\w)|\u201c.*\u201d|['\"`\u201c].*)", re.DOTALL)
"""From the first mark to the last: a value may contain such marks, and a truncated one lacks the closing mark."""
_END = re.compile(r": |; | \(|\. |=\(|\n")
_NUMBER = re.compile(r"(?<![\w.-])[-+]?\d(?:[\d.,:/+-]*\d)?(?:[eE][-+]?\d+)?(?!\w)")
_LONGEST_CLAUSE = 200


def run_notice(
    run: StoredRun,
    status: str,
    at: str,
    metrics: Mapping[str, Any],
    message: str | None,
    unusual: Sequence[str] = (),
    told: str = "",
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
            "told": elided(told),
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
            "told": elided(why),
            "at": now_text(),
        }
    )


@frozen
class Notice:
    """The end of a run, or a refused file.

    Attributes:
        kind: a status, or `arrival.refused`.
        place: the source, or the file.
        reasons: reasons of rejects, with the number of rows.
        error: the error; it may quote values.
        unusual: one sentence for each unusual property of the run.
        told: the error without values; empty if it is unknown whether it has any.
        at: the time, formatted as on the wire.
    """

    kind: str
    flow: str
    flow_version: str
    at: str
    run_id: str = ""
    place: str = ""
    read: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(factory=dict)
    error: str | None = None
    unusual: list[str] = field(factory=list)
    arrival: str = ""
    told: str = ""

    @classmethod
    def of(cls, body: bytes) -> "Notice":
        given: dict[str, Any] = orjson.loads(body)
        return cls(**{name: value for name, value in given.items() if name in cls.__annotations__})

    @property
    def share(self) -> float:
        return self.rejected / self.read if self.read else 0.0

    def why(self, *, with_values: bool) -> str:
        """Return the error; without values it is the same for all runs that fail alike."""
        if not self.error:
            return "the server gave no reason"
        if with_values:
            return self.error
        name, error = re.escape(self.place.rpartition("/")[2]), self.told or self.error
        error = re.sub(rf"['\"]?[^\s('\"]*{name}['\"]?", "the source", error) if name else error
        return error if self.told else without_values(error)


def without_values(message: str) -> str:
    """Return the first clause of an error message, with `…` in place of quotations and numbers.

    This groups the errors of many runs, and keeps data out of chats. This server's messages put data in quotation
    marks, and list a file's content after a colon or in brackets, so the first clause names the problem.
    """
    text = _QUOTED.sub("…", message)
    text = _END.split(text, maxsplit=1)[0]
    return _NUMBER.sub("…", text)[:_LONGEST_CLAUSE].strip()
