"""Records the stages and the end of a run, and wakes the requests that wait for it.

The end of a run must survive a temporarily full disk: writing it is retried until it succeeds.
"""

import logging
from collections.abc import Callable
from typing import Any

import anyio
from attrs import define, field

from lume_async._base.elided import bounded, elided
from lume_async.models import RunStatus
from lume_local._flow.checks import VIOLATED
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.deliveries.notices import run_notice
from lume_local._runs.deliveries.webhooks import event_body
from lume_local._runs.health import Health, why
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.audit import Act
from lume_local._runs.store.records import StoredRun, StoreFailed, StoreUnavailable
from lume_local._runs.times import closed, entered, now_text
from lume_local._runs.unusual import RUNS, has_rejects, is_replay, unusual
from lume_local._runs.upkeep import until_it_works
from lume_local._runs.waiters import Hub
from lume_local._shared.identity import SourceContent
from lume_local._shared.protocol import Json

_log = logging.getLogger("lume_local")

RETRY = 1.0
"""Seconds between two attempts to write."""
_STATE = "the state"


@define(eq=False, repr=False)
class RunRecorder:
    """Stages, progress and ends of runs.

    Args:
        on_message: called after something was added to the outbox.
        on_end: called with a run whose end has been recorded.
        tells: whether there may be messages about runs.
    """

    _store: SqlStore
    _hub: Hub
    _health: Health
    _on_message: Callable[[], None]
    _on_end: Callable[[StoredRun], None]
    _lineage: LineageEvents | None = None
    _tells: bool = field(default=False, kw_only=True, alias="tells")
    progress: dict[str, float] = field(factory=dict, init=False)
    """The progress of each active run, 0 to 1."""
    _seen: dict[str, StoredRun] = field(factory=dict, init=False)
    """Active runs after their last change by this recorder, so that the next one need not read them again."""

    def created(self) -> None:
        self._hub.watchers.notify(may_wait=True)

    def claimed(self, run: StoredRun) -> None:
        """Begin with a run as it was read when a lane took it; a later state of it is noticed by its `rev`."""
        self._seen[run.run_id] = run

    async def enter(self, run_id: str, stage: str, rows: int | None) -> None:
        """Begin a stage; `rows` is the row count of the previous one. A stage that can't be written is omitted."""

        def begun(run: StoredRun) -> dict[str, Any]:
            now = now_text()
            values: dict[str, Any] = {"status": stage, "stages": entered(run.stages, stage, rows, now)}
            if run.started_at is None:
                values["started_at"] = now
                values["lineage"] = self._event(run_id, lambda lineage: lineage.event(run, now))
            return values

        run = None
        try:
            run = await self._carry_on(run_id, begun)
        except StoreFailed as error:
            self._health.trouble(_STATE, why(error))
        self._hub.notify(run_id, run)
        if run is not None and len(run.stages) == 1:
            self._on_message()

    async def may_publish(self, run_id: str) -> bool:
        """See `operation.Publishing.allow`. Raises `StoreFailed`, after reporting it."""
        try:
            return await self._store.publishing.allow(run_id)
        except StoreFailed as error:
            self._health.trouble(_STATE, why(error))
            raise

    async def still_ours(self) -> None:
        """Wait until it is certain that no other server has the state; if one has, this one is about to end."""
        await until_it_works(self._store.publishing.check, _STATE, self._health, RETRY)

    async def defer(self, run_id: str) -> None:
        """Reset a run that was stopped without output, so that the next server executes it."""
        await self._carry_on(
            run_id, lambda _: {"status": RunStatus.CREATED.value, "stages": [], "started_at": None}
        )
        await self._store.settled()
        self.progress.pop(run_id, None)
        self._seen.pop(run_id, None)
        self._hub.notify(run_id)

    async def _carry_on(self, run_id: str, change: Callable[[StoredRun], dict[str, Any]]) -> StoredRun | None:
        """Apply a change computed from the run's current state; return None if the run has already ended."""
        while True:
            run = self._seen.pop(run_id, None) or await self._store.require(run_id)
            if RunStatus(run.status).is_terminal:
                return None
            changed = await self._store.update(run, **change(run))
            if changed is not None:  # otherwise it has changed since it was seen: compute the change again
                if not RunStatus(changed.status).is_terminal:
                    self._seen[run_id] = changed
                return changed

    async def succeed(self, run_id: str, record: Json) -> None:
        """Record the success of a run that has committed and whose output is in place."""
        await self.end(
            run_id,
            RunStatus(record["status"]),
            metrics=record["metrics"],
            locations=record["target_locations"],
            outputs={step["part"]: step["identity"] for step in record["steps"] if "identity" in step},
            read=None if record.get("read") is None else SourceContent(**record["read"]),
            ledger=record.get("ledger"),
        )

    async def end(
        self,
        run_id: str,
        status: RunStatus,
        *,
        message: str | None = None,
        told: str = "",
        metrics: Json | None = None,
        locations: Json | None = None,
        outputs: dict[str, str] | None = None,
        read: SourceContent | None = None,
        ledger: Json | None = None,
        act: Act | None = None,
    ) -> None:
        """Record the end of a run, retried until it is written. A run that has ended stays as it is."""
        written = metrics["rows_read"] if metrics and locations else None
        words = None if message is None else elided(message)
        figures: Json = bounded(metrics or {})
        if "accepted_rejects" in figures:  # a set of rows, of which no part may be left out
            figures["accepted_rejects"] = (metrics or {})["accepted_rejects"]
        oddities: list[str] | None = None if status.has_output else []

        def ending(run: StoredRun) -> dict[str, Any]:
            now = now_text()
            message = _addressed(words, run)
            notice = self._tells and run_notice(
                run, status.value, now, figures, message, oddities or (), told
            )
            return {
                "status": status.value,
                "event": event_body(run, status.value, now),
                "notice": notice or None,
                "lineage": self._event(
                    run_id,
                    lambda lineage: lineage.event(run, now, status, figures, locations or {}, message),
                ),
                "outputs": outputs,
                "read": read,
                "ledger": ledger,
                "act": act,
                "finished_at": now,
                "stages": closed(run.stages, written, now),
                "error_message": message,
                "metrics": figures,
                "target_locations": locations or {},
            }

        ended: StoredRun | None = None
        is_in_doubt = False
        while True:
            try:
                # Only once: the second time, the run might be compared with itself.
                if oddities is None:
                    oddities = await self._unusual(run_id, figures)
                    figures["warnings"] = figures.get("warnings", {}) | dict.fromkeys(oddities, 1)
                ended = await self._carry_on(run_id, ending) or ended
                if ended is None and is_in_doubt:  # the first attempt was written, but nobody was notified
                    ended = await self._store.require(run_id)
                await self._store.settled()
            except (StoreFailed, OSError) as error:
                is_in_doubt |= isinstance(error, StoreUnavailable) and error.is_in_doubt
                self._health.trouble(_STATE, why(error))
                await anyio.sleep(RETRY)
            else:
                break
        self._health.works(_STATE)
        self.progress.pop(run_id, None)
        self._hub.notify(run_id, ended)
        if ended is not None:
            self._on_message()
            self._on_end(ended)

    async def _unusual(self, run_id: str, figures: Json) -> list[str]:
        """Return a run's violated checks, and how it deviates from its flow's last runs. Raises `StoreFailed`."""
        run = self._seen.get(run_id) or await self._store.require(run_id)
        told = [words for words in figures.get("warnings", {}) if words.startswith(VIOLATED)]
        if has_rejects(run.run_metadata):
            return told
        flow = run.flow_version.partition(":")[0]
        before = await self._store.statistics.last_figures(flow, RUNS)
        return told + unusual((figures.get("rows_read", 0), figures.get("rows_rejected", 0)), before)

    def _event(self, run_id: str, make: Callable[[LineageEvents], bytes]) -> bytes | None:
        """Return the OpenLineage event, if events are enabled. An error here must not affect the run."""
        if self._lineage is None:
            return None
        try:
            return make(self._lineage)
        except Exception:
            _log.exception("run %s: the lineage event could not be created and is not sent", run_id)
            return None


def _addressed(message: str | None, run: StoredRun) -> str | None:
    """Adapt the message's advice to a replay, whose run nobody can submit again."""
    if message is None or not is_replay(run.run_metadata):
        return message
    again = message.replace("submit the run again", "repeat the replay")
    return again.replace("Submit the run again", "Repeat the replay")
