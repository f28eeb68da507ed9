"""The server that has the state file has it alone, by a lock that ends with its process."""


class SolePublishing:
    """See `publishing.Publishing`."""

    is_shared = False

    async def allow(self, run_id: str) -> bool:
        return True

    async def is_allowed(self, run_id: str) -> bool:
        return True

    async def check(self) -> None:
        pass
