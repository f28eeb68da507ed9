"""What a request names, or the problem that there is no such thing."""

from lume_local._http import requests
from lume_local._http.problems import Problem
from lume_local._runs.flow_registry import Flows, UnknownFlow
from lume_local._runs.store import Run, Store, StoredFlow


def require_run(store: Store, run_id: str) -> Run:
    """The run. Raises `Problem`."""
    run = store.get(run_id) if requests.is_run_id(run_id) else None
    if run is None:
        raise Problem("run-not-found", f"there is no run {run_id[:128]!r}")
    return run


async def require_flow(flows: Flows, ref: str) -> StoredFlow:
    """The flow version. Raises `Problem`."""
    try:
        return await flows.require(ref)
    except UnknownFlow as error:
        raise Problem("flow-version-not-found", str(error)) from None


def exists(what: str) -> Problem:
    """That something is there which the request wants to be the first of."""
    return Problem("precondition-failed", f"{what} already, and If-None-Match: * asks that there is none")
