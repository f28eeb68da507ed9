"""The right to publish, if several servers share a state."""

from typing import Protocol


class Publishing(Protocol):
    """Which server may publish the outputs of runs, if several share the state: one at a time has it."""

    @property
    def is_shared(self) -> bool:
        """Whether another server may take the state while this one runs."""
        ...

    async def allow(self, run_id: str) -> bool:
        """Note that the output of a run is about to be published; False if it has ended, and must not be.

        Raises `StoreUnavailable` if another server has the state.
        """
        ...

    async def is_allowed(self, run_id: str) -> bool:
        """Whether that is noted: then its worker may publish at any time, if it lives."""
        ...

    async def check(self) -> None:
        """Raises `StoreUnavailable` if another server has the state."""
        ...
