"""All parts of a server's messages, or none if it has no rules file."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager

from attrs import frozen

from lume_async._base.tasks import task_group
from lume_local._messages.carrier import Carrier
from lume_local._messages.messenger import Messenger
from lume_local._messages.rules_file import RulesFile
from lume_local._runs.deliveries.webhook_sender import Carry
from lume_local._runs.health import Health
from lume_local._runs.sql.messages import SqlMessages


class Withheld(Collection[str]):
    """Values that other processes must not know: the server's secrets, and the addresses in the present rules."""

    def __init__(self, own: frozenset[str], rules: RulesFile | None) -> None:
        self._own, self._rules = own, rules

    def _all(self) -> frozenset[str]:
        return self._own if self._rules is None else self._own | self._rules.secrets()

    def __contains__(self, value: object) -> bool:
        return value in self._own or value in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


@frozen
class Messaging:
    """The messages of one server. Create it with `of`.

    Attributes:
        carry: sends a message; None without rules.
    """

    carry: Carry | None
    _carrier: Carrier | None = None
    _messenger: Messenger | None = None

    @classmethod
    def of(
        cls,
        rules: RulesFile | None,
        messages: SqlMessages,
        health: Health,
        secrets: Collection[str],
        on_message: Callable[[], None],
    ) -> "Messaging":
        """Create it; `on_message` is called after messages were added to the outbox."""
        if rules is None:
            return cls(None)
        carrier, messenger = Carrier(health, secrets), Messenger(messages, rules, health, on_message)
        return cls(carrier.carry, carrier, messenger)

    @property
    def is_on(self) -> bool:
        return self._messenger is not None

    @property
    def on_notice(self) -> Callable[[], None] | None:
        """The function to call after a notice was added; None without rules."""
        return None if self._messenger is None else self._messenger.wake

    def wake(self) -> None:
        """Look for notices."""
        if self._messenger is not None:
            self._messenger.wake()

    @asynccontextmanager
    async def carrying(self) -> AsyncIterator[None]:
        """Allow sending messages while the block lasts."""
        if self._carrier is None:
            yield
            return
        async with self._carrier.running():
            yield

    @asynccontextmanager
    async def telling(self, console: str) -> AsyncIterator[None]:
        """Turn notices into messages while the block lasts, with links to the console at this address."""
        if self._messenger is None:
            yield
            return
        async with task_group() as tasks:
            tasks.start_soon(self._messenger.carry_out, console)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
