"""The API key of each request: one string for ever, or asked of a function, once for all that wait for it."""

import asyncio
import inspect
from collections.abc import Callable
from copy import copy

from lume_async._base.secret import Secret, veiled
from lume_async._base.tasks import is_being_cancelled
from lume_async._http.lifetime import Lifetime
from lume_async._http.per_loop import PerLoop
from lume_async._http.settings import valid_key
from lume_async.errors import ApiConnectionError, ApiTimeoutError, ClientClosedError, LumeError


class Keys:
    """Gives the key. Single-flight: callers that come while the function is being asked share its answer."""

    def __init__(self, source: Secret | Callable[[], object], lifetime: Lifetime) -> None:
        self._source = source
        self.fixed = source if isinstance(source, Secret) else None
        """The one key that never changes, where it is one."""
        self._asking = PerLoop(lambda: _Asking(lifetime))
        self._lifetime = lifetime

    @property
    def rotates(self) -> bool:
        """Whether another key may come after a refused one."""
        return not isinstance(self._source, Secret)

    async def get(self, timeout: float | None = None) -> Secret:
        """The key to use now.

        Raises:
            ConfigurationError: the function gave something that is no key.
            ApiConnectionError: the function failed; what it raised is the cause. Where the key comes from is as
                far away as the service: a wait outlives its failure.
            ApiTimeoutError: the function gave nothing within `timeout` seconds.
            ClientClosedError: the client was closed meanwhile.
        """
        source = self._source
        if isinstance(source, Secret):
            return source
        asking, patience = self._asking.get(), asyncio.timeout(timeout)
        task = asking.join(source)
        failure: BaseException
        try:
            async with patience:
                # One caller that gives up must not take the answer from the others.
                return await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if not task.cancelled() or is_being_cancelled():
                raise
            failure = error  # somebody else cancelled what the function waited for
        except Exception as error:
            failure = error
        finally:
            asking.leave(task)
        if self._lifetime.over:
            raise ClientClosedError("the client was closed during this call")
        if patience.expired():
            raise ApiTimeoutError(f"the api_key function gave no key within {timeout:.3g} s", reached=False)
        if isinstance(failure, LumeError):
            raise copy(failure)  # one that all share would collect the tracebacks of all
        # Its text is not repeated: it may hold the key.
        raise ApiConnectionError(
            f"the api_key function failed: {type(failure).__name__}", reached=False
        ) from failure


class _Asking:
    """The question that is under way in one loop; it ends with the last caller that waits for it, or the client.

    A task that several requests share has no block to own it: its callers do, by their number. On the path of a
    single request asyncio's primitives stay: anyio's cost 2 to 9 times as much there.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._task: asyncio.Task[Secret] | None = None
        self._callers = 0

    def join(self, source: Callable[[], object]) -> asyncio.Task[Secret]:
        if self._task is None or self._task.done():
            self._task, self._callers = asyncio.ensure_future(self._ask(source)), 0
        self._callers += 1
        return self._task

    def leave(self, task: asyncio.Task[Secret]) -> None:
        if task is not self._task:
            return
        self._callers -= 1
        if self._callers == 0:
            task.cancel()
            self._task = None

    async def _ask(self, source: Callable[[], object]) -> Secret:
        question = asyncio.current_task()
        assert question is not None
        self._lifetime.listen(question.cancel)
        try:
            answer = veiled(source())
            if inspect.isawaitable(answer):
                answer = veiled(await answer)
        finally:
            self._lifetime.forget(question.cancel)
        return valid_key(answer, "the api_key function")
