"""What an answer means to its call: a value, or an error that shows no key. Pure."""

from collections.abc import Callable
from typing import TypeVar

from lume_async._base.secret import Secret
from lume_async._wire.answers import ERROR_BYTES, Response, error_from
from lume_async._wire.call import Call
from lume_async._wire.headers import IF_NONE_MATCH, REQUEST_ID
from lume_async._wire.withhold import WITHHELD, repeats, shown
from lume_async.errors import ApiError

T = TypeVar("T")


def read(call: Call[T], response: Response, key: Secret | None, wall: Callable[[], float]) -> T:
    """The value of an answer that came just now.

    Args:
        key: the API key that the request carried: no error repeats it.
        wall: gives the seconds since the epoch.

    Raises:
        ApiError: the answer holds no value.
    """
    status = response.status
    if not (200 <= status < 300 or (status == 304 and IF_NONE_MATCH in call.headers)):
        error = error_from(response, key=key, on_run=call.run_id is not None, wall=wall())
    else:
        try:
            return call.decode(response)
        except ApiError as caught:
            error = caught
        error.status_code = status
        error.request_id = response.headers.get(REQUEST_ID)
        error.body = response.body[:2048].decode("utf-8", "replace")
        if repeats(response.body, key, cut=len(response.body) >= ERROR_BYTES):
            error.args, error.body = (f"expected the contract, got {WITHHELD}",), WITHHELD
        if error.request_id is not None:
            error.request_id = shown(error.request_id, key)
    error.args = (f"{call.method} {call.path}: {error.args[0]}",)
    # Without the frames of the decoder, whose locals show the body.
    raise error.with_traceback(None)
