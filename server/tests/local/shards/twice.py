"""A run by one worker and the same one over shards: nothing that they give differs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import orjson
from attrs import evolve, frozen
from local.flows import people
from local.one_run import carried_out, job_of

from lume_local._flow.definition import read_definition
from lume_local._shards.executor import Function, Json, Pause
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed


class Here:
    """An executor that does its tasks in this process, with all that they say as JSON."""

    slots = 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        for argument in arguments:
            pause()
            yield orjson.loads(orjson.dumps(function(orjson.loads(orjson.dumps(argument)))))


@frozen
class Outcome:
    """All that a run gives."""

    error: str
    metrics: dict[str, Any]
    files: dict[str, bytes]

    @property
    def shards(self) -> dict[str, Any]:
        found: dict[str, Any] = self.metrics["shards"]
        return found

    @property
    def without_shards(self) -> "Outcome":
        """What one worker would give."""
        return evolve(self, metrics={key: value for key, value in self.metrics.items() if key != "shards"})


def run(
    folder: Path,
    files: Sequence[tuple[str, bytes]],
    engine: dict[str, Any] | None,
    mapped_as: str = ".csv",
    rejects_as: str = ".csv",
    compiled: dict[str, Any] | None = None,
    **flow: Any,
) -> Outcome:
    """Run a flow over files; the targets' bytes are what they are compared by."""
    compiled = compiled or _compiled(flow)
    folder.mkdir(exist_ok=True)
    work = folder / ("sharded" if engine else "one")
    (work / "run").mkdir(parents=True)
    paths = [folder / name for name, _ in files]
    for path, (_, content) in zip(paths, files, strict=True):
        path.write_bytes(content)
    targets = work / f"mapped{mapped_as}", work / f"rejects{rejects_as}"
    with connect() as connection:
        job = evolve(job_of(compiled, work / "run", paths, *targets), engine=engine)
        for file in job.source["files"]:
            file["shown"] = Path(file["path"]).name
        error, metrics = "", {}
        try:
            record = carried_out(connection, job)
            metrics = record["metrics"]
        except RunFailed as failed:
            error, metrics = str(failed), failed.metrics or {}
    found = {path.name: path.read_bytes() for path in targets if path.exists()}
    return Outcome(error, metrics, found)


def _compiled(flow: dict[str, Any]) -> dict[str, Any]:
    """The compiled form of a flow."""
    with connect() as connection:
        return compile_flow(connection, read_definition(people(**flow)))


def compared(
    folder: Path,
    files: Sequence[tuple[str, bytes]],
    engine: dict[str, Any],
    mapped_as: str = ".csv",
    rejects_as: str = ".csv",
    **flow: Any,
) -> Outcome:
    """Run it both ways, and see that nothing differs; what the sharded run gave."""
    compiled = _compiled(flow)
    one = run(folder, files, None, mapped_as, rejects_as, compiled)
    sharded = run(folder, files, engine, mapped_as, rejects_as, compiled)
    assert sharded.without_shards == one
    return sharded
