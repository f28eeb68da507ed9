"""The requests for reports on runs, as data. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from lume_async._decoding import structure
from lume_async._metadata import Metrics, RunMetadata
from lume_async._wire.answers import decode_object, run_record
from lume_async._wire.call import Call, Response
from lume_async._wire.endpoints import (
    JSON_BODY,
    Filters,
    Page,
    check_taken,
    items_of,
    list_of,
    object_of,
    optional_call,
    path_of,
    submission,
)
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
    return optional_call("GET /v1/statistics", items_of(RunCount), path_of("/v1/statistics", filters))


def arrivals(filters: Filters) -> Call[ArrivalReport]:
    """Get the arrivals, and the state of their files."""
    return optional_call("GET /v1/arrivals", object_of(ArrivalReport), path_of("/v1/arrivals", filters))


def forget(body: dict[str, Any]) -> Call[tuple[ForgetReport, str | None]]:
    """Forget a person in a part of everything; the result has the cursor of the next part."""

    def decode(answer: Response) -> tuple[ForgetReport, str | None]:
        raw = decode_object(answer.body)
        return structure(raw, ForgetReport, at="$"), raw.get("next_cursor")

    return optional_call("POST /v1/forget", decode, body=body, hold=600.0)  # for one large output


def retry_arrival(name: str, body: Mapping[str, Any]) -> Call[Page[ArrivalFile]]:
    """Take failed files of an arrival again. May be repeated: a file whose new run is active is left out."""
    path = f"/v1/arrivals/{quote(name, safe='')}/retry"
    return optional_call("POST /v1/arrivals/{name}/retry", list_of(ArrivalFile), path, body=body)


def audit(filters: Filters, limit: int, cursor: str | None) -> Call[Page[AuditEntry]]:
    path = path_of("/v1/audit", {**filters, "limit": str(limit)}, cursor=cursor)
    return optional_call("GET /v1/audit", list_of(AuditEntry), path)


def deliveries(run_id: str) -> Call[list[Delivery]]:
    """Get the webhooks and messages of a run."""
    path = f"/v1/runs/{check_run_id(run_id)}/deliveries"
    return optional_call("GET /v1/runs/{id}/deliveries", items_of(Delivery), path, run_id=run_id)


def dismiss(run_id: str, why: str) -> Call[RunRecord]:
    """Note that nothing is left to do about a run. Idempotent."""

    def decode(answer: Response) -> RunRecord:
        return run_record(decode_object(answer.body), run_id=run_id)

    path = f"/v1/runs/{check_run_id(run_id)}/dismiss"
    return optional_call("POST /v1/runs/{id}/dismiss", decode, path, body={"why": why}, run_id=run_id)


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
