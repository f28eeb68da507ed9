"""Turns the status, headers and body of a response into a value, an error, or the limit behind a refusal. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from attrs import frozen

from lume_async._base.elided import elided
from lume_async._base.secret import Secret
from lume_async._wire.call import Call, Response
from lume_async._wire.headers import (
    DATE,
    IF_NONE_MATCH,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    REQUEST_ID,
    RETRY_AFTER,
)
from lume_async._wire.withhold import WITHHELD, redact, repeats
from lume_async.errors import (
    ApiError,
    AuthenticationError,
    InvalidRequestError,
    NotSupportedError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RunNotFoundError,
    ServerError,
)
from lume_async.models import RunRecord, is_run_id, status_of

ERROR_BYTES = 64 * 1024
"""The maximum number of bytes to read from an error's body."""

T = TypeVar("T")

SNIPPET = 200
"""The maximum length of an unexpected body in an error message, in characters."""

PROBLEM = "urn:lume:problem:"
"""The prefix of `type` in the service's own problems, which gateways don't use."""

BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")

LONGEST_LIMITS = 2_000
"""The maximum number of characters to read from a field."""
_STRING = r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(rf"({_STRING})((?:\s*;\s*[a-z][a-z0-9_.*-]*(?:=(?:{_STRING}|[^\s;,\"]*))?)*)\s*(?:,|$)")
_WHOLE = re.compile(r";\s*([a-z][a-z0-9_.*-]*)=(\d{1,15})(?![^\s;,])")


def read(
    call: Call[T],
    response: Response,
    key: Secret | None,
    wall: Callable[[], float],
    passwords: Sequence[Secret] = (),
) -> T:
    """Return the value of a response. Raises `ApiError`, which repeats neither the key nor a password."""
    status = response.status
    if not (200 <= status < 300 or (status == 304 and IF_NONE_MATCH in call.headers)):
        error = error_from(
            response,
            secrets=(key, *passwords),
            on_run=call.run_id is not None,
            wall=wall(),
            optional=call.optional,
            refusal=call.refusal,
        )
    else:
        try:
            return call.decode(response)
        except ApiError as caught:
            error = caught
        error.status_code = status
        error.request_id = response.headers.get(REQUEST_ID)
        error.body = response.body[:2048].decode("utf-8", "replace")
        if repeats(response.body, key, *passwords, cut=len(response.body) >= ERROR_BYTES):
            error.args, error.body = (f"expected the contract, got {WITHHELD}",), WITHHELD
        if error.request_id is not None:
            error.request_id = redact(error.request_id, key, *passwords)
    path = call.path.partition("?")[0]  # a query may hold personal data, and errors are logged
    error.args = (elided(f"{call.method} {path}: {error.args[0]}"),)
    # The frames of the decoder have the body in their locals.
    raise error.with_traceback(None)


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object in UTF-8; a byte-order mark is accepted, NaN is not. Raises `ResponseDecodeError`."""
    body = body.removeprefix(BOM)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = "an empty body" if not body.strip() else f"{error}: {snippet(body)!r}"
    else:
        if isinstance(value, dict):
            return value
        raise ResponseDecodeError(f"expected an object, got {type(value).__name__} @ $")
    raise ResponseDecodeError(f"expected JSON, got {reason}")


def run_record(raw: Any, *, etag: str | None = None, run_id: str | None = None, at: str = "$") -> RunRecord:
    """Return a run; only `id` and `status` are checked, as other violations of the contract must not end a wait.

    `run_id` is the requested run, if one was; `at` is the JSON path of `raw`. Raises `ResponseDecodeError`.
    """
    if not isinstance(raw, dict):
        raise ResponseDecodeError(f"expected an object, got {type(raw).__name__} @ {at}")
    status = raw.get("status")
    if not isinstance(status, str) or not status:
        raise ResponseDecodeError(f"expected a status, got {_quote(status)} @ {at}.status")
    found = raw.get("id")
    if run_id is None:
        if not is_run_id(found):
            raise ResponseDecodeError(f"expected a run id, got {_quote(found)} @ {at}.id")
        run_id = found
    elif found != run_id:
        raise ResponseDecodeError(f"expected the run {run_id}, got {_quote(found)} @ {at}.id")
    return RunRecord(run_id, status_of(status), raw, etag)


def seeds_of(record: RunRecord) -> dict[str, str] | None:
    """Return the source paths of the run's own seeds, by their names; None if it has none."""
    value = record.raw.get("seeds")
    if not isinstance(value, dict):
        return None
    found = {name: seed.get("source_path") for name, seed in value.items() if isinstance(seed, dict)}
    return {name: path for name, path in found.items() if isinstance(path, str)} or None


def error_from(
    response: Response,
    *,
    secrets: Sequence[Secret | None] = (),
    on_run: bool = False,
    wall: float = math.nan,
    optional: bool = False,
    refusal: Callable[[ApiError, Mapping[str, Any]], ApiError] | None = None,
) -> ApiError:
    """Return the error for a response outside 2xx.

    Args:
        secrets: secrets of the request; a text that repeats one is withheld.
        on_run: whether the request was about one run, so that a 404 means that run.
        wall: seconds since the epoch, for a `Retry-After` date in a response without `Date`.
        optional: whether servers may lack the operation.
        refusal: the call's own reader: see `Call`.
    """
    status = response.status
    try:
        problem = decode_object(response.body)  # a problem of RFC 9457, of any content type
    except ResponseDecodeError:
        problem = {}
    what = str(problem.get("type"))
    kind = _kind(status, what, on_run=on_run)
    if optional and (status in _NO_OPERATION or (status == HTTPStatus.NOT_FOUND and what not in _NOT_FOUND)):
        kind = NotSupportedError
    request_id = response.headers.get(REQUEST_ID)
    # Before any text is cut: a part of a key would not be recognized.
    repeated = repeats(response.body, *secrets, cut=len(response.body) >= ERROR_BYTES)
    details: dict[str, Any] = {
        "status_code": status,
        "request_id": None if request_id is None else redact(request_id, *secrets),
        "body": WITHHELD if repeated else response.body[:8192].decode("utf-8", "replace"),
        "retry_after": retry_after(response.headers, wall),
    }
    if status == HTTPStatus.REQUEST_TIMEOUT:
        details["retryable"] = True
    message = _message(response, problem, withheld=repeated)
    if kind is NotSupportedError:
        message += "; this server does not offer the operation: it may be an older version"
    error = kind(message, **details)
    error._of_service = what.startswith(PROBLEM)
    if status == HTTPStatus.UNAUTHORIZED:
        error._is_stale = True
    if repeated:
        problem = {name: it for name, it in problem.items() if redact(f"{it}", *secrets) == f"{it}"}
    if refusal is not None:
        error = refusal(error, problem)
    return error


def reread(error: ApiError, kind: type[ApiError], **details: Any) -> ApiError:
    """Return the same error as another kind, with more details: for the readers of calls."""
    found = kind(error.args[0], **details)
    vars(found).update(vars(error))
    return found


def retry_after(headers: Mapping[str, str], wall: float = math.nan) -> float | None:
    """Return the seconds to wait according to `Retry-After`: a number, or a date relative to the response's `Date`.

    RFC 9110 §10.2.3 allows whole seconds and dates; fractions are accepted too. An invalid value is None, a past
    date is 0. If there is no `Date` header, both clocks are assumed to agree.
    """
    text = headers.get(RETRY_AFTER)
    if text is None:
        return None
    number = seconds(text)
    if number is not None:
        return number
    until = http_date(text)
    if until is None:
        return None
    now = http_date(headers.get(DATE))
    base = wall if now is None else now
    return None if math.isnan(base) else max(0.0, until - base)


def seconds(text: str | None) -> float | None:
    """Return the seconds in a header; a negative number is 0, anything but a number is None."""
    text = (text or "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return max(0.0, number) if math.isfinite(number) else None


def snippet(body: bytes) -> str:
    """Return the beginning of a body, for an error message."""
    text = body[: SNIPPET * 4].decode("utf-8", "replace")
    return text if len(text) <= SNIPPET else text[:SNIPPET] + "…"


def http_date(text: str | None) -> float | None:
    """Return a date (one of three forms, RFC 9110 §5.6.7) in seconds since the epoch; None if it is not valid."""
    try:
        moment: datetime = parsedate_to_datetime(text or "")
        # The asctime form has no zone; all three are UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _kind(status: int, what: str, *, on_run: bool) -> type[ApiError]:
    if status == HTTPStatus.NOT_FOUND and on_run and what != _NO_OUTPUT:
        return RunNotFoundError
    if status >= 500:
        return ServerError
    return _BY_STATUS.get(status, ApiError)


_NO_OUTPUT = f"{PROBLEM}no-output"
_NOT_FOUND = {_NO_OUTPUT, f"{PROBLEM}run-not-found", f"{PROBLEM}flow-version-not-found"}
"""The problem types of a 404 that do not mean an unknown path."""
_NO_OPERATION = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.NOT_IMPLEMENTED}
_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: InvalidRequestError,
    409: InvalidRequestError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitError,
}


def _message(response: Response, problem: dict[str, Any], *, withheld: bool) -> str:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "unknown status"
    words = problem.get("detail") or problem.get("title") or problem.get("message")
    if response.status == HTTPStatus.NOT_MODIFIED:
        words = "the request was not conditional; a cache in between may have answered"
    elif 300 <= response.status < 400:
        words = "redirects are never followed: set base_url to the address of the service"
    elif withheld:
        words = WITHHELD
    text = words if isinstance(words, str) else snippet(response.body)
    # One line without control characters, for logs and terminals.
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return f"{response.status} {phrase}: {elided(line) or 'no error details in the response'}"


def _quote(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


@frozen
class Refusal:
    """A 429 or 503: the seconds to wait, and the requests a second of the exhausted quota; None if not given."""

    wait: float | None = None
    rate: float | None = None


def refusal_in(headers: Mapping[str, str], wall: float = math.nan) -> Refusal:
    """Read `Retry-After`, `RateLimit` and `RateLimit-Policy` of a 429 or 503; malformed ones are ignored.

    The fields are defined in draft-ietf-httpapi-ratelimit-headers-11 (May 2026); the older three (`RateLimit-Limit`
    …) and the `X-` ones have no common meaning, and are not read. `wall` is as in `retry_after`.
    """
    wait, limits = retry_after(headers, wall), headers.get(RATE_LIMIT)
    if limits is None:
        return Refusal(wait)
    exhausted = {name: numbers for name, _, numbers in _items(limits) if numbers.get("r") == 0}
    rates = [
        numbers["q"] / numbers["w"]
        for name, text, numbers in _items(headers.get(RATE_LIMIT_POLICY) or "")
        if name in exhausted and numbers.get("q") and numbers.get("w")
        if "qu=" not in text or 'qu="requests"' in text
    ]
    if wait is None:  # else it takes precedence (section 7)
        wait = max((float(numbers["t"]) for numbers in exhausted.values() if "t" in numbers), default=None)
    return Refusal(wait, min(rates, default=None))


def _items(text: str) -> list[tuple[str, str, dict[str, int]]]:
    """Parse a list of structured fields (RFC 9651): each string with its parameters, and the whole numbers."""
    return [
        (name, rest, {key: int(number) for key, number in _WHOLE.findall(rest)})
        for name, rest in _ITEM.findall(text[:LONGEST_LIMITS])
    ]
