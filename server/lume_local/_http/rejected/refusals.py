"""Refusals of a run on rejected rows, as problems."""

from collections.abc import Iterator
from contextlib import contextmanager

from lume_local._flow.definition import Flow
from lume_local._http.messages import Problem
from lume_local._runs.rejected.replays import ReplayRefused
from lume_local._runs.sources.resolver import CantTell
from lume_local._runs.store.records import Duplicate, KeyReused
from lume_local._runs.workers.worker import WorkerDied


@contextmanager
def refusals(to: Flow, what: str) -> Iterator[None]:
    """Raise `Problem` if `what` could not be done with this version, such as "the rows could not be judged"."""
    try:
        yield
    except ReplayRefused as error:
        raise Problem("not-supported", str(error)) from None
    except (WorkerDied, CantTell) as error:
        raise Problem("unavailable", f"{what}: {error}") from None
    except KeyReused:
        raise Problem(
            "idempotency-key-reused", "this Idempotency-Key came with another request before"
        ) from None
    except Duplicate as duplicate:
        run_id, is_active = duplicate.run_id, duplicate.is_active
        kind, does, then = (
            ("run-in-progress", "is processing", "wait for that run, then repeat this for what is still open")
            if is_active
            else ("already-processed", "has processed", "look at what is still open, then repeat this")
        )
        raise Problem(kind, f"run {run_id} {does} these rows with {to.ref}: {then}", run_id=run_id) from None
