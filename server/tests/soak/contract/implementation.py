"""What the stubs do that fastapi-codegen has made of openapi.yaml: a server that keeps runs in memory.

A copy lies beside the generated `main.py`, whose functions return what is returned here. A run passes through one
stage per poll; a source whose name has `bad` in it loses a row.
"""

from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from generated.models import (  # type: ignore[import-not-found]
    DuplicateProblem,
    Health,
    Problem,
    Run,
    RunPage,
    RunRequest,
    Upload,
)

STATUSES = ["CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET", "SUCCEEDED"]
_runs: dict[str, dict[str, Any]] = {}
_by_key: dict[str, str] = {}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _problem(status: int, kind: str, detail: str, **more: Any) -> Response:
    document = {"type": f"urn:lume:problem:{kind}", "title": kind, "status": status, "detail": detail, **more}
    model = DuplicateProblem if status == 409 else Problem
    content = model(**document).model_dump(mode="json")
    return JSONResponse(content, status, media_type="application/problem+json")


def _document(run: dict[str, Any]) -> dict[str, Any]:
    """The whole run; optional members that are not set become `null`, as pydantic writes them."""
    known = {
        name: run[name] for name in ("status", "flow_version", "source_path", "run_metadata", "force_rerun")
    }
    known |= {name: run[name] for name in ("created_at", "started_at", "finished_at")}
    rejected = int("bad" in run["source_path"])
    ended = run["finished_at"] is not None
    return {
        "id": run["id"],
        **known,
        "metadata": {
            "run": {"run_id": run["id"], **known, "duration_seconds": None},
            "stages": [],
            "metrics": {
                "rows_read": 3 * ended,
                "rows_mapped": (3 - rejected) * ended,
                "rows_rejected": rejected * ended,
                "reject_reasons": {"id: is not an integer": 1} if ended and rejected else {},
            },
            "target_locations": {"mapped": "out.csv" if ended else None, "rejects": None},
            "error_message": None,
        },
    }


def health() -> Health:
    return Health(status="ok")


def submit_run(body: RunRequest, idempotency__key: str | None, **_: Any) -> Any:
    wanted = body.model_dump(mode="json")
    if idempotency__key in _by_key:
        return Run(**_document(_runs[_by_key[idempotency__key]]))
    for run in _runs.values():
        if (
            all(run[name] == wanted[name] for name in ("flow_version", "source_path"))
            and not body.force_rerun
        ):
            return _problem(409, "already-processed", "it was processed before", run_id=run["id"])
    run_id = f"run_{len(_runs)}"
    run = {"id": run_id, "status": "CREATED", "created_at": _now(), "started_at": None, "finished_at": None}
    _runs[run_id] = run | wanted | {"force_rerun": bool(body.force_rerun)}
    if idempotency__key is not None:
        _by_key[idempotency__key] = run_id
    return JSONResponse(Run(**_document(_runs[run_id])).model_dump(mode="json"), 201)


def get_run(run_id: Any, **_: Any) -> Any:
    run = _runs.get(getattr(run_id, "root", run_id))
    if run is None:
        return _problem(404, "run-not-found", f"there is no run {run_id}")
    if run["finished_at"] is None:
        run["started_at"] = run["started_at"] or _now()
        run["status"] = STATUSES[STATUSES.index(run["status"]) + 1]
        if run["status"] == "SUCCEEDED":
            run["finished_at"] = _now()
            if "bad" in run["source_path"]:
                run["status"] = "PARTIAL_FAILED"
    return Run(**_document(run))


def cancel_run(run_id: Any) -> Any:
    run = _runs[getattr(run_id, "root", run_id)]
    if run["finished_at"] is None:
        run |= {"status": "CANCELLED", "finished_at": _now()}
    return Run(**_document(run))


def list_runs(status: list[str] | None, limit: int, cursor: str | None, **_: Any) -> RunPage:
    found = [run for run in reversed(_runs.values()) if not status or run["status"] in status]
    start = int(cursor or 0)
    following = str(start + limit) if start + limit < len(found) else None
    items = [_document(run) for run in found[start : start + limit]]
    return RunPage(items=items, next_cursor=following)


async def put_upload(request: Request, name: str, **_: Any) -> Upload:
    import hashlib

    content = await request.body()
    digest = hashlib.sha256(content).hexdigest()
    return Upload(source_path=f"upload://{name}", bytes=len(content), sha256=digest)
