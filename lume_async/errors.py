"""Every error that the library raises.

    LumeError
    ├── ConfigurationError           a setting is missing or not valid; no request was sent
    ├── ApiError                     a request failed
    │   ├── ApiConnectionError       no response: refused, reset, DNS, TLS, a body cut off
    │   │   └── ApiTimeoutError      no response in time (also a TimeoutError)
    │   ├── AuthenticationError      401: the API key is missing or unknown
    │   │   └── PermissionDeniedError 403: the key may not do this
    │   ├── InvalidRequestError      400, 404, 409, 413, 422
    │   │   ├── DuplicateRunError    409: a run already holds this source
    │   │   └── RunNotFoundError     404 on a run
    │   ├── NotSupportedError        404, 405, 406, 501: the server does not offer it
    │   ├── RateLimitError           429, after the retries
    │   ├── ServerError              5xx, after the retries
    │   ├── ResponseDecodeError      a response that violates the API contract
    │   └── SubmissionUnknownError   the answer to a submission was lost: a run may exist
    ├── RunError                     the API calls succeeded, but the run did not
    │   ├── RunFailedError           FAILED, CRASHED, CANCELLED, an unknown terminal status
    │   └── RunTimeoutError          the timeout passed before the run ended (also a TimeoutError)
    ├── WebhookSignatureError        a webhook's signature is missing, malformed or wrong
    ├── JournalError                 a journal in use can't be read or written
    ├── MissingLibraryError          an optional library is not installed (also an ImportError)
    └── ClientClosedError            the client was closed

All of them can be pickled and copied: each holds a message and plain data, never a connection or the API key.
"""

from typing import Any, TypedDict, Unpack

from lume_async._base.elided import elided
from lume_async._base.public import public

__all__ = [
    "ApiConnectionError",
    "ApiError",
    "ApiTimeoutError",
    "AuthenticationError",
    "ClientClosedError",
    "ConfigurationError",
    "DuplicateRunError",
    "InvalidRequestError",
    "JournalError",
    "LumeError",
    "MissingLibraryError",
    "NotSupportedError",
    "PermissionDeniedError",
    "RateLimitError",
    "ResponseDecodeError",
    "RunError",
    "RunFailedError",
    "RunNotFoundError",
    "RunTimeoutError",
    "ServerError",
    "SubmissionUnknownError",
    "WebhookSignatureError",
]

BODY_KEPT = 2048
"""The maximum length of `ApiError.body`, in characters."""


@public
class LumeError(Exception):
    """The base class of all errors of this library. A message has at most 500 characters."""

    def __init__(self, message: object = "", **more: str | None) -> None:
        super().__init__(elided(str(message)), **more)


@public
class ConfigurationError(LumeError):
    """A setting is missing or not valid. No request was sent."""


@public
class JournalError(LumeError):
    """A journal in use can't be read or written: a full or broken disk, or damage.

    Its content is kept, and the same call with the same journal resumes from there.
    """


@public
class MissingLibraryError(LumeError, ImportError):
    """The operation needs a library that is not installed; the message says how to install it."""


@public
class ClientClosedError(LumeError):
    """The client was closed before or during this call."""

    def __init__(self, message: object = "the client is closed: create a new one") -> None:
        super().__init__(message)


@public
class WebhookSignatureError(LumeError):
    """A webhook's signature is missing, malformed or wrong: do not trust the body."""


class _Details(TypedDict, total=False):
    status_code: int | None
    request_id: str | None
    body: str
    attempts: int
    retry_after: float | None
    retryable: bool | None


@public
class ApiError(LumeError):
    """A request to the service failed.

    Attributes:
        status_code: the HTTP status; None if there was no response.
        request_id: the server's `X-Request-Id`; quote it to its operators.
        body: the first 2,048 characters of the response.
        attempts: how many times the request was sent in this call.
        retry_after: the delay in seconds that the server asked for, if any.
        retryable: whether the same request may succeed later.

    Examples:
        >>> try:
        ...     run = await client.run_status("run_unknown")
        ... except ApiError as error:
        ...     print(error.status_code, error.retryable)
        404 False
    """

    retryable: bool = False
    _of_service: bool = False  # whether the service sent the answer, not a gateway in between
    _is_stale: bool = False  # whether another key or token may be accepted

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        body: str = "",
        attempts: int = 1,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.request_id = request_id
        self.body: str = body[:BODY_KEPT]
        self.attempts = attempts
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        """Return the message, the number of attempts and the request ID."""
        text = str(self.args[0]) if self.args else type(self).__name__
        facts = [f"after {self.attempts} attempts"] if self.attempts > 1 else []
        if self.request_id:
            facts.append(f"request id {self.request_id:.100}")
        return f"{text} [{', '.join(facts)}]" if facts else text


@public
class ApiConnectionError(ApiError):
    """No complete response was received: refused, reset, DNS, TLS, a body cut off.

    Attributes:
        reached: whether the request may have reached the service; False for a refused connection, DNS and
            TLS handshake errors: then it had no effect.
    """

    retryable = True

    def __init__(self, message: str = "", *, reached: bool = True, **details: Unpack[_Details]) -> None:
        super().__init__(message, **details)
        self.reached = reached


@public
class ApiTimeoutError(ApiConnectionError, TimeoutError):
    """No response was received within the time limit of the request."""


@public
class AuthenticationError(ApiError):
    """401: the API key is missing or unknown."""


@public
class PermissionDeniedError(AuthenticationError):
    """403: the API key is known and lacks the permission, or a gateway refused the request; the message says why."""


@public
class InvalidRequestError(ApiError):
    """400, 404, 409, 413 or 422; or an argument is not valid, and no request was sent."""


@public
class DuplicateRunError(InvalidRequestError):
    """409: this flow version has processed, or is processing, this source.

    Attributes:
        run_id: the run that holds the source; None if the server did not name it.
        source_changed: whether the source has changed since that run read it; None if the server can't say.

    Examples:
        >>> try:
        ...     run = await client.run("customer_cleaner:v1", "customers.csv")
        ... except DuplicateRunError as error:
        ...     run = client.attach(error.run_id)
    """

    def __init__(
        self,
        message: str = "",
        *,
        run_id: str | None = None,
        source_changed: bool | None = None,
        **details: Unpack[_Details],
    ) -> None:
        super().__init__(message, **details)
        self.run_id = run_id
        self.source_changed = source_changed


@public
class RunNotFoundError(InvalidRequestError):
    """404: the service has no run with this ID."""


@public
class NotSupportedError(ApiError):
    """404, 405 or 501: the server does not offer the operation."""


@public
class RateLimitError(ApiError):
    """429, after the retries; `retry_after` is the delay that the server asked for, if any."""

    retryable = True


@public
class ServerError(ApiError):
    """5xx, after the retries."""

    retryable = True


@public
class ResponseDecodeError(ApiError):
    """A response that violates the API contract (`reason @ $.path`) or is too large."""

    retryable = True


@public
class SubmissionUnknownError(ApiError):
    """The answer to a submission was lost and it could not be sent again safely: a run may exist.

    Before you submit again, list the runs of `request.source_path`; or, if the server supports idempotency keys,
    submit again with `idempotency_key=error.idempotency_key`.

    Attributes:
        idempotency_key: the key that every attempt of this submission carried.
        request: the `RunRequest` that was sent.
    """

    def __init__(
        self,
        message: str = "",
        *,
        idempotency_key: str | None = None,
        request: object = None,
        **details: Unpack[_Details],
    ) -> None:
        super().__init__(message, **details)
        self.idempotency_key = idempotency_key
        self.request: Any = request


@public
class RunError(LumeError):
    """The API calls succeeded, but the run did not.

    Attributes:
        run: the `LumeRun`, with its last known status and metadata.
    """

    def __init__(self, message: str = "", *, run: object = None) -> None:
        super().__init__(message)
        self.run: Any = run


@public
class RunFailedError(RunError):
    """The run ended FAILED, CRASHED, CANCELLED or in a terminal status that this version does not know.

    Examples:
        >>> try:
        ...     await run.wait()
        ... except RunFailedError as error:
        ...     print(error.run.id, error.run.error_message)
    """


@public
class RunTimeoutError(RunError, TimeoutError):
    """The timeout passed before the run ended. The run keeps running: wait again, or cancel it.

    `__cause__` is the last error of a poll, if any. Raised by `run_many`, it concerns the batch: `run` is None, and
    the input was not read to its end.

    Examples:
        >>> try:
        ...     await run.wait(timeout=0)
        ... except RunTimeoutError as error:
        ...     await error.run.cancel()
    """
