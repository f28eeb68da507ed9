"""Receives the body of one request into a draft."""

import asyncio
from collections.abc import Callable

import anyio

from lume_local._http.messages import BodyStream
from lume_local._http.uploading.drafts import Draft, Put, StoredUpload, TakenOver

_BLOCK = 1024 * 1024
_PATIENCE = 5.0
"""Seconds in which a stopped request must store its data; then it is abandoned."""


class Reception:
    """Appends a body to a draft, until it ends or another request wants to append.

    Args:
        at: the place of the body in the file.
        check: called with the future size of the draft before the bytes are stored.
    """

    def __init__(self, draft: Draft, body: BodyStream, at: int, check: Callable[[int], None]) -> None:
        self._draft, self._body, self._at, self._check = draft, body, at, check
        self._block = bytearray()
        self._turn = draft.take()
        self._scope, self._ended = anyio.CancelScope(), anyio.Event()

    async def stop(self) -> None:
        """End it as a lost connection would: the client may have lost the connection without the server knowing."""
        self._scope.cancel()
        with anyio.move_on_after(_PATIENCE):
            await self._ended.wait()

    async def received(self, put: Put | None) -> StoredUpload | None:
        """Receive the body; if it is the file's last part, `put` the file in place.

        Data that arrived before an error is kept. Raises `TakenOver`, `OtherContent`, OSError, and the errors of
        `check` and the body.
        """
        try:
            with self._scope:
                return await self._receive(put)
            raise TakenOver
        finally:
            rest = bytes(self._block) + self._body.left()
            leave = asyncio.get_running_loop().run_in_executor(
                None, self._draft.leave, self._turn, self._at, rest
            )
            try:
                await asyncio.shield(leave)  # the request is being cancelled, perhaps twice
            finally:
                self._ended.set()

    async def _receive(self, put: Put | None) -> StoredUpload | None:
        async for chunk in self._body.chunks:
            self._block += chunk
            self._check(self._at + len(self._block))
            if len(self._block) >= _BLOCK:
                await self._write()
        await self._write()
        if put is None:
            return None
        return await asyncio.to_thread(self._draft.finish, self._turn, put)

    async def _write(self) -> None:
        block = bytes(self._block)
        await asyncio.to_thread(self._draft.write, self._turn, self._at, block)
        self._block.clear()  # not earlier: a cancelled thread may not have begun
        self._at += len(block)
