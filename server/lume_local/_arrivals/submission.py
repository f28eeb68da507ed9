"""Decides what a ready file becomes: a run, nothing, or a refusal. "Once" is ensured here and in the store."""

from typing import TypeAlias

from attrs import evolve, frozen

from lume_async.models import RunStatus
from lume_local._arrivals.settings import Arrival, inverted
from lume_local._flow.definition import Flow, LayoutRefused
from lume_local._flow.source_settings import CONTENT
from lume_local._runs.flow_registry import FlowRegistry, UnknownFlow
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import PathRefused
from lume_local._runs.sources.resolver import CantTell, SourceResolver
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import Arrived, Move
from lume_local._runs.store.records import ACTIVE, Duplicate, NewRun, TooLong

BEHIND = -1
"""The priority of their runs, below that of people's submissions."""
_SOURCE_PATH = "{source_path}"


@frozen
class Settles:
    """The decision is final: the run that reads this version, None if there is none, and whether it is new."""

    run_id: str | None = None
    is_new: bool = False


@frozen
class Waits:
    """The decision must wait; `run_id` is the run that must end first."""

    why: str
    run_id: str | None = None


@frozen
class Refuses:
    """The file as it is gets no run."""

    why: str


Outcome: TypeAlias = Settles | Waits | Refuses


@frozen
class _File:
    """A ready file, the flow that reads it, a note for its run, and whether other versions of it were submitted."""

    arrival: Arrival
    arrived: Arrived
    flow: Flow
    source_path: str
    note: str | None
    is_other: bool


class Submissions:
    """Submits arrived files, each version of each path once."""

    def __init__(
        self, store: SqlStore, flows: FlowRegistry, runner: Runner, resolver: SourceResolver
    ) -> None:
        self._store, self._flows, self._runner, self._resolver = store, flows, runner, resolver

    async def settle(
        self, arrival: Arrival, arrived: Arrived, last: Move | None = None, retries: int = 0
    ) -> Outcome:
        """Decide about one version of a file, and act on the decision. Raises `StoreFailed`.

        After a `last` run, which has failed, it gets one more, the server's repetition number `retries`.
        """
        try:
            flow, note = await self._flow(arrival)
            if last is not None:
                file = _File(arrival, arrived, flow, last.source_path, note, is_other=False)
                return await self._submit(file, again=bool(last.force_rerun), last=last, retries=retries)
            known = await self._store.arrivals.known(arrived)
            is_other = known is not None and not known.has_content
            file = _File(arrival, arrived, flow, source_path_of(flow, arrived.path), note, is_other)
            if known is None or (known.is_aside and known.status not in ACTIVE):
                return await self._submit(file)
            if known.has_content:
                await self._store.arrivals.note(arrived, None)  # the same content was written again
                return Settles(known.run_id)
            if known.status in ACTIVE:
                return Waits(
                    f"run {known.run_id}, which reads its earlier content, has not ended", known.run_id
                )
            if known.is_purged:  # the purged run may have failed; only a success still holds the source
                return await self._submit(file)
            if known.status is None or RunStatus(known.status).has_output:
                return await self._changed(file, known.run_id)
            return await self._submit(file)
        except (UnknownFlow, PathRefused, LayoutRefused, CantTell, TooLong) as error:
            return Waits(str(error))

    async def _flow(self, arrival: Arrival) -> tuple[Flow, str | None]:
        """Return the flow version, and a note for the run. Raises `UnknownFlow`."""
        ref = arrival.flow
        if ":" not in ref:
            known = self._flows.all(ref)
            if not known:
                raise UnknownFlow(f"there is no version of a flow {ref!r}: register one")
            ref = known[-1].ref
        return await self._flows.runnable(ref)

    async def _changed(self, file: _File, run_id: str | None) -> Outcome:
        """Handle a path that was processed with other content, by this run if it is still known."""
        arrived = file.arrived
        if run_id is not None and await self._resolver.is_other(run_id, file.flow, file.source_path) is False:
            await self._store.arrivals.note(arrived, run_id)  # the file changed before that run read it
            return Settles(run_id)
        if file.arrival.changed == "rerun":
            return await self._submit(file, again=True)
        if file.arrival.changed == "ignore":
            await self._store.arrivals.note(evolve(arrived, move=False), None)
            return Settles()
        which = "it was processed" if run_id is None else f"run {run_id} has processed it"
        return Refuses(
            f'{which} with other content, and changed = "refuse": put it there under another name, or set '
            'changed = "rerun"'
        )

    async def _submit(
        self, file: _File, *, again: bool = False, last: Move | None = None, retries: int = 0
    ) -> Outcome:
        """Create the run, which records the file in the same transaction, or takes it over from its last run."""
        flow, arrival = file.flow, file.arrival
        found = await self._resolver.resolved(flow, file.source_path, layout=arrival.layout)
        new = NewRun(
            flow_version=flow.ref,
            source_path=file.source_path,
            source_key=found.source_key,
            run_metadata={"arrival": arrival.name} | ({"retry": retries} if retries else {}),
            force_rerun=again and flow.source.identity != CONTENT,
            idempotency_key=None if last is None else f"after {last.run_id}",
            fingerprint="arrival",
            note=file.note,
            submitted_by=arrival.holder,
            priority=BEHIND,
            layout=arrival.layout,
            arrived=file.arrived if last is None else None,
            alike=found.alike,
        )
        try:
            run, is_new = await self._runner.submit(new)
        except Duplicate as duplicate:
            run_id = duplicate.run_id  # of something else, such as `lume backfill`
            if duplicate.is_active:
                return Waits(f"run {run_id} of the same source has not ended", run_id)
            if last is not None:
                return Settles(run_id)
            if file.is_other or await self._resolver.is_other(run_id, file.flow, file.source_path):
                return await self._changed(file, run_id)
            await self._store.arrivals.note(file.arrived, run_id)
            return Settles(run_id)
        return Settles(run.run_id, is_new)


def source_path_of(flow: Flow, path: str) -> str:
    """Return the source path by which a flow reads this file. Raises `PathRefused` if there is none."""
    if flow.source.query:
        raise PathRefused(f"{flow.ref} reads a query of a database, and no files")
    if len(flow.source.uris) != 1:
        raise PathRefused(f"{flow.ref} reads several files at once: name a flow that reads one")
    (uri,) = flow.source.uris
    found = inverted(uri, _SOURCE_PATH, path) if uri.count(_SOURCE_PATH) == 1 else None
    if found is None:
        raise PathRefused(
            f"{flow.ref} reads {uri}, which can't be {path}: change from, or source.uri of the flow"
        )
    return found
