"""The API key and the token of each request: a fixed string, or the result of a function that callers share."""

import asyncio
import inspect
from collections.abc import Callable
from copy import copy
from typing import TypeAlias

from lume_async._base.secret import Secret, veiled
from lume_async._base.tasks import is_being_cancelled
from lume_async._http.lifetime import CLOSED_MEANWHILE, Lifetime, PerLoop
from lume_async._http.settings import valid_key
from lume_async.errors import ApiConnectionError, ApiTimeoutError, ClientClosedError, LumeError

_Source: TypeAlias = Secret | Callable[[], object]


class Keys:
    """Provides the key. Single-flight: callers that arrive during a call of the function share its result."""

    def __init__(
        self, source: _Source, lifetime: Lifetime, name: str = "api_key", keeps: bool = False
    ) -> None:
        self._source, self._name, self._keeps = source, name, keeps
        self.known = source if isinstance(source, Secret) else None
        """The key, if the function need not be called."""
        self._asking = PerLoop(lambda: _Asking(lifetime, name))
        self._lifetime = lifetime

    @property
    def rotates(self) -> bool:
        """Whether a refused key may be replaced by another."""
        return not isinstance(self._source, Secret)

    def refuse(self, used: Secret | None) -> None:
        """Forget a key that was refused, unless another has replaced it meanwhile."""
        if self.rotates and used == self.known:
            self.known = None

    async def get(self, timeout: float | None = None) -> Secret:
        """Return the key to use now, unless it is `known`.

        Raises:
            ConfigurationError: the function returned something that is not a valid key.
            ApiConnectionError: the function failed; its exception is the cause. A wait survives it like a failed
                request, since the function may use the network too.
            ApiTimeoutError: the function returned nothing within `timeout` seconds.
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
                # A caller that gives up must not cancel the call for the others.
                key = await asyncio.shield(task)
            if self._keeps:  # not a key, whose function may refuse to give it
                self.known = key
            return key
        except asyncio.CancelledError as error:
            if not task.cancelled() or is_being_cancelled():
                raise
            failure = error  # not this task was cancelled, but something the function waited for
        except Exception as error:
            failure = error
        finally:
            asking.leave(task)
        if self._lifetime.over:
            raise ClientClosedError(CLOSED_MEANWHILE)
        if patience.expired():
            raise ApiTimeoutError(
                f"the {self._name} function returned nothing within {timeout:.3g} s", reached=False
            )
        if isinstance(failure, LumeError):
            raise copy(failure)  # a shared one would collect the tracebacks of all callers
        # Its message is not repeated, as it may contain the key.
        raise ApiConnectionError(
            f"the {self._name} function failed: {type(failure).__name__}", reached=False
        ) from failure


class _Asking:
    """The call of the function in one loop; it ends with its last waiting caller, or with the client.

    The shared task has no block that owns it, so its callers are counted. It uses asyncio's primitives, because
    anyio's cost 2 to 9 times as much on the path of a single request.
    """

    def __init__(self, lifetime: Lifetime, name: str) -> None:
        self._lifetime, self._name = lifetime, name
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
        return valid_key(answer, f"the {self._name} function")
