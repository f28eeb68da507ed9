"""Looks up the objects that a request names, or raises the problem that one is missing or not allowed."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

from lume_async._base.elided import elided
from lume_async._base.words import listed
from lume_async.models import RunStatus
from lume_local._flow.definition import Flow
from lume_local._http import requests
from lume_local._http.exchange import Problem
from lume_local._runs.flow_registry import FlowRegistry, UnknownFlow
from lume_local._runs.rejected.replays import ReplayRefused
from lume_local._runs.sources.resolver import CantTell
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import Duplicate, KeyReused, StoredRun
from lume_local._runs.workers.worker import WorkerDied

Found = TypeVar("Found")
_MOST_LISTED = 10
"""The maximum number of flows that a message names."""


async def require_run(store: SqlStore, run_id: str) -> StoredRun:
    """Return the run. Raises `Problem`."""
    run = await store.get(run_id) if requests.is_run_id(run_id) else None
    if run is None:
        raise Problem("run-not-found", f"there is no run {run_id!r}")
    return run


async def require_output(store: SqlStore, run: StoredRun, part: str) -> str:
    """Return the identity of an output that still exists; empty if it is not a file. Raises `Problem`."""
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
    if identity == "":  # a file at its location may belong to another run
        location = run.target_locations[part]
        raise Problem(
            "output-gone",
            f"{location}: the output was removed when its time was over",
            run_id=run.run_id,
            location=location,
        )
    return identity or ""


async def require_flow(found: Awaitable[Found]) -> Found:
    """Return a flow version from the registry. Raises `Problem`."""
    try:
        return await found
    except UnknownFlow as error:
        raise Problem("flow-version-not-found", str(error)) from None


async def newest_version(flows: FlowRegistry, flow: str) -> str:
    """Return the version of a flow that was registered last. Raises `Problem` if there is no such flow."""
    newest = await require_flow(flows.newest(flow))
    if newest is None:
        raise unknown_flow(flows, flow)
    return newest


def unknown_flow(flows: FlowRegistry, flow: str) -> Problem:
    """Return the problem that no flow has this name, with the closest name or some others."""
    names = list(dict.fromkeys(one.ref.partition(":")[0] for one in flows.all()))
    near = get_close_matches(flow, names, 1)
    known = f"known are {listed(names, _MOST_LISTED, str)}" if names else "none is registered"
    hint = f"did you mean {near[0]!r}?" if near else known
    return Problem("flow-version-not-found", f"there is no flow {elided(repr(flow), 128)}: {hint}")


async def runnable_version(flows: FlowRegistry, flow: str, version: str | None) -> Flow:
    """Return a version of a flow, by default the newest; `version` may omit the flow. Raises `Problem`."""
    if version is None:
        ref = await newest_version(flows, flow)
    else:
        ref = version if ":" in version else f"{flow}:{version}"
        if ref.rpartition(":")[0] != flow:
            raise requests.field_problem("to", f"must be a version of {flow}, such as {flow}:v2")
    found, _ = await require_flow(flows.runnable(ref))
    return found


async def needs_approval(flows: FlowRegistry, flow: str) -> str | None:
    """Return the newest version of a flow if it asks for a second person's approval of mends. Raises `Problem`."""
    newest = await newest_version(flows, flow)
    return newest if flows.parsed(newest).approval else None


def following_version(flows: FlowRegistry, flow: str) -> str:
    """Return the name for the next version of a flow that has some."""
    from lume_local._mapping.target import next_version  # few servers propose

    taken = [flows.parsed(one.ref).version for one in flows.all(flow)]
    following = next_version(taken[-1])
    for _ in taken:  # bounded: names cut to the maximum length may repeat
        if following not in taken:
            break
        following = next_version(following)
    return following


@contextmanager
def reading() -> Iterator[None]:
    """Raise `Problem` if a worker that reads rows has ended."""
    try:
        yield
    except WorkerDied as error:
        raise Problem("unavailable", f"the rows could not be read: {error}") from None


def exists(what: str) -> Problem:
    return Problem("precondition-failed", f"{what} already, and If-None-Match: * asks that there is none")


@contextmanager
def one_request_a_key() -> Iterator[None]:
    """Raise `Problem` for an idempotency key of another request."""
    try:
        yield
    except KeyReused:
        raise Problem(
            "idempotency-key-reused",
            "this Idempotency-Key came with another request before: use a new key for a new request",
            field="Idempotency-Key",
        ) from None


@contextmanager
def refusals(to: Flow, what: str) -> Iterator[None]:
    """Raise `Problem` if `what` could not be done with this version, such as "the rows could not be judged"."""
    try:
        with one_request_a_key():
            yield
    except ReplayRefused as error:
        raise Problem("not-supported", str(error)) from None
    except (WorkerDied, CantTell) as error:
        raise Problem("unavailable", f"{what}: {error}") from None
    except Duplicate as duplicate:
        run_id, is_active = duplicate.run_id, duplicate.is_active
        kind, does, then = (
            ("run-in-progress", "is processing", "wait for that run, then repeat this for what is still open")
            if is_active
            else ("already-processed", "has processed", "look at what is still open, then repeat this")
        )
        raise Problem(kind, f"run {run_id} {does} these rows with {to.ref}: {then}", run_id=run_id) from None
