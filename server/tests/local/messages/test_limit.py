"""Limits, digests and recovery against a model: whatever happens when, nothing is lost, nothing is told twice."""

from itertools import pairwise
from typing import cast

import orjson
import pytest
from attrs import evolve, frozen
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from lume_local._messages.limit import MOST_FLOWS, MOST_REASONS, Digest, Happened, Limit
from lume_local._messages.messenger import Decision, keys_of
from lume_local._messages.rules import MessageRule, Rate, read_rules
from lume_local._messages.text import Texts
from lume_local._runs.deliveries.notices import Notice
from lume_local._runs.store.records import MessageState

RULE = """
[[message]]
on = ["FAILED", "PARTIAL_FAILED", "arrival.refused", "recovered"]
rejected_above = 0.5
to_env = ["OPS_URL"]
at_most = "{most} in {period}s"
"""
BAD = {"FAILED": 0, "PARTIAL_FAILED": 9, "arrival.refused": 0}
"""The rejected ones of ten rows: a share above that of the rule."""
FINE = {"SUCCEEDED": 0, "PARTIAL_FAILED": 1}


@frozen
class Said:
    """One message: how many runs it says went wrong, by flow, and which flows it says are fine."""

    at: float
    bad: dict[str, int]
    fine: list[str]


class Structure:
    """Makes messages that can be counted."""

    def single(self, happened: Happened, *, with_values: bool) -> bytes:
        is_bad = any(kind != "recovered" for kind in happened.kinds)
        flow = happened.notice.flow
        return orjson.dumps([{flow: 1} if is_bad else {}, [flow] if "recovered" in happened.kinds else []])

    def digest(self, gathered: Digest) -> bytes:
        bad: dict[str, int] = {}
        for flows in gathered.counts.values():
            for flow, count in flows.items():
                bad[flow] = bad.get(flow, 0) + count
        return orjson.dumps([bad, gathered.fine])


class World:
    """A messenger without a server: what it remembers, and what it has said."""

    def __init__(self, rule: MessageRule) -> None:
        self.rule, self.now = rule, 1000.0
        self.states: dict[str, MessageState] = {}
        self.said: list[Said] = []

    def ended(self, flow: str, kind: str, rejected: int) -> None:
        of_newest = kind == "arrival.refused"
        version = flow if of_newest else f"{flow}:v1"
        notice = Notice(kind, flow, version, "2026", "" if of_newest else "run_1", read=10, rejected=rejected)
        known = {key: self.states[key] for key in keys_of([self.rule], [notice]) if key in self.states}
        decision = Decision([self.rule], cast(Texts, Structure()), self.now, known)
        decision.consider(notice)
        self._carry_out(decision)

    def until(self, moment: float) -> None:
        """Let time pass; whatever is due is done in time."""
        while (
            due := [one for one in self.states.values() if one.due is not None and one.due <= moment]
        ) != []:
            first = min(due, key=lambda one: cast(float, one.due))
            self.now = max(self.now, cast(float, first.due))
            self.flush(first)
        self.now = moment

    def flush(self, state: MessageState) -> None:
        decision = Decision([self.rule], cast(Texts, Structure()), self.now, {})
        decision.flush(state)
        self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        for key in decision.changed:
            if decision.states[key].state:
                self.states[key] = evolve(decision.states[key], rev=decision.states[key].rev + 1)
            else:
                self.states.pop(key, None)
        for one in decision.deliveries:
            assert one.url == "env:OPS_URL"
            self.said.append(Said(self.now, *orjson.loads(one.body)))


ENDS = st.tuples(
    st.sampled_from("ab"), st.sampled_from([*BAD.items(), *FINE.items()]), st.integers(0, 400).map(float)
)
"""A flow, how its run ends, and the seconds after the one before."""


def rule(most: int, period: int) -> MessageRule:
    return read_rules(RULE.format(most=most, period=period))[0]


@examples(300)
@given(st.integers(1, 4), st.sampled_from([1, 60, 300, 1000]), st.lists(ENDS, max_size=60))
def test_what_is_told(most: int, period: int, ends: list[tuple[str, tuple[str, int], float]]) -> None:
    world = World(rule(most, period))
    bad: dict[str, int] = {"a": 0, "b": 0}
    moments: list[float] = []
    for flow, (kind, rejected), pause in ends:
        world.until(world.now + pause)
        before = len(world.said)
        quiet = not any(one.at + period > world.now for one in world.said)
        world.ended(flow, kind, rejected)
        if BAD.get(kind) == rejected:
            bad[flow] += 1
            moments.append(world.now)
            assert not quiet or len(world.said) == before + 1, "after a quiet period, it is told at once"
    last = dict.fromkeys("ab", True)
    for flow, (kind, rejected), _ in ends:
        last[flow] = BAD.get(kind) != rejected
    world.until(world.now + 2 * period)

    told = {flow: sum(one.bad.get(flow, 0) for one in world.said) for flow in "ab"}
    assert told == bad, "each run that went wrong is told of exactly once"
    times = [one.at for one in world.said]
    assert all(later - earlier >= period for earlier, later in zip(times, times[most:], strict=False)), (
        "the limit"
    )
    assert all(any(moment <= one.at <= moment + period for one in world.said) for moment in moments), (
        "in time"
    )
    for flow in "ab":
        history = [state for one in world.said for state in _states(one, flow)]
        assert all(earlier != later or earlier == "bad" for earlier, later in pairwise(history)), "fine once"
        assert not history or history[0] == "bad"
        assert (not history or history[-1] == "fine") == last[flow], "the last word is true"
    assert [key for key in world.states if key.startswith("limit:")] == [], "nothing is remembered for ever"


def _states(one: Said, flow: str) -> list[str]:
    return [*(["bad"] if flow in one.bad else []), *(["fine"] if flow in one.fine else [])]


@examples(100)
@given(st.lists(st.tuples(ENDS, st.booleans()), max_size=40))
def test_a_digest_that_is_late(steps: list[tuple[tuple[str, tuple[str, int], float], bool]]) -> None:
    """The server was away, or busy: what happened comes before what happens now."""
    world, last, count = World(rule(1, 60)), dict.fromkeys("ab", True), 0
    for (flow, (kind, rejected), pause), is_late in steps:
        if is_late:
            world.now += pause
        else:
            world.until(world.now + pause)
        world.ended(flow, kind, rejected)
        last[flow] = BAD.get(kind) != rejected
        count += not last[flow]
    world.until(world.now + 120)
    assert sum(sum(one.bad.values()) for one in world.said) == count
    for flow in "ab":
        history = [state for one in world.said for state in _states(one, flow)]
        assert (not history or history[-1] == "fine") == last[flow]


@examples(100)
@given(st.lists(st.tuples(ENDS, st.integers(-(10**6), 10**6)), max_size=40))
def test_a_clock_that_jumps_loses_nothing(
    steps: list[tuple[tuple[str, tuple[str, int], float], int]],
) -> None:
    world = World(rule(1, 60))
    count = 0
    for (flow, (kind, rejected), pause), jump in steps:
        world.now += pause + jump
        world.ended(flow, kind, rejected)
        count += BAD.get(kind) == rejected
        for state in list(world.states.values()):  # as the messenger does when time runs backwards
            if state.due is not None:
                world.flush(state)
    world.until(world.now + 10_000_000)
    assert sum(sum(one.bad.values()) for one in world.said) == count


@pytest.mark.parametrize("most", [1, 3])
def test_a_limit_that_is_changed_meanwhile(most: int) -> None:
    """The digest is due by the new one."""
    world = World(rule(1, 86_400))
    for _ in range(5):
        world.ended("a", "FAILED", 0)
    assert len(world.said) == 1
    world.rule = rule(most, 60)
    (state,) = [one for one in world.states.values() if one.key.startswith("limit:")]
    world.now += 61
    world.flush(state)
    assert [one.bad for one in world.said] == [{"a": 1}, {"a": 4}]


def test_a_digest_whose_rule_is_gone_is_sent() -> None:
    world = World(rule(1, 60))
    for _ in range(3):
        world.ended("a", "FAILED", 0)
    (state,) = [one for one in world.states.values() if one.key.startswith("limit:")]
    decision = Decision([], cast(Texts, Structure()), world.now + 600, {})
    decision.flush(state)
    assert [(one.url, orjson.loads(one.body)[0]) for one in decision.deliveries] == [
        ("env:OPS_URL", {"a": 2})
    ]


def test_what_is_remembered_is_bounded() -> None:
    rule_, world = rule(1, 60), World(rule(1, 60))
    for number in range(1000):
        notice = Notice(
            "FAILED",
            f"f{number}",
            "x:v1",
            "2026",
            f"run_{number}",
            read=10,
            rejected=5,
            reasons={f"reason {number}": 5},
            error=f"a{number} is wrong",
        )
        key = f"limit:{rule_.key}"
        decision = Decision(
            [rule_], cast(Texts, Structure()), 0.0, {k: v for k, v in world.states.items() if k == key}
        )
        decision.consider(notice)
        world._carry_out(decision)
    gathered = Limit.of(world.states[f"limit:{rule_.key}"].state).gathered
    assert gathered is not None
    assert sum(gathered.counts["FAILED"].values()) == 999
    assert len(gathered.counts["FAILED"]) == MOST_FLOWS + 1
    assert len(gathered.why) == len(gathered.reasons) == MOST_REASONS + 1
    assert sum(gathered.reasons.values()) == 999 * 5
    assert len(Texts("https://x").digest(gathered)) < 4000


def test_what_is_remembered_is_read_as_it_was_written() -> None:
    notice = Notice("FAILED", "a", "a:v1", "2026", "run_1", error="x 'y'", reasons={"r": 2})
    limit = Limit((1.0, 2.5)).with_one(Happened(notice, ("FAILED",), True), ("A", "B"), with_values=False)
    assert Limit.of(limit.text()) == limit
    assert Limit().text() == ""
    assert Limit((1.0,)).due(Rate(2, 60)) == 61.0
