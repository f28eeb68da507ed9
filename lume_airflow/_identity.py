"""Which run belongs to which try of a task: its idempotency keys, and when the next one may be used. Pure.

A try submits under the key of generation 0. Whoever dies on the way (worker, triggerer, scheduler) leaves a run
that the next attempt finds under the same key. Only where that run has ended without output, and a try has failed
for it, does the generation go up: never more runs than tries, and never two at once.
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
"""What a cleared task does: process every source again, or those that have no output."""


@frozen
class TaskTry:
    """A try of a task, as far as it names runs.

    Attributes:
        epoch: differs where the task was cleared to run again.
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
        """The idempotency key of one of its runs; `item` tells those of a batch apart."""
        parts = [self.dag_id, self.run_id, self.task_id, self.map_index, self.epoch, generation, item]
        return "airflow-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def all_keys(self) -> set[str]:
        """Those of a single run's generations."""
        return {self.key(generation) for generation in range(self.tries)}

    def metadata(self, key: str, own: dict[str, Any] | None) -> dict[str, Any]:
        """What the run carries: the author's own object, and where the run comes from. The same for the same key."""
        return {**(own or {}), "airflow": {**self._place(), "key": key}}

    def started(self, run: AnyRun) -> bool:
        """Whether this task started the run, in whichever try."""
        said = _said(run)
        return {name: said.get(name) for name in self._place()} == self._place()

    def goes_on(self, run: LumeRun, key: str, generation: int, *, found: bool = False) -> bool:
        """Whether a run that was found under its own key is a failure of an earlier try, so that the next follows."""
        over = (found or run.reused) and run.is_terminal and not run.has_output and key_of(run) == key
        return over and generation + 1 < self.tries

    def as_kwargs(self) -> dict[str, Any]:
        """As JSON values, for the arguments of a trigger."""
        return asdict(self)

    def _place(self) -> dict[str, Any]:
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "map_index": self.map_index,
        }


def key_of(run: LumeRun) -> str | None:
    """The key under which a task of this package submitted the run; None for a run of somebody else."""
    key = _said(run).get("key")
    return key if isinstance(key, str) else None


def _said(run: AnyRun) -> dict[str, Any]:
    said = (run.run_metadata or {}).get("airflow")
    return said if isinstance(said, dict) else {}


def on_worker(ti: Any, retries: int, on_clear: OnClear) -> TaskTry:
    """The present try, as a worker knows it.

    Clearing sets `max_tries` to the tries so far plus the retries, and nothing else changes it: it names the epoch,
    and tells how many tries belong to earlier ones.
    """
    plain = TaskTry(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, tries=ti.try_number)
    if on_clear == "failed":
        return plain
    before = max(0, ti.max_tries - retries)
    if not 0 < before < ti.try_number:
        return evolve(plain, epoch=ti.max_tries)
    return evolve(plain, epoch=ti.max_tries, tries=ti.try_number - before, cleared=True)


def in_triggerer(ti: Any, delivered: Iterable[int], on_clear: OnClear) -> TaskTry:
    """The present try of a task that starts in the triggerer, where `max_tries` is not known.

    Args:
        delivered: the tries that the task has ended with before: after each of them it was cleared.
    """
    before = max((number for number in delivered if number < ti.try_number), default=0)
    plain = TaskTry(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, tries=ti.try_number)
    if on_clear == "failed" or not before:
        return plain
    return evolve(plain, epoch=before, tries=ti.try_number - before, cleared=True)
