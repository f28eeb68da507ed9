"""Error messages: the text, a hint at the remedy, and the JSON form for scripts. Pure."""

import errno
import re
from typing import TYPE_CHECKING, Any

from lume_async import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    DuplicateRunError,
    InvalidRequestError,
    LumeError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
)

if TYPE_CHECKING:
    from lume_async import LumeRun


class StoppedError(LumeError):
    """The batch was stopped; `hint` says how to resume it."""

    def __init__(self, message: str, hint: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.hint = hint
        self.retryable = retryable


class NotSubmittedError(LumeError):
    """No connection could be made within the timeout of a submission; `reason` says why."""

    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"timed out; no run was submitted: {reason}")


class OutputError(LumeError):
    """Stdout can't be written: it is closed, or its disk is full; `run` is the run submitted before."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"can't write to stdout: {'it is closed' if error.errno == errno.EBADF else error.strerror}"
        )
        self.run: LumeRun | None = None


def submission_note(run: "LumeRun") -> str:
    """Name the submitted run on stderr if stdout can't be written."""
    if run.is_terminal:
        return f"run {run.id} was submitted: `lume show {run.id}`"
    return f"run {run.id} was submitted and keeps running: `lume wait {run.id}`"


def to_dict(error: BaseException) -> dict[str, Any]:
    """Return the error as JSON: `{"error": {"code", "message", "request_id", "retryable", ...}}`."""
    message = str(error.args[0]) if isinstance(error, ApiError) and error.args else str(error)
    details: dict[str, Any] = {
        "code": code(error),
        "message": in_options(message),
        "request_id": getattr(error, "request_id", None),
        "retryable": isinstance(error, RunTimeoutError) or bool(getattr(error, "retryable", False)),
    }
    run = getattr(error, "run", None) if isinstance(error, RunError | OutputError) else None
    extras = {
        "status_code": getattr(error, "status_code", None),
        "run_id": getattr(error, "run_id", None) or (run.id if run is not None else None),
        "source_changed": getattr(error, "source_changed", None),
        "idempotency_key": getattr(error, "idempotency_key", None),
        "hint": hint(error),
    }
    details |= {name: value for name, value in extras.items() if value is not None}
    return {"error": details}


_OPTIONS = (
    ("pass force_rerun=true to", "pass --force-rerun to"),
    ("pass flows=<folder>, or pass flows=None", "pass --flows DIR, or pass --no-flows"),
    ("pass another port=, or port=0 for a free one", "pass another --port, or leave it out for a free one"),
    ("run_many keeps trying", "this command keeps trying"),
    ("pass timeout=, leave the iteration or press Ctrl-C", "pass --timeout, or press Ctrl-C"),
    ("leave the iteration or press Ctrl-C", "press Ctrl-C"),
    ("pass data=<another folder>", "pass --data with another folder"),
    ("list_runs(source_path=...)", "`lume list --source SOURCE`"),
    ("with idempotency_key=", "with --idempotency-key "),
    ("set its encoding", "pass --encoding"),
    ("leave out the encoding", "leave out --encoding"),
    ("set its delimiter", "pass --delim"),
    ("another file with rejects=", "another file with --rejects"),
)


def in_options(text: str) -> str:
    """Return a message of the library or the embedded server, with parameters replaced by command-line options."""
    for words, options in _OPTIONS:
        text = text.replace(words, options)
    return text


def code(error: BaseException) -> str:
    """Return the error code: `duplicate_run`, `authentication`, `run_timeout` …"""
    if not isinstance(error, LumeError):
        return "unexpected"
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def hint(error: BaseException) -> str | None:
    """Return the remedy for the error, if known."""
    match error:
        case StoppedError():
            return error.hint
        case PermissionDeniedError():
            return "use a key that may do this; `lume doctor` shows where the present one is from"
        case AuthenticationError():
            return "check LUME_API_KEY or the profile's api_key; `lume doctor` shows details"
        case OutputError(run=run) if run is not None:
            return submission_note(run)
        case ApiConnectionError(__notes__=[str(note), *_]) | DuplicateRunError(__notes__=[str(note), *_]):
            return note
        case DuplicateRunError(run_id=str(run_id)) if "run-in-progress" in error.body:  # forced or not
            return f"`lume wait {run_id}`, or submit with --on-duplicate attach"
        case DuplicateRunError(run_id=str(run_id), source_changed=True):
            return (
                '--force-rerun processes the new content instead; with [source] identity = "content" in the flow, '
                "new content is a new source"
            )
        case DuplicateRunError(run_id=str(run_id)):
            return f"`lume show {run_id}`, or submit with --on-duplicate attach or --force-rerun"
        case DuplicateRunError():
            return "submit with --on-duplicate attach or --force-rerun"
        case RunTimeoutError(run=run) if run is not None:
            return f"wait again with `lume wait {run.id}`"
        case RunNotFoundError():
            return "a short id needs at least its first 8 characters; `lume list` shows the runs, if the server does"
        case RunFailedError(run=run) if run is not None:
            return f"`lume show {run.id}`"
        case InvalidRequestError() if "outside of the folders" in str(error) or "a '..' part" in str(error):
            return "if the file is on this machine, `lume run --upload` sends it to a server that takes files"
        case InvalidRequestError() if "a version never changes" in str(error):
            return "`lume flow diff FILE` shows what differs"
        case RateLimitError(retry_after=float(seconds)):
            return f"retry in {seconds:.0f} s"
        case ApiConnectionError() | NotSubmittedError():
            return "`lume doctor` finds the cause"
        case ResponseDecodeError():
            return "is this a Lume service, and not much newer than this command? `lume doctor` shows what responds"
        case _:
            return None
