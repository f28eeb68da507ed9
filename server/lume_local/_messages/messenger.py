"""Turns notices into messages while the server runs, and sends digests when they are due.

Its whole state is stored and changes together with the outbox, so it may be killed at any moment.
"""

import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
from attrs import define, evolve, field

from lume_async._base.tasks import task_group
from lume_local._messages.limit import Happened, Limit, digested, told
from lume_local._messages.rules import DEFAULT_RATE, RECOVERED, TROUBLES, MessageRule, RulesFile
from lume_local._messages.text import Texts
from lume_local._runs.deliveries.notices import Notice
from lume_local._runs.health import Health, why
from lume_local._runs.sql.sql_outbox import SqlMessages
from lume_local._runs.store.records import (
    VARIABLE,
    WITH_OUTPUT,
    MessageState,
    NewDelivery,
    StoredNotice,
    StoreFailed,
)
from lume_local._runs.unusual import NAME as UNUSUAL

_LIMIT, _TROUBLE = "limit:", "trouble:"


def keys_of(rules: Sequence[MessageRule], notices: Sequence[Notice]) -> set[str]:
    """Return the keys of the states needed to decide."""
    about = [
        (rule.key, one.flow) for rule in rules for one in notices if rule.is_about(one.flow, one.flow_version)
    ]
    return {f"{_LIMIT}{key}" for key, _ in about} | {f"{_TROUBLE}{key}:{flow}" for key, flow in about}


MOST_CAUSES = 100
"""Arrivals with refused files of a flow in trouble to remember, the newest; of runs, the state knows all."""


@define
class Decision:
    """Decides about notices one after the other.

    Attributes:
        states: the remembered states, by key.
        unsettled: the flows that have not recovered, since something of them waits for a person.
        changed: the keys of the changed states.
    """

    rules: Sequence[MessageRule]
    texts: Texts
    now: float
    states: dict[str, MessageState]
    unsettled: Collection[str] = ()
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
        if is_trouble:
            before = orjson.loads(known.state) if known and known.state else {"since": notice.at}
            if cause := notice.arrival:
                causes = [*(one for one in before.get("causes", ()) if one != cause), cause]
                before |= {"causes": causes[-MOST_CAUSES:]}
            self._remember(key, orjson.dumps(before).decode())
        is_over = is_in_trouble and not is_trouble and notice.kind in WITH_OUTPUT
        if is_over and notice.flow not in self.unsettled:
            self._remember(key, "")
            return True
        return False

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


_log = logging.getLogger("lume_local")

LOOK = 2.0
"""Seconds between checks of the rules file for changes."""
RETRY = 5.0
"""Seconds before a retry if the state can't be read or written."""
_AT_ONCE = 50
"""Notices per transaction: requests are answered in between."""
_PLACE = "messages"


class Messenger:
    """Makes messages; used from one event loop.

    Args:
        path: the file of the rules.
        clock: returns the time in seconds since 1970.

    Raises:
        ConfigurationError: as `RulesFile`.
    """

    _messages: SqlMessages
    _health: Health
    _on_message: Callable[[], None]

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.rules = RulesFile(path)
        self._clock = clock
        self._woken = anyio.Event()
        self._last = -math.inf

    def wake(self) -> None:
        """Look for notices."""
        self._woken.set()

    @asynccontextmanager
    async def running(
        self, messages: SqlMessages, health: Health, on_message: Callable[[], None], console: str
    ) -> AsyncIterator[None]:
        """Turn notices into messages while the block lasts, with links to the console at this address.

        `on_message` is called after messages were added to the outbox.
        """
        self._messages, self._health, self._on_message = messages, health, on_message
        async with task_group() as tasks:
            tasks.start_soon(self._carry_out, Texts(console))
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _carry_out(self, texts: Texts) -> None:
        while True:
            self._woken = anyio.Event()
            try:
                pause = await self._step(self.rules.current(), texts)
            except Exception as error:  # a bug here must not end the server
                if not isinstance(error, StoreFailed):
                    _log.debug("messages", exc_info=True)
                self._health.trouble(_PLACE, why(error))
                pause = RETRY
            else:
                self._health.works(_PLACE)
            with anyio.move_on_after(pause):
                await self._woken.wait()

    async def _step(self, rules: Sequence[MessageRule], texts: Texts) -> float:
        """Make the messages for all notices, and the digests that are due. Return the seconds until the next step."""
        while notices := await self._messages.notices(_AT_ONCE):
            pending = [one for one in map(_read, notices) if one is not None]
            states = await self._messages.states(keys_of(rules, pending))
            decision = Decision(rules, texts, self._clock(), states, await self._unsettled(pending, states))
            for notice in pending:
                decision.consider(notice)
            await self._decided([one.seq for one in notices], decision)
        now = self._clock()
        # After the clock was set back, nothing would be due in time.
        horizon = now if now >= self._last else math.inf
        self._last = now
        due = await self._messages.due(horizon, _AT_ONCE)
        if due:
            decision = Decision(rules, texts, now, {})
            for state in due:
                decision.flush(state)
            await self._decided([], decision)
        if len(due) == _AT_ONCE:
            return 0.0
        following = await self._messages.next_due()
        return LOOK if following is None else min(LOOK, max(0.0, following - self._clock()))

    async def _unsettled(self, notices: Sequence[Notice], states: Mapping[str, MessageState]) -> set[str]:
        """Return the flows in trouble that have output again, while something of them still waits."""
        causes: dict[str, list[str]] = {}
        for key, state in states.items():
            if key.startswith(_TROUBLE) and state.state:
                found = orjson.loads(state.state).get("causes", ())
                causes.setdefault(key.rpartition(":")[2], []).extend(found)
        for notice in notices:
            if notice.kind in TROUBLES:
                causes.setdefault(notice.flow, []).append(notice.arrival)
        done = {one.flow for one in notices if one.kind in WITH_OUTPUT} & causes.keys()
        return {flow for flow in done if await self._messages.waits(flow, causes[flow])}

    async def _decided(self, notices: Sequence[int], decision: Decision) -> None:
        """Store a decision; if another server decided in the meantime, the next step decides again."""
        after = [decision.states[key] for key in decision.changed]
        before = {state.key: state.rev for state in after}
        if await self._messages.decided(notices, before, after, decision.deliveries) and decision.deliveries:
            self._on_message()


def _read(stored: StoredNotice) -> Notice | None:
    try:
        return Notice.of(stored.body)
    except Exception:  # from another release: it must not block the others
        _log.exception("notice %d can't be read, and nobody hears of it", stored.seq)
        return None
