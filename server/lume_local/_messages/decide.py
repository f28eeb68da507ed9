"""Decides which messages follow from notices, and what to remember for later ones. Pure."""

from collections.abc import Collection, Sequence

import orjson
from attrs import define, evolve, field

from lume_local._messages.limit import Happened, Limit, digested, told
from lume_local._messages.rules import DEFAULT_RATE, RECOVERED, MessageRule
from lume_local._messages.text import Texts
from lume_local._runs.deliveries.notices import Notice
from lume_local._runs.store.records import VARIABLE, MessageState, NewDelivery
from lume_local._runs.unusual import NAME as UNUSUAL

_LIMIT, _TROUBLE = "limit:", "trouble:"


def keys_of(rules: Sequence[MessageRule], notices: Sequence[Notice]) -> set[str]:
    """Return the keys of the states needed to decide."""
    about = [
        (rule.key, one.flow) for rule in rules for one in notices if rule.is_about(one.flow, one.flow_version)
    ]
    return {f"{_LIMIT}{key}" for key, _ in about} | {f"{_TROUBLE}{key}:{flow}" for key, flow in about}


@define
class Decision:
    """Decides about notices one after the other.

    Attributes:
        states: the remembered states, by key.
        changed: the keys of the changed states.
        deliveries: the resulting messages.
    """

    rules: Sequence[MessageRule]
    texts: Texts
    now: float
    states: dict[str, MessageState]
    changed: set[str] = field(factory=set)
    deliveries: list[NewDelivery] = field(factory=list)

    def consider(self, notice: Notice) -> None:
        """Make the messages for a notice."""
        for rule in self.rules:
            if rule.is_about(notice.flow, notice.flow_version):
                is_worth = notice.kind != "PARTIAL_FAILED" or notice.share > rule.rejected_above
                is_trouble = notice.kind in rule.troubles and is_worth
                kinds = [notice.kind] if notice.kind in rule.on and is_worth else []
                kinds += [UNUSUAL] if notice.unusual and UNUSUAL in rule.on else []
                if RECOVERED in rule.on and self._has_recovered(rule, notice, is_trouble=is_trouble):
                    kinds.append(RECOVERED)
                happened = Happened(notice, tuple(kinds), is_trouble)
                if happened.kinds or happened.is_trouble:
                    self._tell(rule, happened)

    def flush(self, state: MessageState) -> None:
        """Make the digest that is due, or forget a state that no longer matters."""
        self.states[state.key] = state
        rule = next((one for one in self.rules if f"{_LIMIT}{one.key}" == state.key), None)
        rate = DEFAULT_RATE if rule is None else rule.rate
        limit, digest = digested(Limit.of(state.state), rate, self.now)
        if digest is not None:
            body, to = self.texts.digest(digest), Limit.of(state.state).to
            self._deliver(to, digest.run_id, body)
        self._remember(state.key, limit.text(), limit.due(rate))

    def _has_recovered(self, rule: MessageRule, notice: Notice, *, is_trouble: bool) -> bool:
        """Return whether a run ends its flow's trouble; record the trouble, and its end."""
        key = f"{_TROUBLE}{rule.key}:{notice.flow}"
        known = self.states.get(key)
        is_in_trouble = known is not None and bool(known.state)
        if is_trouble and not is_in_trouble:
            self._remember(key, orjson.dumps({"since": notice.at}).decode())
        is_over = is_in_trouble and not is_trouble and notice.kind in ("SUCCEEDED", "PARTIAL_FAILED")
        if is_over:
            self._remember(key, "")
        return is_over

    def _tell(self, rule: MessageRule, happened: Happened) -> None:
        key = f"{_LIMIT}{rule.key}"
        known = self.states.get(key)
        before = Limit.of(known.state) if known is not None and known.state else Limit()
        values = rule.include_values
        if not happened.kinds:  # trouble that no rule reports
            limit = before.without_fine(happened.notice.flow)
        else:
            limit, is_now = told(before, happened, rule.rate, self.now, rule.to, with_values=values)
            if is_now:
                body = self.texts.single(happened, with_values=values)
                self._deliver(rule.to, happened.notice.run_id, body)
        if limit != before:
            self._remember(key, limit.text(), limit.due(rule.rate))

    def _deliver(self, to: Collection[str], run_id: str, body: bytes) -> None:
        self.deliveries += [NewDelivery(f"{VARIABLE}{name}", run_id, body) for name in to]

    def _remember(self, key: str, state: str, due: float | None = None) -> None:
        known = self.states.get(key, MessageState(key, ""))
        self.states[key] = evolve(known, state=state, due=due)
        self.changed.add(key)
