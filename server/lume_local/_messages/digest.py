"""The content of the next digest: counts of events, bounded in size. Pure."""

from attrs import evolve, field, frozen

from lume_local._messages.notice import Notice
from lume_local._messages.rules import RECOVERED

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
    """The events since a limit was reached.

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

    def without_fine(self, flow: str) -> "Digest":
        """Return a copy without the news that a flow has recovered."""
        return evolve(self, fine=[one for one in self.fine if one != flow])

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
