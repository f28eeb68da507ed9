"""What a store keeps of messages (see `store`)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from lume_local._runs.store.records import MessageState, NewDelivery, StoredNotice


class Messages(Protocol):
    """Notices that no message was made of yet, and what has to be remembered to make messages."""

    async def notices(self, limit: int) -> list[StoredNotice]:
        """The oldest notices."""
        ...

    async def states(self, keys: Collection[str]) -> dict[str, MessageState]:
        """What is remembered under these keys; those without anything are omitted."""
        ...

    async def due(self, now: float, limit: int) -> list[MessageState]:
        """The states that are due at that time, in seconds since 1970."""
        ...

    async def next_due(self) -> float | None:
        """When the next state is due; None if none ever is."""
        ...

    async def decided(
        self,
        notices: Sequence[int],
        before: Mapping[str, int],
        after: Collection[MessageState],
        deliveries: Sequence[NewDelivery],
    ) -> bool:
        """Remove notices, change states and add deliveries, as one change; False if another server did so before.

        Args:
            notices: the sequence numbers of those that were considered; all must still be there.
            before: the `rev` of each state that is changed, 0 if there was none; each must still be that.
            after: the changed states; one with an empty `state` is removed.
        """
        ...
