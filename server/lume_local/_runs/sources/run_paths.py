"""The places that a run reads and writes, the job for its worker, and the cleanup afterwards."""

import logging
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from anyio.to_thread import run_sync
from attrs import asdict, evolve

from lume_local._flow.databases import REJECTS_REQUIRED, REJECTS_TABLE, TableTarget
from lume_local._flow.definition import REJECTED_ROWS, SHARD_BYTES, Flow
from lume_local._flow.lakes import DELTA
from lume_local._flow.places import SUFFIXES
from lume_local._flow.source_settings import CONTENT
from lume_local._flow.urls import is_store_url
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.health import why
from lume_local._runs.output_reads import layouts_of, lines_of
from lume_local._runs.row_reader import output_job
from lume_local._runs.sources.paths import REPLAY, UPLOAD, PathRefused, Roots, filled, lies_in, stored
from lume_local._runs.sources.source_files import (
    SourceName,
    SourceSpec,
    content_in,
    name_of_files,
    name_of_query,
    name_of_urls,
    source_key,
    with_content,
)
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.ledger import ALL, TAKEN, Claim, RowFilter
from lume_local._runs.store.records import WITH_OUTPUT, StoredRun
from lume_local._runs.unusual import has_rejects
from lume_local._shared import no_links
from lume_local._shared.commit import FILE, hand_over
from lume_local._shared.folders import HELD, PARTS, scratch, scratch_of
from lume_local._shared.protocol import MEMORY_LIMIT, THREADS, Execute, Json
from lume_local._shared.row_set import as_text

_log = logging.getLogger("lume_local")

_POOL = {"url": "pool", "shard_bytes": SHARD_BYTES}
"""The engine of flows with `[engine]` on a server without an engine."""


class RunPaths:
    """The places of runs: those named by their flows, and a separate folder for each run."""

    def __init__(self, roots: Roots, flows: FlowRegistry, runs: SqlStore, engine: Json | None = None) -> None:
        self._roots, self._flows, self._runs, self._engine = roots, flows, runs, engine
        self.folders, self.begun = roots.runs, roots.state / "begun"
        self._left: dict[Path, str] = {}
        """The folders of ended runs that could not be removed, and why."""

    async def job(self, run: StoredRun, draft: Flow | None = None, claims: Sequence[Claim] = ()) -> Execute:
        """Return the job for a run's worker. Raises `PathRefused`, and the errors of compiling its flow.

        Args:
            draft: the flow version, if it is not registered.
            claims: the rejects of other runs in a dry run's source.
        """
        flow = draft or self._flows.parsed(run.flow_version)
        roots = self._roots.for_one_job()
        source, name = await source_place(roots, run.source_path, flow)
        values = {
            "data": str(self._roots.data),
            "flow": flow.name,
            "version": flow.version,
            "run_id": run.run_id,
            "source_path": name.text,
        }
        for template in (flow.mapped, flow.rejects):
            if isinstance(template, str):
                name.check(template)
        batch = source_key(flow.source, run.source_path, roots)
        content = None
        if flow.source.identity == CONTENT and run.source_key:  # a dry run has none
            content = content_in(run.source_key, batch)
            batch = with_content(batch, content)
        values["at"] = run.created_at
        mapped, rejects = _mapped(roots, flow, values, batch), _file(roots, flow.rejects, values)
        seeds = {
            seed.name: _seed(roots, run.seeds.get(seed.name, {"source_path": seed.path}))
            for seed in flow.seeds
        }
        for what, files in (
            ("the source itself", source.get("files", ())),
            ("a seed of the flow", seeds.values()),
        ):
            for file in files:
                is_within = mapped["kind"] == PARTS and str(Path(file["path"]).parent) == mapped["path"]
                if is_within or file["path"] in (mapped.get("path"), rejects.get("path")):
                    raise PathRefused(f"the target {file['path']!r} is {what}: choose another place")
        warns = flow.source.on_unknown_columns == "warn"
        parent = await self._parent(run)
        is_mend = has_rejects(run.run_metadata) and await self._runs.origins.of(run.run_id, None, ())
        is_whole = not (parent or claims or is_mend)
        return Execute(
            run_id=run.run_id,
            flow=await (self._flows.compiled(flow.ref) if draft is None else self._flows.drafted(flow)),
            source=source,
            folder=str(self.folder(run.run_id)),
            mapped=mapped,
            rejects=rejects,
            rejects_table=_rejects_table(roots, flow, values, batch),
            memory_limit=MEMORY_LIMIT,
            threads=THREADS,
            seeds=seeds,
            headers=await self._runs.sources.last_headers(run.flow_version, layouts=len(flow.layouts))
            if warns
            else {},
            engine=None if parent is not None else self._engine_of(flow),
            content=content,
            mends=None if parent is None else parent.metrics.get("rows_rejected"),
            mended=None if parent is None else await self._mended(parent),
            lines=None if parent is None else lines_of(parent, self._flow_of(parent)),
            layouts={} if parent is None else layouts_of(parent),
            taken=None if parent is None else await self._taken(parent),
            beside=await self._beside(run, flow) if parent is None else 0,
            replaced=await self._replaced(run, flow) if is_whole else 0,
            is_replay=has_rejects(run.run_metadata) and await self._runs.ledger.is_replay(run.run_id),
            earlier=await self._earlier(flow, batch),
            accepted=await self._accepted(run, flow, claims),
            asks=self._runs.publishing.is_shared,
            layout=run.layout or "",
            at=run.created_at,
            is_whole=is_whole,
        )

    async def roots(self, run: StoredRun) -> frozenset[str]:
        """Return the first runs on the sources of returned rows whose keys are compared; empty for any other run.

        If two runs share one of these, the later run must see which keys the other has accepted.
        """
        if not has_rejects(run.run_metadata) or not self._flows.is_known(run.flow_version):
            return frozenset()
        if not _unique(self._flows.parsed(run.flow_version)):
            return frozenset()
        parent = await self._parent(run)
        return await self._runs.origins.roots(run.run_id, None if parent is None else parent.run_id)

    async def _accepted(self, run: StoredRun, flow: Flow, claims: Sequence[Claim]) -> Json | None:
        """Return the places of keys that no returned row may repeat (see `_worker.returned`); None for other runs."""
        unique = _unique(flow)
        if not unique or not (claims or has_rejects(run.run_metadata)):
            return None
        parent = await self._parent(run)
        origins = await self._runs.origins.of(run.run_id, None if parent is None else parent.run_id, claims)
        outputs: dict[str, Json] = {}
        for number, origin in enumerate(origins):
            for run_id, rows in (await self._runs.origins.accepted(origin.root)).items():
                if run_id not in outputs:
                    outputs[run_id] = await self._keys_of(run_id)
                outputs[run_id]["of"] += [[number, *part] for part in rows or ([0, None],)]
        outputs = {run_id: one for run_id, one in outputs.items() if one["rows"]}
        lacking = {
            name: sum(name not in one["columns"] for one in outputs.values() if one["columns"] is not None)
            for name in unique
        }
        if not outputs:
            return None
        records, rejects = [one.records for one in origins], None
        if parent is not None and any(records):
            rejects = await self._mended(parent)
            records = records if rejects else [ALL] * len(origins)
        return {
            "unique": unique,
            "origins": records,
            "rejects": rejects,
            "outputs": list(outputs.values()),
            "lacking": {name: count for name, count in lacking.items() if count},
        }

    async def _keys_of(self, run_id: str) -> Json:
        """Return how to read a run's mapped rows; without `read` and `table` they can no longer be read."""
        run = await self._runs.get(run_id)
        found: Json = {"run_id": run_id, "rows": 1, "columns": None, "of": []}
        if run is None:
            return found
        found["rows"] = run.metrics.get("rows_mapped", 0) if run.status in WITH_OUTPUT else 0
        flow = self._flow_of(run)
        if not found["rows"] or run.target_locations.get("mapped") is None or flow is None:
            return found
        found["columns"] = [column.name for column in flow.columns]
        if not isinstance(flow.mapped, str):
            values = {"data": str(self._roots.data), "flow": flow.name, "version": flow.version}
            return found | {"table": _table(self._roots, flow.mapped, values)}
        job = await output_job(self._runs, self._roots, run, flow, "mapped")
        return found if job is None else found | {"read": asdict(job)}

    async def _parent(self, run: StoredRun) -> StoredRun | None:
        """Return the run whose corrected rejects are to be read; None if there is none."""
        named = (run.run_metadata or {}).get("resubmit_of")
        return await self._runs.get(named) if isinstance(named, str) else None

    async def _mended(self, parent: StoredRun) -> Json | None:
        """Return the job that reads the rejects of a run; None if they can no longer be read."""
        flow = self._flow_of(parent)
        if flow is None:
            return None
        job = await output_job(self._runs, self._roots, parent, flow, "rejects")
        return None if job is None else asdict(evolve(job, run_id=parent.run_id))

    def _flow_of(self, run: StoredRun) -> Flow | None:
        return self._flows.parsed(run.flow_version) if self._flows.is_known(run.flow_version) else None

    async def _taken(self, parent: StoredRun) -> str:
        """Return the set of a run's rejects that were corrected before or accepted by a replay."""
        rows = 0
        for state in TAKEN:
            wanted = RowFilter(run_id=parent.run_id, state=state)
            for one in await self._runs.ledger.rows(wanted, 0, 1):
                rows |= one.rows
        return as_text(rows)

    async def _beside(self, run: StoredRun, flow: Flow) -> int:
        """Return how many rejects of the source were corrected or replayed and keep their rows in the target.

        In a table such rows are separate batches; files are replaced or belong to the run, and an upsert finds rows
        by their key. A replay or a run on corrected rejects has a source of its own, which has no such rejects.
        """
        if isinstance(flow.mapped, str) or flow.mapped.mode == "upsert" or not run.source_key:
            return 0
        account = await self._runs.ledger.account(flow.name, run.source_key)
        return account.mended + account.replayed

    async def _replaced(self, run: StoredRun, flow: Flow) -> int:
        """Return how many corrected rows a run on the whole source takes out of the current table."""
        if not isinstance(flow.mapped, str) or not run.source_key:
            return 0
        return await self._runs.ledger.corrected(flow.name, run.source_key, run.seq)

    async def _earlier(self, flow: Flow, batch: str) -> Json | None:
        """Return the values that no row of a run may repeat, if they are not in a table (see `EarlierValues`)."""
        ever = [column.name for column in flow.columns if column.ever]
        if not ever or not isinstance(flow.mapped, str):
            return None
        noting = self._flows.noting(flow.name)
        runs = await self._runs.runs_of(noting, with_output=True)
        noted = {
            name: sum(runs.get(ref, 0) for ref, names in noting.items() if name in names) for name in ever
        }
        columns = {name: [count, sum(runs.values()) - count] for name, count in noted.items()}
        return {"path": str(values_of(self._roots, flow)), "source": batch, "columns": columns}

    def _engine_of(self, flow: Flow) -> Json | None:
        wanted = flow.sharding
        if wanted is None:
            return self._engine
        engine = self._engine or _POOL
        return {
            **engine,
            "shard_bytes": wanted.shard_bytes or engine["shard_bytes"],
            "shards": wanted.shards,
        }

    def folder(self, run_id: str) -> Path:
        """Return the run's own folder, which exists while it is active."""
        return self.folders / run_id

    async def hold_uploads(self, job: Execute) -> Execute:
        """Link the job's uploads into the run's folder, so that replacing an upload does not affect this run."""
        files = [*job.source.get("files", ()), *job.seeds.values()]
        if not any(lies_in(Path(file["path"]), self._roots.uploads) for file in files):
            return job

        def held() -> Execute:
            source = job.source
            if "files" in source:
                source = source | {"files": [self._held(file, job) for file in source["files"]]}
            seeds = {name: self._held(seed, job) for name, seed in job.seeds.items()}
            return evolve(job, source=source, seeds=seeds)

        return await run_sync(held)

    def _held(self, file: Json, job: Execute) -> Json:
        """Link an upload into the run's folder, and add the link as `at`; return any other file unchanged."""
        path = Path(file["path"])
        if not lies_in(path, self._roots.uploads):
            return file
        at = Path(job.folder) / HELD / path.name
        try:
            with no_links.folder(at.parent, make=True):
                no_links.link(path, at)
        except FileExistsError:
            pass  # a worker died before this run had begun
        except OSError as error:
            # The run reports a missing file. On a file system without links, the run reads the file in place.
            _log.info("run %s: %s is not held while it is read: %s", job.run_id, path, error)
            return file
        return file | {"at": str(at)}

    def clean_up(self, run: StoredRun) -> None:
        """Remove the run's folder. After a commit this comes last, since the folder proves the commit."""
        shutil.rmtree(self.folder(run.run_id), ignore_errors=True)

    def give_up(self, run: StoredRun) -> None:
        """Remove the folder of a run without output; steps begun elsewhere and not undone stay recorded."""
        self._give_up(self.folder(run.run_id))

    def forget_worker(self, run: StoredRun, pid: int) -> None:
        """Remove the scratch files of a run's ended process."""
        shutil.rmtree(scratch_of(self.folder(run.run_id), pid), ignore_errors=True)

    def clear(self, unended: Collection[str], *, has_workers: bool = False) -> None:
        """Remove the folders of ended runs left by an earlier server: all but `unended`.

        If it still `has_workers`, their scratch files are left to the next start.
        """
        if not has_workers:
            shutil.rmtree(scratch(self.folders), ignore_errors=True)
        for folder in self.folders.iterdir() if self.folders.exists() else ():
            if folder.is_dir() and folder.name not in unended:
                self._give_up(folder)

    def give_up_again(self) -> list[str]:
        """Retry the removals that failed; return why some still fail."""
        for folder in list(self._left):
            self._give_up(folder)
        return list(self._left.values())

    def _give_up(self, folder: Path) -> None:
        """Remove a folder, unless its record of begun steps can't be kept: the disk may be full."""
        try:
            hand_over(folder, self.begun / folder.name)
        except Exception as error:
            self._left[folder] = f"{folder} can't be removed: {why(error)}"
        else:
            self._left.pop(folder, None)
            shutil.rmtree(folder, ignore_errors=True)


def values_of(roots: Roots, flow: Flow) -> Path:
    """Return the file with the digests of a flow's values (see `EarlierValues`)."""
    return roots.state / "values" / f"{flow.name}.sqlite"


async def source_place(roots: Roots, source_path: str, flow: Flow) -> tuple[Json, SourceName]:
    """Return the place of a run's source, and its name. Raises `PathRefused`."""
    if query := flow.source.query:
        place = {"kind": "query", **asdict(query), "source_path": source_path}
        return place, name_of_query(source_path)
    wanted = SourceSpec(flow.source.uris, source_path)
    if wanted.is_stored:
        place = {"kind": "store", "objects": wanted.objects(roots)}
        return place, name_of_urls(roots, wanted)
    if wanted.is_remote:
        place = {"kind": "sftp", "wanted": wanted.remote_files(roots)}
        return place, name_of_urls(roots, wanted)
    sources = await wanted.find(roots)
    named = str if wanted.is_single else roots.relative
    shown = REJECTED_ROWS if source_path.startswith(UPLOAD + REPLAY) else ""
    place = {
        "kind": "files",
        "files": [
            {"path": str(one), "shown": shown or named(one)}
            | ({"below": roots.relative(one)} if flow.layouts else {})
            for one in sources
        ],
        "looked_up": wanted.looked_up(roots),
    }
    return place, name_of_files(roots, wanted, sources)


def _mapped(roots: Roots, flow: Flow, values: dict[str, str], batch: str) -> Json:
    columns = [[column.name, column.sql_type] for column in flow.columns]
    if isinstance(flow.mapped, str):
        if flow.mapped.endswith("/"):
            return {"kind": PARTS, "path": str(roots.target(flow.mapped, values)), "columns": columns}
        return _file(roots, flow.mapped, values)
    named = {"flow": flow.name, "source_path": batch}
    required = [column.name for column in flow.columns if column.required]
    ever = [column.name for column in flow.columns if column.ever]
    more = {"columns": columns, "required": required, "ever": ever}
    return _table(roots, flow.mapped, values) | more | named


def _file(roots: Roots, template: str, values: dict[str, str]) -> Json:
    if is_store_url(template):
        url = stored(roots, filled(template, values), "target")
        return {"kind": "store", "url": _named(url)}
    return {"kind": FILE, "path": _named(str(roots.target(template, values)))}


def _seed(roots: Roots, seed: dict[str, str]) -> dict[str, str]:
    path = seed["source_path"]
    place = {"path": str(roots.source(path)), "looked_up": roots.looked_up(path)}
    return place | ({"sha256": seed["sha256"]} if "sha256" in seed else {})


def _unique(flow: Flow) -> list[str]:
    """Return the columns whose values are compared within the same source; `"ever"` compares with all sources."""
    return [column.name for column in flow.columns if column.unique and not column.ever]


def _rejects_table(roots: Roots, flow: Flow, values: dict[str, str], batch: str) -> Json | None:
    if flow.rejects_table is None:
        return None
    about = {"columns": list(map(list, REJECTS_TABLE)), "required": list(REJECTS_REQUIRED), "part": "rejects"}
    named = {"flow": flow.name, "source_path": batch}
    return _table(roots, flow.rejects_table, values) | about | named


def _table(roots: Roots, target: TableTarget, values: dict[str, str]) -> Json:
    """Return the place of a table, as its target takes it."""
    place = asdict(target) | ({"at": values["at"]} if "at" in values else {})
    if target.kind != DELTA:
        return place
    if is_store_url(target.table):
        url = filled(target.table, values)
        return place | {"table": stored(roots, url, "target", url)}
    folder = roots.target(target.table, values)
    if any(lies_in(root, folder) for root in (*roots.folders, roots.data)):
        # Delta removes the files in its folder that it does not know (VACUUM).
        raise PathRefused(f"the target {str(folder)!r} has a root of this server in it: name a folder below")
    return place | {"table": str(folder)}


def _named(place: str) -> str:
    """Return the place. Raises `PathRefused` if its name would come from a source path ending in a slash."""
    if Path(place).suffix.lower() not in SUFFIXES:
        raise PathRefused(f"the target {place!r} has no name before its suffix: put {{run_id}} there")
    return place
