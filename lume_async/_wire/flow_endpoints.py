"""The requests on flow versions, as data. Pure."""

from typing import Any

import orjson
from attrs import evolve

from lume_async._decoding import structure
from lume_async._wire.answers import decode_object
from lume_async._wire.call import Call, Response
from lume_async._wire.endpoints import JSON_BODY, Page, list_of, path_of
from lume_async._wire.flow_models import FlowSummary, FlowVersion, Proposal
from lume_async._wire.report_endpoints import dry_run_of
from lume_async._wire.row_endpoints import exact_object

_FLOW = "/v1/flows/{flow}/versions/{version}"


def flows(flow: str | None, limit: int, cursor: str | None) -> Call[Page[FlowSummary]]:
    return Call(
        operation="GET /v1/flows",
        path=path_of("/v1/flows", {"limit": str(limit)}, flow=flow, cursor=cursor),
        decode=list_of(FlowSummary),
        optional=True,
    )


def flow_version(flow: str, version: str) -> Call[FlowVersion]:
    """Get one flow version with its definition."""
    return Call(
        operation=f"GET {_FLOW}",
        path=_FLOW.format(flow=flow, version=version),
        decode=_flow_version,
        optional=True,
    )


def target_schema(flow: str, version: str) -> Call[dict[str, Any]]:
    """Get the JSON Schema of the mapped rows."""
    return Call(
        operation=f"GET {_FLOW}/schema",
        path=f"{_FLOW.format(flow=flow, version=version)}/schema",
        decode=lambda answer: decode_object(answer.body),
        optional=True,
    )


def register_flow(flow: str, version: str, definition: dict[str, Any]) -> Call[FlowVersion]:
    """Register a flow version. Idempotent for the same content."""
    return Call(
        operation=f"PUT {_FLOW}",
        path=_FLOW.format(flow=flow, version=version),
        headers=JSON_BODY,
        body=orjson.dumps(definition),
        decode=lambda answer: evolve(_flow_version(answer), is_new=answer.status == 201),
        optional=True,
    )


def propose(flow: str, body: dict[str, Any], patience: float) -> Call[Proposal]:
    """Propose a flow version for samples; reading them may take `patience` seconds."""

    def decode(answer: Response) -> Proposal:
        raw = exact_object(answer.body)
        tried = raw.pop("dry_run", None)
        proposal = structure(raw, Proposal)
        return proposal if tried is None else evolve(proposal, dry_run=dry_run_of(tried))

    return Call(
        operation="POST /v1/flows/{flow}/proposals",
        path=f"/v1/flows/{flow}/proposals",
        headers=JSON_BODY,
        body=orjson.dumps(body),
        decode=decode,
        hold=patience,
        optional=True,
    )


def _flow_version(answer: Response) -> FlowVersion:
    raw = decode_object(answer.body)
    for ours in ("is_new", "target_schema"):  # other responses have them
        raw.pop(ours, None)
    return structure(raw, FlowVersion)
