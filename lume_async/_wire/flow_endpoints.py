"""The requests on flow versions, as data. Pure."""

from typing import Any

from attrs import evolve

from lume_async._decoding import structure
from lume_async._wire.answers import decode_object
from lume_async._wire.call import Call, Response
from lume_async._wire.endpoints import Page, list_of, optional_call, path_of
from lume_async._wire.flow_models import FlowSummary, FlowVersion, Proposal
from lume_async._wire.report_endpoints import dry_run_of
from lume_async._wire.row_endpoints import exact_object

_FLOW = "/v1/flows/{flow}/versions/{version}"


def flows(flow: str | None, limit: int, cursor: str | None) -> Call[Page[FlowSummary]]:
    path = path_of("/v1/flows", {"limit": str(limit)}, flow=flow, cursor=cursor)
    return optional_call("GET /v1/flows", list_of(FlowSummary), path)


def flow_version(flow: str, version: str) -> Call[FlowVersion]:
    """Get one flow version with its definition."""
    return optional_call(f"GET {_FLOW}", _flow_version, _FLOW.format(flow=flow, version=version))


def target_schema(flow: str, version: str) -> Call[dict[str, Any]]:
    """Get the JSON Schema of the mapped rows."""
    path = f"{_FLOW.format(flow=flow, version=version)}/schema"
    return optional_call(f"GET {_FLOW}/schema", lambda answer: decode_object(answer.body), path)


def register_flow(flow: str, version: str, definition: dict[str, Any]) -> Call[FlowVersion]:
    """Register a flow version. Idempotent for the same content."""

    def decode(answer: Response) -> FlowVersion:
        return evolve(_flow_version(answer), is_new=answer.status == 201)

    path = _FLOW.format(flow=flow, version=version)
    return optional_call(f"PUT {_FLOW}", decode, path, body=definition)


def propose(flow: str, body: dict[str, Any], patience: float) -> Call[Proposal]:
    """Propose a flow version for samples; reading them may take `patience` seconds."""

    def decode(answer: Response) -> Proposal:
        raw = exact_object(answer.body)
        tried = raw.pop("dry_run", None)
        proposal = structure(raw, Proposal)
        return proposal if tried is None else evolve(proposal, dry_run=dry_run_of(tried))

    path = f"/v1/flows/{flow}/proposals"
    return optional_call("POST /v1/flows/{flow}/proposals", decode, path, body=body, hold=patience)


def _flow_version(answer: Response) -> FlowVersion:
    raw = decode_object(answer.body)
    for ours in ("is_new", "target_schema"):  # other responses have them
        raw.pop(ours, None)
    return structure(raw, FlowVersion)
