"""The routes: a path and a method to an operation."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from attrs import frozen

from lume_local._http import contract
from lume_local._http.arrivals import ArrivalsApi
from lume_local._http.audit import AuditApi
from lume_local._http.console import Console
from lume_local._http.flows import FlowsApi
from lume_local._http.messages import Ask, Reply
from lume_local._http.operations import Api
from lume_local._http.proposals import ProposalsApi
from lume_local._http.rejected.drafts import DraftsApi
from lume_local._http.rejected.ledger import RejectedApi
from lume_local._http.results import ResultsApi
from lume_local._http.rows import RowsApi
from lume_local._http.telemetry import Telemetry
from lume_local._http.uploading.upload_operations import UploadsApi

Operation = Callable[[Ask], Awaitable[Reply]]


@frozen
class Operations:
    """The operations of a server, by subject."""

    runs: Api
    flows: FlowsApi
    proposals: ProposalsApi
    rows: RowsApi
    results: ResultsApi
    rejected: RejectedApi
    drafts: DraftsApi
    uploads: UploadsApi
    arrivals: ArrivalsApi
    audit: AuditApi
    console: Console
    watch: Telemetry


def router(every: Operations) -> web.UrlDispatcher:
    """Return aiohttp's router, with operations in place of handlers."""
    run, flow = "/v1/runs/{run_id}", "/v1/flows/{flow}/versions/{version}"
    draft = "/v1/drafts/{flow}"
    table: dict[str, dict[str, Operation]] = {
        "/": {"GET": every.console.page},
        "/console/files/{file:[a-z0-9_./]+}": {"GET": every.console.file},
        "/console/issuers": {"GET": every.console.issuers},
        "/console/session": {
            "GET": every.console.session,
            "POST": every.console.sign_in,
            "DELETE": every.console.sign_out,
        },
        "/console/links": {"POST": every.console.new_link},
        "/healthz": {"GET": every.runs.health},
        "/livez": {"GET": every.runs.live},
        "/readyz": {"GET": every.runs.ready},
        "/v1/server": {"GET": every.runs.server},
        "/v1/audit": {"GET": every.audit.page},
        "/openapi.yaml": {"GET": contract.openapi_yaml},
        "/openapi.json": {"GET": contract.openapi_json},
        "/metrics": {"GET": every.watch.page},
        "/docs": {"GET": contract.page},
        "/docs/{file}": {"GET": contract.file},
        "/v1/runs": {"GET": every.runs.list, "POST": every.runs.submit},
        run: {"GET": every.runs.status},
        f"{run}/cancel": {"POST": every.runs.cancel},
        f"{run}/dismiss": {"POST": every.runs.dismiss},
        f"{run}/mapped": {"GET": every.rows.mapped},
        f"{run}/rejects": {"GET": every.rows.rejects},
        f"{run}/deliveries": {"GET": every.results.deliveries},
        f"{run}/outputs/{{output}}": {"GET": every.results.output},
        "/v1/arrivals": {"GET": every.arrivals.page},
        "/v1/inbox": {"GET": every.rejected.inbox},
        "/v1/rejects": {"GET": every.rejected.rejects},
        "/v1/rejects/discard": {"POST": every.rejected.discard},
        "/v1/replays": {"POST": every.rejected.replay},
        draft: {"GET": every.drafts.get, "PATCH": every.drafts.change, "DELETE": every.drafts.drop},
        f"{draft}/judge": {"POST": every.drafts.judge},
        f"{draft}/suggest": {"POST": every.drafts.suggest},
        f"{draft}/submit": {"POST": every.drafts.submit},
        "/v1/changes": {"GET": every.runs.changes},
        "/v1/statistics": {"GET": every.results.statistics},
        "/v1/flows": {"GET": every.flows.page},
        flow: {"GET": every.flows.get, "PUT": every.flows.put},
        f"{flow}/schema": {"GET": every.flows.schema},
        "/v1/uploads/{name}": {
            "GET": every.uploads.get,
            "PUT": every.uploads.put,
            "PATCH": every.uploads.patch,
        },
        "/v1/flows/{flow}/proposals": {"POST": every.proposals.make},
    }
    found = web.UrlDispatcher()
    for path, operations in table.items():
        resource = found.add_resource(path)
        for method, operation in operations.items():
            resource.add_route(method, cast(Any, operation))
            if method == "GET":
                resource.add_route("HEAD", cast(Any, operation))
    return found
