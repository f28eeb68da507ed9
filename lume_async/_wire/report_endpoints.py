"""The requests for reports on runs, as data. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from lume_async._decoding import structure
from lume_async._metadata import Metrics, RunMetadata
from lume_async._wire.answers import decode_object, run_record
from lume_async._wire.call import Call, Response
from lume_async._wire.endpoints import JSON_BODY, Filters, Page, check_taken, list_of, path_of, submission
from lume_async._wire.headers import IDEMPOTENCY_KEY
from lume_async._wire.report_models import (
    ArrivalFile,
    ArrivalReport,
    AuditEntry,
    Delivery,
    DryRun,
    ForgetReport,
    RunCount,
)
from lume_async._wire.row_endpoints import Row, exact_object
from lume_async.errors import NotSupportedError
from lume_async.models import RunRecord, RunRequest, check_run_id


def dry_run(request: RunRequest, limit: int, idempotency_key: str, patience: float) -> Call[DryRun]:
    """Execute a run without its commit; it may take `patience` seconds on top of the time limit.

    The key is for a server that does not know dry runs: repeated attempts start one run at most.
    """

    def decode(answer: Response) -> DryRun:
        raw = exact_object(answer.body)
        record = run_record(raw)
        if raw.get("dry_run") is not True:
            raise NotSupportedError(
                f"the server does not offer dry runs: it has started the run {record.id} instead"
            )
        check_taken(request, record)
        return dry_run_of(raw)

    return Call(
        operation="POST /v1/runs",
        path="/v1/runs",
        headers={**JSON_BODY, IDEMPOTENCY_KEY: idempotency_key},
        body=orjson.dumps({**submission(request), "dry_run": True, "limit": limit}),
        decode=decode,
        hold=patience,
    )


def statistics(filters: Filters) -> Call[list[RunCount]]:
    return Call(
        operation="GET /v1/statistics",
        path=path_of("/v1/statistics", filters),
        decode=lambda answer: list_of(RunCount)(answer).items,
        optional=True,
    )


def arrivals(filters: Filters) -> Call[ArrivalReport]:
    """Get the arrivals, and the state of their files."""
    return Call(
        operation="GET /v1/arrivals",
        path=path_of("/v1/arrivals", filters),
        decode=lambda answer: structure(decode_object(answer.body), ArrivalReport, at="$"),
        optional=True,
    )


def forget(body: dict[str, Any]) -> Call[tuple[ForgetReport, str | None]]:
    """Forget a person in a part of everything; the result has the cursor of the next part."""

    def decode(answer: Response) -> tuple[ForgetReport, str | None]:
        raw = decode_object(answer.body)
        return structure(raw, ForgetReport, at="$"), raw.get("next_cursor")

    return Call(
        operation="POST /v1/forget",
        path="/v1/forget",
        headers=JSON_BODY,
        body=orjson.dumps(body),
        decode=decode,
        hold=600.0,  # for one large output
        optional=True,
    )


def retry_arrival(name: str, body: Mapping[str, Any]) -> Call[Page[ArrivalFile]]:
    """Take failed files of an arrival again. May be repeated: a file whose new run is active is left out."""
    return Call(
        operation="POST /v1/arrivals/{name}/retry",
        path=f"/v1/arrivals/{quote(name, safe='')}/retry",
        headers=JSON_BODY,
        body=orjson.dumps(body),
        decode=list_of(ArrivalFile),
        optional=True,
    )


def audit(filters: Filters, limit: int, cursor: str | None) -> Call[Page[AuditEntry]]:
    return Call(
        operation="GET /v1/audit",
        path=path_of("/v1/audit", {**filters, "limit": str(limit)}, cursor=cursor),
        decode=list_of(AuditEntry),
        optional=True,
    )


def deliveries(run_id: str) -> Call[list[Delivery]]:
    """Get the webhooks and messages of a run."""
    return Call(
        operation="GET /v1/runs/{id}/deliveries",
        path=f"/v1/runs/{check_run_id(run_id)}/deliveries",
        decode=lambda answer: list_of(Delivery)(answer).items,
        run_id=run_id,
        optional=True,
    )


def dismiss(run_id: str, why: str) -> Call[RunRecord]:
    """Note that nothing is left to do about a run. Idempotent."""
    return Call(
        operation="POST /v1/runs/{id}/dismiss",
        path=f"/v1/runs/{check_run_id(run_id)}/dismiss",
        headers=JSON_BODY,
        body=orjson.dumps({"why": why}),
        decode=lambda answer: run_record(decode_object(answer.body), run_id=run_id),
        run_id=run_id,
        optional=True,
    )


def dry_run_of(raw: dict[str, Any]) -> DryRun:
    """Return the result of a dry run, from its record with its rows."""
    metadata = RunMetadata(raw.get("metadata") or {})
    rows = structure(raw.get("rows") or {}, dict[str, list[Row]], at="$.rows")
    return DryRun(
        status=run_record(raw).status,
        message=metadata.error_message,
        metrics=structure(metadata.get("metrics") or {}, Metrics, at="$.metadata.metrics"),
        mapped=rows.get("mapped", []),
        rejects=rows.get("rejects", []),
        notes=metadata.notes,
    )
