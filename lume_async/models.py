"""The data of both APIs: statuses, metadata, requests, outcomes. No I/O."""

import json
import os
import re
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeGuard, TypeVar
from urllib.parse import urlsplit

import orjson
from attrs import define, field, frozen
from attrs.validators import optional

from lume_async._base import arguments
from lume_async._base.controls import control_in
from lume_async._base.deflate import deflated, inflated
from lume_async._base.html import facts
from lume_async._base.public import public
from lume_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from lume_async._metadata import ColumnMetrics as ColumnMetrics
    from lume_async._metadata import FileMetrics as FileMetrics
    from lume_async._metadata import LayoutMetrics as LayoutMetrics
    from lume_async._metadata import Metrics as Metrics
    from lume_async._metadata import RunInfo as RunInfo
    from lume_async._metadata import RunMetadata as RunMetadata
    from lume_async._metadata import SeedMetrics as SeedMetrics
    from lume_async._metadata import SourceMetrics as SourceMetrics
    from lume_async._metadata import Stage as Stage
    from lume_async._metadata import TargetLocations as TargetLocations

    Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
else:
    from lume_async._base.lazy import lazily

    _LATER = (
        "ColumnMetrics FileMetrics LayoutMetrics Metrics RunInfo RunMetadata SeedMetrics SourceMetrics Stage "
        "TargetLocations"
    )
    _, __getattr__, __dir__ = lazily(__name__, {"lume_async._metadata": _LATER})
    # In another module, `get_type_hints` would not find the name inside the alias.
    Json = bool | int | float | str | Sequence[object] | Mapping[str, object] | None

__all__ = [
    "ColumnMetrics",
    "FileMetrics",
    "Json",
    "JsonObject",
    "LayoutMetrics",
    "Metrics",
    "Outcome",
    "RunEvent",
    "RunInfo",
    "RunMetadata",
    "RunRequest",
    "RunStatus",
    "SeedMetrics",
    "SourceMetrics",
    "Stage",
    "TargetLocations",
]

JsonObject: TypeAlias = Mapping[str, Json]
"""A JSON object that is only read: a `dict[str, str]` is one."""

Run = TypeVar("Run", covariant=True)  # the `LumeRun` of the caller's package

_ID_LETTERS = f"{string.ascii_letters}{string.digits}_-"
_LONGEST: dict[str, int] = dict.fromkeys(
    ("flow", "flow_version", "layout", "name", "submitted_by", "to"), 256
)
_LONGEST |= {"webhook_url": 2048, "why": 500, "assignee": 256, "comment": 500}
_LONGEST |= {"by": 256, "what": 64} | dict.fromkeys(
    ("cursor", "source", "source_path", "seeds", "samples"), 4096
)
LONGEST_KEY = 255

_checked = arguments.validator


@public
class RunStatus(StrEnum):
    """The state of a run. An open enumeration: a status that this version does not know keeps its string.

    Members are equal to their strings, and print as them.

    Examples:
        >>> print(RunStatus("PARTIAL_FAILED").is_terminal, run.status == "PARTIAL_FAILED")
        True True
    """

    CREATED = "CREATED"
    SYNCING_SOURCE = "SYNCING_SOURCE"
    TRANSFORMING = "TRANSFORMING"
    SYNCING_TARGET = "SYNCING_TARGET"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL_FAILED = "PARTIAL_FAILED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    def __reduce_ex__(self, _protocol: object) -> tuple[type[Self], tuple[str]]:
        """Pickle by value: Python 3.11 would look up the name, which an unknown status lacks."""
        return type(self), (self._value_,)

    @property
    def is_known(self) -> bool:
        """Whether this version of the library knows the status."""
        return self._value_ in _KNOWN

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self._value_ in _TERMINAL

    @property
    def has_output(self) -> bool:
        """Whether a run with this status has written rows: SUCCEEDED or PARTIAL_FAILED."""
        return self._value_ in _WITH_OUTPUT


_KNOWN = {status.value: status for status in RunStatus}
_WITH_OUTPUT = frozenset({RunStatus.SUCCEEDED, RunStatus.PARTIAL_FAILED})
_TERMINAL = _WITH_OUTPUT | {RunStatus.FAILED, RunStatus.CRASHED, RunStatus.CANCELLED}


def status_of(text: str) -> RunStatus:
    """Return the status with this text; for a known one, ten times as fast as `RunStatus(text)`."""
    return _KNOWN.get(text) or RunStatus(text)


def wanted_status(text: object) -> RunStatus:
    """Return the status to filter by, in capitals. An unknown one may be a newer server's; a near miss is a typo.

    Raises:
        ValueError: `text` is not a string, is blank, or is a near miss of a known status.
    """
    if not isinstance(text, str) or not text.strip() or control_in(text):
        raise ValueError(f"status must be a RunStatus or its name, not {arguments.shown(text)}")
    status = RunStatus(text.strip().upper())
    if not status.is_known:
        from difflib import get_close_matches  # here: rarely needed

        if near := get_close_matches(status, list(RunStatus), n=1, cutoff=0.75):
            raise ValueError(f"unknown status {text!r:.60}; did you mean {near[0]}?")
    return status


def plain_text(value: Any, name: str) -> str:
    """Return text of one visible line without `..`, for paths, logs and SQL. Raises `InvalidRequestError`."""
    longest = _LONGEST[name]
    if not isinstance(value, str):
        hint = ": pass str(path), as the server knows it" if isinstance(value, os.PathLike) else ""
        raise InvalidRequestError(f"{name} must be a string, not {type(value).__name__}{hint}")
    if not value.strip():
        raise InvalidRequestError(f"{name} is empty; no request was sent")
    if len(value) > longest:
        raise InvalidRequestError(f"{name} has {len(value):,} characters; the maximum is {longest:,}")
    if found := control_in(value):
        what = "is not valid UTF-8" if "\ud800" <= found <= "\udfff" else "contains a control character"
        raise InvalidRequestError(f"{name} {what}; no request was sent")
    if ".." in value and ".." in re.split(r"[/\\:]", value):
        raise InvalidRequestError(f"{name} contains a '..' part: use a path without it; no request was sent")
    return value


def _as_dict(value: JsonObject | None) -> dict[str, Any] | None:
    return dict(value) if isinstance(value, Mapping) and not isinstance(value, dict) else value


def _json_object(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{name} must be a dict of JSON values, not {type(value).__name__}")
    try:
        back = orjson.loads(orjson.dumps({name: value}))[name]  # nested as deeply as in the request
    except (TypeError, ValueError) as error:
        reason = str(error)
    else:
        if back == value:
            return
        reason = "it would not be preserved as JSON (NaN, a tuple, a date …)"
    raise InvalidRequestError(f"{name} is not JSON: {reason}; no request was sent")


def _seed_paths(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{name} must be a dict of source paths, not {type(value).__name__}")
    for seed, path in value.items():
        plain_text(seed, name)
        plain_text(path, name)


def _web_address(value: Any, name: str) -> None:
    plain_text(value, name)
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidRequestError(f"{name} must look like https://host[:port]/path; no request was sent")


@public
@frozen
class RunRequest:
    """A run to submit; it takes the arguments of `Client.run`, but `seeds` are source paths on the server.

    Raises:
        InvalidRequestError: an argument is not valid.

    Examples:
        >>> request = RunRequest("customer_cleaner:v1", "customers.csv", {"team": "sales"}, priority=0)
    """

    flow_version: str = field(validator=_checked(plain_text))
    source_path: str = field(validator=_checked(plain_text))
    run_metadata: dict[str, Any] | None = field(
        default=None, converter=_as_dict, validator=optional(_checked(_json_object))
    )
    force_rerun: bool = field(default=False, validator=_checked(arguments.flag, error=InvalidRequestError))
    idempotency_key: str | None = field(
        default=None, validator=optional(_checked(arguments.line, LONGEST_KEY, error=InvalidRequestError))
    )
    webhook_url: str | None = field(default=None, validator=optional(_checked(_web_address)))
    priority: int = field(default=0, validator=_checked(arguments.whole, 0, 9, error=InvalidRequestError))
    seeds: dict[str, str] | None = field(default=None, validator=optional(_checked(_seed_paths)))
    layout: str | None = field(default=None, validator=optional(_checked(plain_text)))


def is_run_id(run_id: object) -> TypeGuard[str]:
    """Return whether it is `[A-Za-z0-9_-]{1,128}`."""
    # `strip` is faster than a regular expression, and every request is checked.
    return isinstance(run_id, str) and 0 < len(run_id) <= 128 and not run_id.strip(_ID_LETTERS)


def check_run_id(run_id: object) -> str:
    """Return the ID, if it is valid: `[A-Za-z0-9_-]{1,128}`. Anything else could change the path of the request.

    Raises:
        InvalidRequestError: it is not valid. The message does not repeat it: it may be a key pasted by mistake.
    """
    if is_run_id(run_id):
        return run_id
    raise InvalidRequestError(
        "invalid run ID: expected 1 to 128 letters, digits, '_' or '-'; no request was sent"
    )


@define(eq=False, weakref_slot=False)
class RunRecord:
    """A run as the server sent it: the members that waiting needs are checked, the rest is decoded on use."""

    id: str
    status: RunStatus
    _raw: dict[str, Any] | bytes | Callable[[], dict[str, Any]] = field(repr=False)
    etag: str | None = field(default=None, repr=False)

    @property
    def raw(self) -> dict[str, Any]:
        """The members that the server sent."""
        raw = self._raw
        if isinstance(raw, bytes):
            raw = self._raw = orjson.loads(inflated(raw, self.id.encode()))
        elif not isinstance(raw, dict):
            raw = self._raw = raw()
        return raw

    def pack(self) -> None:
        """Deflate the members, to a sixth of the memory; `raw` inflates them."""
        with suppress(orjson.JSONEncodeError):  # nested too deeply for orjson: keep them as they are
            self._raw = deflated(orjson.dumps(self.raw), self.id.encode())

    def __eq__(self, other: object) -> bool:
        """Return whether the server sent the same."""
        if not isinstance(other, RunRecord):
            return NotImplemented
        return (self.id, self.etag, self.raw) == (other.id, other.etag, other.raw)

    def __getstate__(self) -> tuple[str, str, str, str | None]:
        """Return JSON text: pickling nested metadata takes three calls a level and hits the recursion limit."""
        return self.id, str(self.status), json.dumps(self.raw), self.etag

    def __setstate__(self, state: tuple[str, str, str, str | None]) -> None:
        self.id, status, raw, self.etag = state
        self.status, self._raw = status_of(status), json.loads(raw)

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended; with an unknown status, whether it has a finish time."""
        status = self.status
        return status.is_terminal or (not status.is_known and bool(self.raw.get("finished_at")))


@public
@frozen
class Outcome(Generic[Run]):
    """How one of many runs ended. Exactly one of `run` and `error` is set.

    Attributes:
        run_id: the run's ID; None if the submission failed.
        run: the run in its terminal status, even if it FAILED.
        error: the reason why its end is not known.
        request: the request, if `run_many` submitted it.
        remembered: whether it was replayed from a journal; nothing was resubmitted.

    Examples:
        >>> for outcome in outcomes:
        ...     print(outcome.run_id, outcome.error or outcome.run.status)
    """

    run_id: str | None
    run: Run | None = None
    error: Exception | None = None
    request: RunRequest | None = None
    remembered: bool = False

    def result(self) -> Run:
        """Return the run, even if it FAILED.

        Raises:
            Exception: `error`, if it is set.

        Examples:
            >>> done = [outcome.result() for outcome in outcomes]
        """
        if self.error is not None:
            raise self.error
        assert self.run is not None
        return self.run

    def _repr_html_(self) -> str:
        """Return a table for notebooks: the run, or the error."""
        show = getattr(self.run, "_repr_html_", None)
        if show is not None:
            return str(show())
        source = None if self.request is None else self.request.source_path
        error = f"{type(self.error).__name__}: {self.error}"
        return facts("the outcome is not known", [("source", source), ("run", self.run_id), ("error", error)])


@public
@frozen
class RunEvent(Generic[Run]):
    """The status of a watched run has changed, or watching it has failed.

    Attributes:
        run: a snapshot of the run.
        previous: its status before; None for the first event of a run.
        error: why watching it has failed; None for a change of status.
    """

    run: Run
    previous: RunStatus | None = None
    error: Exception | None = None
