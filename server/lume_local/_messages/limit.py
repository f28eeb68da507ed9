"""A limit on messages in a period; the rest is collected for one digest, sent as soon as allowed. Pure."""

from typing import Any

import orjson
from attrs import asdict, evolve, field, frozen

from lume_local._messages.rules import RECOVERED, Rate
from lume_local._runs.deliveries.notices import Notice

MOST_FLOWS = 50
"""Flows counted by name for each kind; further ones are counted together."""
MOST_REASONS = 50
OTHERS = ""
"""The name under which further flows are counted."""

Counts = dict[str, int]


@frozen
class Happened:
    """A notice that a rule is about.

    Attributes:
        kinds: the kinds under which to report it.
        is_trouble: whether the flow is in trouble from then on.
    """

    notice: Notice
    kinds: tuple[str, ...]
    is_trouble: bool


@frozen
class Digest:
    """The events since a limit was reached, in counts of bounded number.

    Attributes:
        counts: the number of events by kind and flow.
        why: errors, with the number of runs or files.
        reasons: reasons of rejects, with the number of rows.
        fine: the flows that have recovered and are not in trouble again.
        run_id: the latest run.
    """

    counts: dict[str, Counts] = field(factory=dict)
    why: Counts = field(factory=dict)
    reasons: Counts = field(factory=dict)
    read: int = 0
    rejected: int = 0
    fine: list[str] = field(factory=list)
    first: str = ""
    last: str = ""
    run_id: str = ""

    def with_one(self, happened: Happened, *, with_values: bool) -> "Digest":
        """Return a copy with one more event."""
        notice, counts, fine = happened.notice, self.counts, self.fine
        for kind in happened.kinds:
            if kind != RECOVERED:
                counts = counts | {kind: _plus(counts.get(kind, {}), {notice.flow: 1}, MOST_FLOWS)}
        if happened.is_trouble or RECOVERED in happened.kinds:
            fine = [flow for flow in fine if flow != notice.flow]
        if RECOVERED in happened.kinds:
            fine = [*fine, notice.flow][-MOST_FLOWS:]
        why = {} if notice.error is None else {notice.why(with_values=with_values): 1}
        return Digest(
            counts=counts,
            why=_plus(self.why, why, MOST_REASONS),
            reasons=_plus(self.reasons, notice.reasons, MOST_REASONS),
            read=self.read + notice.read,
            rejected=self.rejected + notice.rejected,
            fine=fine,
            first=self.first or notice.at,
            last=notice.at,
            run_id=notice.run_id or self.run_id,
        )

    @property
    def total(self) -> int:
        """The number of events; 0 if there is nothing to report."""
        return sum(sum(flows.values()) for flows in self.counts.values()) + len(self.fine)


def _plus(counts: Counts, more: Counts, most: int) -> Counts:
    """Return the sum; names beyond the limit are counted as one."""
    found = dict(counts)
    for name, count in more.items():
        key = name if name in found or len(found) < most else OTHERS
        found[key] = found.get(key, 0) + count
    return found


@frozen
class Limit:
    """The state that a rule remembers.

    Attributes:
        sent: the times of the last messages, in seconds since 1970; only as many as the rate needs.
        gathered: the content of the next digest; None if there is none.
        to: the recipients of the digest, kept even if its rule is removed.
    """

    sent: tuple[float, ...] = ()
    gathered: Digest | None = None
    to: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Limit":
        plain: dict[str, Any] = orjson.loads(text)
        gathered = plain["gathered"]
        return cls(tuple(plain["sent"]), None if gathered is None else Digest(**gathered), tuple(plain["to"]))

    def text(self) -> str:
        """Return it as JSON; empty if there is nothing to remember."""
        return orjson.dumps(asdict(self)).decode() if self.sent or self.gathered else ""

    def due(self, rate: Rate) -> float | None:
        """Return when the digest may follow or, without one, when this state can be forgotten."""
        if self.gathered is None:
            return self.sent[-1] + rate.period if self.sent else None
        return self.sent[0] + rate.period if len(self.sent) >= rate.most else 0.0

    def at(self, now: float, rate: Rate) -> "Limit":
        """Return a copy without expired messages. Times in the future are from before the clock was set back."""
        sent = tuple(min(one, now) for one in self.sent if one + rate.period > now)
        return evolve(self, sent=sent[-rate.most :])

    def with_one(self, happened: Happened, to: tuple[str, ...], *, with_values: bool) -> "Limit":
        """Return a copy with one more event for the digest."""
        gathered = (self.gathered or Digest()).with_one(happened, with_values=with_values)
        return evolve(self, gathered=gathered if gathered.total else None, to=to)

    def without_fine(self, flow: str) -> "Limit":
        """Return a copy without the news that a flow has recovered, because it no longer has."""
        if self.gathered is None:
            return self
        gathered = evolve(self.gathered, fine=[one for one in self.gathered.fine if one != flow])
        return evolve(self, gathered=gathered if gathered.total else None)


def told(
    limit: Limit, happened: Happened, rate: Rate, now: float, to: tuple[str, ...], *, with_values: bool
) -> tuple[Limit, bool]:
    """Return the limit after an event, and whether the event becomes a message of its own now."""
    limit = limit.at(now, rate)
    if limit.gathered is None and len(limit.sent) < rate.most:
        return evolve(limit, sent=(*limit.sent, now)), True
    return limit.with_one(happened, to, with_values=with_values), False


def digested(limit: Limit, rate: Rate, now: float) -> tuple[Limit, Digest | None]:
    """Return the limit at a point in time, and the digest due by then."""
    limit = limit.at(now, rate)
    if limit.gathered is None or len(limit.sent) >= rate.most:
        return limit, None
    return Limit((*limit.sent, now)), limit.gathered
