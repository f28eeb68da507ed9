"""How one call goes, and what its answers and failures mean for the caller. Pure."""

import re
from typing import TypeGuard, TypeVar

from attrs import define

from lume_async._base.clock import Clock
from lume_async._base.secret import Secret
from lume_async._wire.answers import Response, error_from
from lume_async._wire.endpoints import Call
from lume_async._wire.headers import IDEMPOTENCY_KEY, IF_NONE_MATCH, REQUEST_ID
from lume_async._wire.retry import refuses_for_good
from lume_async.errors import ApiError, LumeError, SubmissionUnknownError

T = TypeVar("T")

_REDACTED = "[redacted]"
_TELLING = 8
"""From so many characters on a key is taken for a secret, not for a word."""


@define
class Sending:
    """How one call went so far; the caller may look at it afterwards.

    Attributes:
        attempts: how often it was sent.
        lost: whether an answer to a submission was lost on the way.
        first_sent: when a submission was first sent, on the clock's monotonic time; a caller that knows it sets it.
        dated: whether to note the server's time.
        server_offset: the server's wall clock minus the clock's monotonic time, from the newest `Date`.
        rekeyed: whether a refused key was asked for anew.
        traced: whether OpenTelemetry hears of it.
        key: the API key of the newest attempt.
    """

    attempts: int = 0
    lost: bool = False
    first_sent: float | None = None
    dated: bool = False
    server_offset: float | None = None
    rekeyed: bool = False
    traced: bool = False
    key: Secret | None = None


def read(call: Call[T], response: Response, clock: Clock, key: Secret | None) -> T:
    """The value of an answer that came just now.

    Raises:
        ApiError: it is none.
    """
    status = response.status
    if not (200 <= status < 300 or (status == 304 and IF_NONE_MATCH in call.headers)):
        said = _unsaid(response, key)
        raise _about(call, error_from(said, on_run=call.run_id is not None, wall=clock.wall()), key)
    try:
        return call.decode(response)
    except ApiError as caught:
        error = caught
    response = _unsaid(response, key)
    try:
        call.decode(response)
    except ApiError as caught:
        error = caught  # the same once more, in words that quote no key
    error.status_code = status
    error.request_id = response.headers.get(REQUEST_ID)
    error.body = response.body[:2048].decode("utf-8", "replace")
    # Without the frames of the decoder, whose locals show the body.
    raise _about(call, error, key).with_traceback(None)


def _about(call: Call[T], error: ApiError, key: Secret | None) -> ApiError:
    """The error, with the request in its message, and without the key: some servers repeat what they refuse."""
    error.args = (f"{call.method} {call.path}: {_without(key, error.args[0])}",)
    error.body = _without(key, error.body)
    return error


def _unsaid(response: Response, key: Secret | None) -> Response:
    """The answer without the key. Before its body is cut for a message: half a key is known from no other text."""
    if not _is_telling(key):
        return response
    secret = key.encode()
    body = re.sub(_spellings(key), _REDACTED.encode(), response.body)
    # The body itself may have been cut in the key.
    for length in range(len(secret) - 1, _TELLING // 2 - 1, -1):
        if body.endswith(secret[:length]):
            body = body[:-length] + _REDACTED.encode()
            break
    return Response(response.status, response.headers, body)


def _spellings(key: Secret) -> bytes:
    r"""Finds the key as it is and as JSON may write it: PHP makes `\/` of a slash, .NET `\u002B` of a plus."""
    return "".join(
        letter if letter.isalnum() else rf"(?:\\?{re.escape(letter)}|(?i:\\u{ord(letter):04x}))"
        for letter in key
    ).encode()


def _without(key: Secret | None, text: str) -> str:
    return text.replace(key, _REDACTED) if _is_telling(key) else text


def _is_telling(key: Secret | None) -> TypeGuard[Secret]:
    """Shorter ones are made up, and words like "test" stand in a body for other reasons."""
    return key is not None and len(key) >= _TELLING


def verdict(call: Call[T], error: ApiError, state: Sending) -> ApiError:
    """The error to raise: an answer that was lost must never pass for a refusal."""
    if not state.lost or refuses_for_good(error) or error.status_code == 409 or call.submission is None:
        return error
    return submission_unknown(call, error, state)


def submission_unknown(call: Call[T], error: LumeError | None, state: Sending) -> SubmissionUnknownError:
    """What a submission ends with whose answer was lost; `error` is why nothing more can be found out."""
    answer = error if isinstance(error, ApiError) else None
    request, key = call.submission, call.headers.get(IDEMPOTENCY_KEY)
    assert request is not None
    reason = error.args[0] if error else "the process that sent it ended"
    unknown = SubmissionUnknownError(
        f"the answer to a submission was lost ({reason}): a run of "
        f"{request.flow_version!r} on {request.source_path!r} may exist. Look for it with "
        f"list_runs(source_path=...), or submit again with idempotency_key={key!r} if the server knows such keys",
        idempotency_key=key,
        request=request,
        attempts=state.attempts,
        status_code=answer.status_code if answer else None,
        request_id=answer.request_id if answer else None,
    )
    unknown.__cause__ = error
    return unknown
