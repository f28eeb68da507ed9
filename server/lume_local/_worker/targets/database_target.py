"""A database table as a target.

The load's transaction is open from `prepare`, which does everything in it that can fail, to `publish`, which commits
it. A process that takes over repeats all of this: the first statement of the transaction claims the run, so that a
committed load is not repeated.
"""

import random
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict

from lume_local._flow.databases import DATABASE
from lume_local._shared.failing import on_error
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl, Load, Refused
from lume_local._worker.databases.kinds import LOADERS
from lume_local._worker.databases.loader import Loader
from lume_local._worker.targets.target import Begin, Step, TargetError, refuse_overtaken

T = TypeVar("T")
_PAUSES = (0.5, 1.0, 2.0)
"""Seconds between attempts at a load: before the commit, if the database aborted the transaction because of a
concurrent one; after it, even if the database is unavailable, and then the server retries.
"""
_prepared: dict[str, Loader] = {}
"""The open transactions of this process, by claim."""


class DatabaseTarget:
    """See `Target`.

    Args:
        place: the members of `Load` except the run's.
        run_id: claims the load.
    """

    suffix = ".parquet"

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part = part
        self._load = Load(**place, run_id=run_id)
        self.place = f"{self._load.url_env}?table={self._load.table}"
        self.location = ""
        self.may_create, self.source = self._load.create, self._load.source_path

    def check(self) -> None:
        try:
            # Without user, password and options.
            self.location = f"{DatabaseUrl.of(self._load.url_env).shown}?table={self._load.table}"
            _loader_of(self._load).check()
        except DatabaseTrouble as trouble:
            raise TargetError(f"target.{self._part}: {trouble}") from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        if self._load.claim not in _prepared:
            self._repeated(lambda loader: loader.fill(built), begin)
        return {"kind": DATABASE, "part": self._part, "from": str(built), "load": asdict(self._load)}

    def judge(self, rows: Path, begin: Begin) -> Refused:
        """Load, but don't commit, the numbered rows that the table accepts; return why it refuses others."""
        return self._repeated(lambda loader: loader.judge(rows), begin)

    def _repeated(self, load: Callable[[Loader], T], begin: Begin) -> T:
        """Begin a load; retry it if the database aborted its transaction because of a concurrent one."""
        begin({"kind": DATABASE, "claim": self._load.claim})
        for pause in (*_PAUSES, None):
            try:
                loader = _loader_of(self._load)
                with on_error(loader.close):
                    found = load(loader)
                _prepared[self._load.claim] = loader
                return found
            except DatabaseTrouble as trouble:
                if pause is None or not trouble.is_undone:
                    times = f" (the load was tried {len(_PAUSES) + 1} times)" if trouble.is_undone else ""
                    raise TargetError(f"target.{self._part}: {trouble}{times}") from None
                # Two loads that blocked each other must not begin again at the same time.
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
        raise AssertionError("the last pause is None")

    @staticmethod
    def publish(step: Step) -> None:
        """Commit the load, or repeat it if it was not committed."""
        load = Load(**step["load"])
        for pause in (*_PAUSES, None):
            try:
                return _done(load, step)
            except DatabaseTrouble as trouble:
                words = str(trouble).rstrip(".")
                if not trouble.may_pass:  # a database that refused has no rows of the run
                    raise TargetError(f"{words}. None of its rows are in {load.table}") from None
                if pause is None:  # after a lost connection that is unknown
                    raise TargetError(
                        f"{words}. Whether its rows are in {load.table} can be seen in _lume_loads: it then has "
                        f"the run {load.claim}",
                        may_pass=True,
                    ) from None
                time.sleep(pause)

    @staticmethod
    def abandon(step: Step) -> None:
        """Roll back an open transaction; the database has rolled back that of a dead process."""
        claim = step.get("claim") or step["run_id"]  # an older version wrote `run_id`
        if loader := _prepared.pop(claim, None):
            loader.close()


def _loader_of(load: Load) -> Loader:
    url = DatabaseUrl.of(load.url_env)
    return LOADERS[url.scheme](url, load, list(_prepared.values()))


def _drop(run_id: str) -> None:
    """Roll back all open transactions of a run."""
    for claim in [claim for claim in _prepared if claim.partition("/")[0] == run_id]:
        _prepared.pop(claim).close()


def _done(load: Load, step: Step) -> None:
    if prepared := _prepared.pop(load.claim, None):
        # Another load may share its transaction, and is then repeated, too.
        with on_error(lambda: _drop(load.run_id)), closing(prepared):
            return prepared.commit()
    with closing(_loader_of(load)) as loader:
        if loader.fill(Path(step["from"])):
            refuse_overtaken(step)
            loader.commit()
