"""`RunState`: the known state of a run, from the record of the last poll; and as HTML for notebooks. No I/O."""

from datetime import datetime
from typing import Any

import lume_async  # for annotations: its names are loaded on use
from lume_async._base.html import facts
from lume_async._decoding import parse_time
from lume_async._wire.answers import seeds_of
from lume_async.errors import ResponseDecodeError, RunFailedError
from lume_async.models import RunRecord, RunStatus


class RunState:
    """The state of a run at the last poll."""

    __slots__ = ("_id", "_key", "_metadata", "_record", "_reused")

    def __init__(
        self, run_id: str, record: RunRecord | None, key: str | None = None, *, reused: bool = False
    ) -> None:
        self._id = run_id
        self._record = record
        self._metadata: lume_async.RunMetadata | None = None
        self._key = key
        self._reused = reused

    @property
    def id(self) -> str:
        """The ID of the run."""
        return self._id

    @property
    def status(self) -> RunStatus | None:
        """The status at the last poll; None before the first."""
        return self._record.status if self._record else None

    @property
    def metadata(self) -> "lume_async.RunMetadata":
        """The run's metadata: a dict as the server sent it, with typed views; empty before the first poll."""
        if self._metadata is None:
            from lume_async._metadata import RunMetadata

            raw = self._raw("metadata") or {}
            if not isinstance(raw, dict):
                raise ResponseDecodeError(f"expected an object, got {type(raw).__name__} @ $.metadata")
            self._metadata = RunMetadata(raw)
        return self._metadata

    @property
    def flow_version(self) -> str | None:
        """The flow and its version, such as `customer_cleaner:v1`."""
        return self._text("flow_version")

    @property
    def source_path(self) -> str | None:
        """The source that the run reads."""
        return self._text("source_path")

    @property
    def run_metadata(self) -> dict[str, Any] | None:
        """The JSON object of the submission."""
        value = self._raw("run_metadata")
        return value if isinstance(value, dict) else None

    @property
    def seeds(self) -> dict[str, str] | None:
        """The source paths of the run's own seeds, by their names; None if it has none."""
        return None if self._record is None else seeds_of(self._record)

    @property
    def layout(self) -> str | None:
        """The layout that the submission named for all files; None if it named none."""
        return self._text("layout")

    @property
    def force_rerun(self) -> bool:
        """Whether the run was submitted with `force_rerun`."""
        return bool(self._raw("force_rerun"))

    @property
    def submitted_by(self) -> str | None:
        """The name of the key that submitted the run; None if the server doesn't report it."""
        return self._text("submitted_by")

    @property
    def created_at(self) -> datetime | None:
        """When the server accepted the run."""
        return self._time("created_at")

    @property
    def started_at(self) -> datetime | None:
        """When the run started to execute."""
        return self._time("started_at")

    @property
    def finished_at(self) -> datetime | None:
        """When the run ended; None before."""
        return self._time("finished_at")

    @property
    def progress(self) -> float | None:
        """The progress of the run, 0 to 1, if the server reports it."""
        value = self._raw("progress")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def idempotency_key(self) -> str | None:
        """The key of the submission; None for a run that was not submitted through this handle."""
        return self._key

    @property
    def reused(self) -> bool:
        """Whether the server answered the submission with a run that already existed."""
        return self._reused

    @property
    def is_terminal(self) -> bool:
        """Whether the run had ended at the last poll."""
        return self._record is not None and self._record.is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether all rows were mapped."""
        return self.status == RunStatus.SUCCEEDED

    @property
    def has_output(self) -> bool:
        """Whether mapped rows were written: SUCCEEDED or PARTIAL_FAILED."""
        status = self.status
        return status is not None and status.has_output

    @property
    def mapped_location(self) -> str | None:
        """Where the mapped rows were written; None if there are none."""
        return self.metadata.target_locations.mapped

    @property
    def rejects_location(self) -> str | None:
        """Where the rejected rows were written; None if there are none."""
        return self.metadata.target_locations.rejects

    @property
    def error_message(self) -> str | None:
        """The server's error message; None if there is none."""
        return self.metadata.error_message

    def to_dict(self) -> dict[str, Any]:
        """Return the run as the server sent it, in plain JSON values; only its ID before the first poll.

        Examples:
            >>> print(run.to_dict()["source_path"])
        """
        return dict(self._record.raw) if self._record else {"id": self._id}

    def raise_for_status(self) -> None:
        """Raise if the run had failed at the last poll; else do nothing.

        Raises:
            RunFailedError: the run ended FAILED, CRASHED, CANCELLED or in an unknown status.

        Examples:
            >>> await client.wait_all([run])
            >>> run.raise_for_status()
        """
        if self.is_terminal and not self.has_output:
            try:
                reason = self.error_message or "the server gave no reason"
            except ResponseDecodeError:
                reason = "its metadata can't be read"
            raise RunFailedError(f"run {self._id} ended {self.status}: {reason}", run=self)

    def _raw(self, name: str) -> Any:
        return self._record.raw.get(name) if self._record else None

    def _text(self, name: str) -> str | None:
        value = self._raw(name)
        return value if isinstance(value, str) else None

    def _time(self, name: str) -> datetime | None:
        value = self._raw(name)
        if value is None:
            return None
        try:
            return parse_time(value)
        except ValueError as error:
            reason = str(error)
        raise ResponseDecodeError(f"{reason} @ $.{name}")


def record_of(run: RunState) -> RunRecord | None:
    """Return the record of the last poll; None before the first."""
    return run._record


def run_html(run: Any) -> str:
    """Return the state of a run at the last poll, as HTML."""
    try:
        shown = _facts(run)
    except ResponseDecodeError as error:
        shown = [("status", run.status), ("problem", f"its metadata can't be read: {error}")]
    return facts(f"run {run.id}", shown)


def _facts(run: Any) -> list[tuple[str, object]]:
    metrics, took = run.metadata.metrics, None
    if run.started_at and run.finished_at:
        took = f"{(run.finished_at - run.started_at).total_seconds():.1f} s"
    rows = f"{metrics.rows_read:,} read, {metrics.rows_mapped:,} mapped, {metrics.rows_rejected:,} rejected"
    reasons = sorted(metrics.reject_reasons.items(), key=lambda item: -item[1])
    return [
        ("status", run.status or "not seen yet"),
        ("flow", run.flow_version),
        ("source", run.source_path),
        ("created", run.created_at),
        ("took", took),
        ("rows", rows if run.has_output or metrics.rows_read else None),
        *(("rejected", f"{count:,}: {reason}") for reason, count in reasons),
        ("mapped rows", run.mapped_location),
        ("rejected rows", run.rejects_location),
        ("error", run.error_message),
        *(("note", note) for note in run.metadata.notes),
    ]
