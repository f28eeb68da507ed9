"""The idempotency keys of a task's tries, and the rule for the next key. Pure.

A try submits with the key of generation 0. If a worker, triggerer or scheduler dies, the next attempt finds the run
by the same key. The generation increases only if that run has ended without output, and a try has failed because of
it: never more runs than tries, and never two at once.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from attrs import asdict, evolve, frozen

import lume_async
import lume_sync
from lume_async import LumeRun

AnyRun: TypeAlias = lume_async.LumeRun | lume_sync.LumeRun

OnClear: TypeAlias = Literal["rerun", "failed"]
"""The work of a cleared task: every source again, or only sources without output."""


@frozen
class TaskTry:
    """A try of a task, with the parts of its idempotency keys.

    Attributes:
        epoch: differs after the task was cleared to run again.
        tries: the number of tries in this epoch, this one included.
        cleared: whether this epoch began with a clear.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    epoch: int = 0
    tries: int = 1
    cleared: bool = False

    def key(self, generation: int, item: str = "") -> str:
        """Return the idempotency key of one of its runs; `item` distinguishes the runs of a batch."""
        parts = [self.dag_id, self.run_id, self.task_id, self.map_index, self.epoch, generation, item]
        return "airflow-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def all_keys(self) -> set[str]:
        """Return the keys of all generations of a single run."""
        return {self.key(generation) for generation in range(self.tries)}

    def metadata(self, key: str, own: dict[str, Any] | None) -> dict[str, Any]:
        """Return the run's metadata: the author's own object, and the task. It is the same for the same key."""
        return {**(own or {}), "airflow": {**self._place(), "key": key}}

    def started(self, run: AnyRun) -> bool:
        """Return whether this task started the run, in any of its tries."""
        found = _airflow_metadata(run)
        return {name: found.get(name) for name in self._place()} == self._place()

    def needs_next(self, run: LumeRun, key: str, generation: int, *, found: bool = False) -> bool:
        """Return whether a run found by its key failed in an earlier try, so that the next generation follows."""
        over = (found or run.reused) and run.is_terminal and not run.has_output and key_of(run) == key
        return over and generation + 1 < self.tries

    def as_kwargs(self) -> dict[str, Any]:
        """Return JSON values, for the arguments of a trigger."""
        return asdict(self)

    def _place(self) -> dict[str, Any]:
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "map_index": self.map_index,
        }


def key_of(run: LumeRun) -> str | None:
    """Return the key with which a task of this package submitted the run; None for other runs."""
    key = _airflow_metadata(run).get("key")
    return key if isinstance(key, str) else None


def _airflow_metadata(run: AnyRun) -> dict[str, Any]:
    found = (run.run_metadata or {}).get("airflow")
    return found if isinstance(found, dict) else {}


def on_worker(ti: Any, retries: int, on_clear: OnClear) -> TaskTry:
    """Return the current try, on a worker.

    Only clearing changes `max_tries`, to the tries so far plus the retries: it identifies the epoch, and shows the
    number of tries in earlier ones.
    """
    plain = TaskTry(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, tries=ti.try_number)
    if on_clear == "failed":
        return plain
    before = max(0, ti.max_tries - retries)
    if not 0 < before < ti.try_number:
        return evolve(plain, epoch=ti.max_tries)
    return evolve(plain, epoch=ti.max_tries, tries=ti.try_number - before, cleared=True)


def in_triggerer(ti: Any, delivered: Iterable[int], on_clear: OnClear) -> TaskTry:
    """Return the current try of a task that starts in the triggerer, where `max_tries` is not known.

    Args:
        delivered: the earlier tries in which the task has ended: it was cleared after each of them.
    """
    before = max((number for number in delivered if number < ti.try_number), default=0)
    plain = TaskTry(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, tries=ti.try_number)
    if on_clear == "failed" or not before:
        return plain
    return evolve(plain, epoch=before, tries=ti.try_number - before, cleared=True)
