"""The routes: each operation with its method, its path, the role that may call it, and its query parameters."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from aiohttp import web

from lume_local._http import contract
from lume_local._http.access.keys import Role
from lume_local._http.console import Console
from lume_local._http.draft_operations import DraftsApi
from lume_local._http.exchange import Ask, Reply
from lume_local._http.flow_operations import FlowsApi, ProposalsApi
from lume_local._http.reject_operations import RejectsApi
from lume_local._http.result_operations import ResultsApi
from lume_local._http.run_operations import RunsApi
from lume_local._http.server_operations import ArrivalsApi, ForgetApi, ServerApi
from lume_local._http.telemetry import Telemetry
from lume_local._http.upload_operations import UploadsApi

Operation = Callable[[Ask], Awaitable[Reply]]
Parameters = Sequence[str] | None
"""The names of query parameters; None for any."""

ANYBODY, READ, SUBMIT, ADMIN = None, Role.READ, Role.SUBMIT, Role.ADMIN
_OF_RUNS = ("flow_version", "flow", "source_path", "source", "status", "since", "attention", "submitted_by")
_OF_REJECTS = ("flow", "reason", "since", "state", "run", "assignee")
_OF_TABLE = ("version", "source_path", "as_of")
_PAGE = ("limit", "cursor")


class Route(NamedTuple):
    """An operation and the requests that it answers.

    Attributes:
        role: the lowest role that may call it; None if it needs no key.
        is_submission: whether it counts as a submission, however many runs it creates.
        is_streamed: whether the operation reads the body itself.
    """

    method: str
    path: str
    operation: Operation
    role: Role | None
    parameters: Parameters = ()
    is_submission: bool = False
    is_streamed: bool = False


class Operations(NamedTuple):
    runs: RunsApi
    server: ServerApi
    flows: FlowsApi
    proposals: ProposalsApi
    results: ResultsApi
    rejects: RejectsApi
    drafts: DraftsApi
    uploads: UploadsApi
    arrivals: ArrivalsApi
    forget: ForgetApi
    console: Console
    watch: Telemetry


def routes(every: Operations) -> Sequence[Route]:
    """Return all routes. Routes of one path follow each other, since aiohttp makes them one resource."""
    server, console, runs, results = every.server, every.console, every.runs, every.results
    flows, rejects, drafts, uploads = every.flows, every.rejects, every.drafts, every.uploads
    run, flow = "/v1/runs/{run_id}", "/v1/flows/{flow}/versions/{version}"
    draft, upload = "/v1/drafts/{flow}", "/v1/uploads/{name}"
    return (
        # An issuer leads back here with a query, which is for the page.
        Route("GET", "/", console.page, ANYBODY, parameters=None),
        Route("GET", "/console/files/{file:[a-z0-9_./]+}", console.file, ANYBODY),
        Route("GET", "/console/issuers", console.issuers, ANYBODY),
        Route("GET", "/console/session", console.session, ANYBODY),
        Route("POST", "/console/session", console.sign_in, ANYBODY),
        Route("DELETE", "/console/session", console.sign_out, ANYBODY),
        Route("POST", "/console/links", console.new_link, READ),  # the session may do what the key may
        Route("GET", "/healthz", server.health, ANYBODY),
        Route("GET", "/livez", server.live, ANYBODY),
        Route("GET", "/readyz", server.ready, ANYBODY),
        Route("GET", "/v1/server", server.server, ADMIN),
        Route("GET", "/v1/audit", server.audit, ADMIN, ("by", "what", "since", *_PAGE)),
        Route("POST", "/v1/forget", every.forget.forget, ADMIN),
        Route("GET", "/openapi.yaml", contract.openapi_yaml, ANYBODY),
        Route("GET", "/openapi.json", contract.openapi_json, ANYBODY),
        Route("GET", "/metrics", every.watch.page, READ),
        Route("GET", "/docs", contract.page, ANYBODY),
        Route("GET", "/docs/{file}", contract.file, ANYBODY),
        # The most frequent request is first: aiohttp tries the paths below /v1/runs in this order.
        Route("GET", run, runs.status, READ),
        Route("GET", "/v1/runs", runs.list, READ, (*_OF_RUNS, *_PAGE)),
        Route("POST", "/v1/runs", runs.submit, SUBMIT, is_submission=True),
        Route("POST", f"{run}/cancel", runs.cancel, SUBMIT),
        Route("POST", f"{run}/dismiss", runs.dismiss, SUBMIT),
        Route("GET", f"{run}/mapped", results.mapped, READ, _PAGE),
        Route("GET", f"{run}/rejects", results.rejects, READ, (*_PAGE, "reason")),
        Route("GET", f"{run}/deliveries", results.deliveries, READ),
        Route("GET", f"{run}/outputs/{{output}}", results.output, READ),
        Route("GET", "/v1/arrivals", every.arrivals.page, READ, ("name", "state", "limit")),
        Route("PATCH", "/v1/arrivals/{name}", every.arrivals.change, ADMIN),
        Route("POST", "/v1/arrivals/{name}/retry", every.arrivals.retry, SUBMIT),
        Route("GET", "/v1/inbox", rejects.inbox, READ, ("flow", "since")),
        Route("GET", "/v1/rejects", rejects.rejects, READ, (*_OF_REJECTS, *_PAGE)),
        Route("POST", "/v1/rejects/assign", rejects.assign, SUBMIT),
        Route("POST", "/v1/rejects/discard", rejects.discard, SUBMIT),
        Route("POST", "/v1/replays", rejects.replay, SUBMIT, is_submission=True),
        Route("GET", draft, drafts.get, READ, ("owner", *_PAGE)),
        Route("PATCH", draft, drafts.change, SUBMIT),
        Route("DELETE", draft, drafts.drop, SUBMIT),
        Route("POST", f"{draft}/judge", drafts.judge, SUBMIT),
        Route("POST", f"{draft}/suggest", drafts.suggest, SUBMIT),
        Route("POST", f"{draft}/clusters", drafts.cluster, SUBMIT),
        Route("POST", f"{draft}/rule", drafts.rule, SUBMIT),
        Route("POST", f"{draft}/submit", drafts.submit, SUBMIT, is_submission=True),
        Route("POST", f"{draft}/review", drafts.review, SUBMIT, is_submission=True),
        Route("GET", "/v1/changes", runs.changes, READ, ("after", "limit", "include")),
        Route("GET", "/v1/statistics", results.statistics, READ, ("by", "since", "flow", "order", "limit")),
        Route("GET", "/v1/flows", flows.page, READ, ("flow", *_PAGE)),
        Route("GET", "/v1/flows/{flow}/table", results.table, READ, (*_OF_TABLE, *_PAGE)),
        Route("GET", flow, flows.get, READ),
        Route("PUT", flow, flows.put, ADMIN),
        Route("GET", f"{flow}/schema", flows.schema, READ),
        Route("POST", "/v1/flows/{flow}/proposals", every.proposals.make, SUBMIT),
        Route("GET", upload, uploads.get, SUBMIT),  # ends a request that is still sending
        Route("PUT", upload, uploads.put, SUBMIT, ("flow_version",), is_streamed=True),
        Route("PATCH", upload, uploads.patch, SUBMIT, is_streamed=True),
    )


def router(found: Iterable[Route]) -> web.UrlDispatcher:
    """Return aiohttp's router, with operations in place of handlers."""
    dispatcher = web.UrlDispatcher()
    for route in found:
        resource = dispatcher.add_resource(route.path)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            resource.add_route(method, cast(Any, route.operation))
    return dispatcher
