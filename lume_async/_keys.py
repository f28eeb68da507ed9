"""The API key of each request: one string for ever, or asked of a function, once for all that wait for it."""

import asyncio
import copy
import inspect
from collections.abc import Callable

from lume_async._config import valid_key
from lume_async._perloop import PerLoop
from lume_async._secret import Secret, veiled
from lume_async.errors import ApiTimeoutError


class Keys:
    """Gives the key. Single-flight: callers that come while the function is being asked share its answer."""

    def __init__(self, source: Secret | Callable[[], object]) -> None:
        self._source = source
        self.fixed = source if isinstance(source, Secret) else None
        """The one key that never changes, where it is one."""
        self._asking: PerLoop[list[asyncio.Task[Secret]]] = PerLoop(list)

    @property
    def rotates(self) -> bool:
        """Whether another key may come after a refused one."""
        return not isinstance(self._source, Secret)

    async def get(self, timeout: float | None = None) -> Secret:
        """The key to use now.

        Raises:
            ConfigurationError: the function gave something that is no key.
            ApiTimeoutError: the function gave nothing within `timeout` seconds.
        """
        source = self._source
        if isinstance(source, Secret):
            return source
        asking = self._asking.get()
        if not asking:
            task = asyncio.ensure_future(_ask(source))
            asking.append(task)
            task.add_done_callback(lambda _task: asking.clear())
        # One caller that gives up must not take the answer from the others.
        task, patience = asking[0], asyncio.timeout(timeout)
        try:
            async with patience:
                return await asyncio.shield(task)
        except Exception as error:
            failure = error
        if not patience.expired():
            raise _own(failure)
        raise ApiTimeoutError(f"the api_key function gave no key within {timeout:.3g} s", reached=False)


async def _ask(source: Callable[[], object]) -> Secret:
    answer = veiled(source())
    if inspect.isawaitable(answer):
        answer = veiled(await answer)
    return valid_key(answer, "the api_key function")


def _own(error: Exception) -> Exception:
    """A copy for one of the callers: one that all share would collect the tracebacks of all."""
    try:
        own = copy.copy(error)
    except Exception:  # of a class that can't be copied
        return error
    if type(own) is not type(error):
        return error
    own.__cause__, own.__suppress_context__ = error.__cause__, error.__suppress_context__
    return own.with_traceback(error.__traceback__)
