"""The results of runs: their outputs, their deliveries, statistics of many runs."""

from lume_local._http import queries
from lume_local._http.documents import count_document, delivery_document
from lume_local._http.lookup import require_output, require_run
from lume_local._http.messages import Ask, Output, Problem, Reply
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sql.sql_store import SqlStore


class ResultsApi:
    """The operations for the results of runs."""

    def __init__(self, store: SqlStore, roots: Roots) -> None:
        self._store, self._roots = store, roots

    async def statistics(self, ask: Ask) -> Reply:
        by, worst_first = queries.dimensions(ask.query)
        query = dict(ask.query)
        limit = queries.limit_of(query, 1000, 10_000)
        since, flow = queries.since_of(query), query.get("flow")
        counts = await self._store.statistics.counts(by, since, flow, worst_first=worst_first, limit=limit)
        return Reply(200, {"items": [count_document(count) for count in counts]})

    async def deliveries(self, ask: Ask) -> Reply:
        run = await require_run(self._store, ask.path["run_id"])
        found = await self._store.deliveries.of_run(run.run_id)
        return Reply(200, {"items": [delivery_document(delivery) for delivery in found]})

    async def output(self, ask: Ask) -> Reply:
        run, part = await require_run(self._store, ask.path["run_id"]), ask.path["output"]
        if part not in ("mapped", "rejects"):
            raise Problem("not-found", f"a run has the outputs mapped and rejects, not {part!r}")
        noted = await require_output(self._store, run, part)
        location = run.target_locations[part]
        if location is None:
            raise Problem("no-output", f"run {run.run_id} has rejected no row", run_id=run.run_id)
        if "://" in location:
            raise Problem(
                "not-supported", f"the rows lie at {location}, and this server sends local files only"
            )
        try:
            path = self._roots.written(location)
        except PathRefused as error:
            raise Problem("not-found", str(error)) from None
        name = f"{run.run_id}-{part}{path.suffix if path.suffix.isascii() else ''}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Reply(200, None, headers, "application/octet-stream", Output(path, noted))
