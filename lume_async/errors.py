"""Every error that the library raises.

    LumeError
    ├── ConfigurationError           a setting is missing or wrong; nothing was sent
    ├── ApiError                     one request did not give what was asked for
    │   ├── ApiConnectionError       no answer: refused, reset, DNS, TLS, a cut body
    │   │   └── ApiTimeoutError      no answer in time (also a TimeoutError)
    │   ├── AuthenticationError      401, 403
    │   ├── InvalidRequestError      400, 404, 409, 413, 422
    │   │   ├── DuplicateRunError    409: a run holds this source already
    │   │   └── RunNotFoundError     404 on a run
    │   ├── RateLimitError           429, after the retries
    │   ├── ServerError              5xx, after the retries
    │   ├── ResponseDecodeError      a response that violates the API contract
    │   └── SubmissionUnknownError   the answer to a submission was lost: a run may exist
    ├── RunError                     the API calls succeeded, but the run did not
    │   ├── RunFailedError           FAILED, CRASHED, CANCELLED, an unknown terminal status
    │   └── RunTimeoutError          the wait ended before the run did (also a TimeoutError)
    ├── WebhookSignatureError        a webhook's signature is missing, malformed or wrong
    └── ClientClosedError            the client was closed

All of them pickle and copy: each holds one message and plain data, never a connection and never the API key.
"""

from typing import Any

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
    "LumeError",
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
"""How much of an error's body `ApiError.body` keeps, in characters."""


@public
class LumeError(Exception):
    """The root of all errors of this library."""


@public
class ConfigurationError(LumeError):
    """A setting is missing or makes no sense. Nothing was sent."""


@public
class ClientClosedError(LumeError):
    """The client was closed before or during this call."""


@public
class WebhookSignatureError(LumeError):
    """A webhook's signature is missing, malformed or wrong: do not trust the body."""


@public
class ApiError(LumeError):
    """One request to the service did not give what was asked for.

    Attributes:
        status_code: the HTTP status; None where no answer came.
        request_id: the server's `X-Request-Id`, to quote to its operators.
        body: the first 2,048 characters of the answer.
        attempts: how often the request was sent in this call.
        retry_after: how many seconds the server asked to wait, if it did.
        retryable: whether the same request may succeed later.
    """

    retryable: bool = False
    _of_service: bool = False  # the service's own words, not those of a gateway on the way

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
        """The message, and what helps to find the request again."""
        text = str(self.args[0]) if self.args else type(self).__name__
        facts = [f"after {self.attempts} attempts"] if self.attempts > 1 else []
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        return f"{text} [{', '.join(facts)}]" if facts else text


@public
class ApiConnectionError(ApiError):
    """No (whole) answer came: refused, reset, DNS, TLS, a cut body.

    Attributes:
        reached: whether the request may have reached the service. False for a refused connection, DNS and
            the TLS handshake: then nothing can have happened there.
    """

    retryable = True

    def __init__(self, message: str = "", *, reached: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.reached = reached


@public
class ApiTimeoutError(ApiConnectionError, TimeoutError):
    """No answer came within the request's time limit."""


@public
class AuthenticationError(ApiError):
    """401 or 403: the API key is missing, unknown or not allowed to do this."""


@public
class InvalidRequestError(ApiError):
    """400, 404, 409, 413 or 422, or an argument that can never be valid: then nothing was sent."""


@public
class DuplicateRunError(InvalidRequestError):
    """409: this flow version has processed (or is processing) this source.

    Attributes:
        run_id: the run that holds the source; None where the server did not say.
    """

    def __init__(self, message: str = "", *, run_id: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.run_id = run_id


@public
class RunNotFoundError(InvalidRequestError):
    """404: the service knows no run with this id."""


@public
class RateLimitError(ApiError):
    """429, after the retries; `retry_after` says when to come back, if the server did."""

    retryable = True


@public
class ServerError(ApiError):
    """5xx, after the retries."""

    retryable = True


@public
class ResponseDecodeError(ApiError):
    """An answer that is not the contract: `reason @ $.path`, or one that is too large."""

    retryable = True


@public
class SubmissionUnknownError(ApiError):
    """The answer to a submission was lost and it could not be sent again safely: a run may exist.

    Find out before submitting once more: list the runs of `request.source_path`, or, where the server knows
    idempotency keys, submit again with `idempotency_key=error.idempotency_key`.

    Attributes:
        idempotency_key: the key that every attempt of this submission carried.
        request: the `RunRequest` that was sent.
    """

    def __init__(
        self, message: str = "", *, idempotency_key: str | None = None, request: Any = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.idempotency_key = idempotency_key
        self.request = request


@public
class RunError(LumeError):
    """The API calls succeeded, but the run did not.

    Attributes:
        run: the `LumeRun`, with its last known status and metadata.
    """

    def __init__(self, message: str = "", *, run: Any = None) -> None:
        super().__init__(message)
        self.run = run


@public
class RunFailedError(RunError):
    """The run ended FAILED, CRASHED, CANCELLED or in a terminal status that this library doesn't know."""


@public
class RunTimeoutError(RunError, TimeoutError):
    """The wait ended before the run did. The run goes on: wait again, or cancel it.

    `__cause__` is the last error that a poll met, if any did.
    """
