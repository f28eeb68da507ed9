"""Turns notices into messages while the server runs, and sends digests when they are due.

Its whole state is stored and changes together with the outbox, so it may be killed at any moment.
"""

import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from lume_async._base.tasks import task_group
from lume_local._messages.decide import Decision, keys_of
from lume_local._messages.rules import MessageRule, RulesFile
from lume_local._messages.text import Texts
from lume_local._runs.deliveries.notices import Notice
from lume_local._runs.health import Health, why
from lume_local._runs.sql.sql_outbox import SqlMessages
from lume_local._runs.store.records import StoredNotice, StoreFailed

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
            except StoreFailed as error:
                self._health.trouble(_PLACE, why(error))
                pause = RETRY
            except Exception as error:  # a bug here must not end the server
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
            await self._consider(rules, texts, notices)
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

    async def _consider(
        self, rules: Sequence[MessageRule], texts: Texts, stored: Sequence[StoredNotice]
    ) -> None:
        notices = [one for one in map(_read, stored) if one is not None]
        states = await self._messages.states(keys_of(rules, notices))
        decision = Decision(rules, texts, self._clock(), states)
        for notice in notices:
            decision.consider(notice)
        await self._decided([one.seq for one in stored], decision)

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
