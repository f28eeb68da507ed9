"""What a request names, or the problem that there is no such thing."""

from lume_async.models import RunStatus
from lume_local._http import requests
from lume_local._http.problems import Problem
from lume_local._runs.flow_registry import Flows, UnknownFlow
from lume_local._runs.records import Run, StoredFlow
from lume_local._runs.store import Store


async def require_run(store: Store, run_id: str) -> Run:
    """The run. Raises `Problem`."""
    run = await store.get(run_id) if requests.is_run_id(run_id) else None
    if run is None:
        raise Problem("run-not-found", f"there is no run {run_id[:128]!r}")
    return run


async def require_output(store: Store, run: Run, part: str) -> str:
    """The identity of an output that is still there; empty where it is no file. Raises `Problem`."""
    status = RunStatus(run.status)
    if not status.is_terminal:
        raise Problem(
            "run-not-ended",
            f"run {run.run_id} is {run.status}: its rows can be read once it has ended",
            run_id=run.run_id,
        )
    if not status.has_output or part not in run.target_locations:
        raise Problem(
            "no-output", f"run {run.run_id} ended {run.status} and wrote no rows", run_id=run.run_id
        )
    identity = await store.outputs.identity(run.run_id, part)
    if identity == "":  # what lies at its place by now may be another run's
        location = run.target_locations[part]
        raise Problem(
            "output-gone",
            f"{location}: the output was removed when its time was over",
            run_id=run.run_id,
            location=location,
        )
    return identity or ""


async def require_flow(flows: Flows, ref: str) -> StoredFlow:
    """The flow version. Raises `Problem`."""
    try:
        return await flows.require(ref)
    except UnknownFlow as error:
        raise Problem("flow-version-not-found", str(error)) from None


async def flow_note(flows: Flows, ref: str) -> str | None:
    """What is to be said of a run that is submitted with a flow version. Raises `Problem`."""
    try:
        return await flows.note(ref)
    except UnknownFlow as error:
        raise Problem("flow-version-not-found", str(error)) from None


def exists(what: str) -> Problem:
    """That something is there which the request wants to be the first of."""
    return Problem("precondition-failed", f"{what} already, and If-None-Match: * asks that there is none")
