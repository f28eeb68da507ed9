"""Forgets a person: the rows that have certain values, wherever the server keeps them.

The outputs of a run are rewritten as a commit in a folder of its own: the new files are written beside the old ones,
the commit is noted, they are put in place, and one transaction records their identities. If a process is killed in
between, the next server finishes that. An upload is removed before the outputs, which prove what it has.
"""

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import anyio
import anyio.lowlevel
import orjson
from anyio.to_thread import run_sync
from attrs import asdict, evolve, field, frozen

from lume_local._flow.databases import TableTarget
from lume_local._flow.definition import Flow, quoted
from lume_local._flow.urls import is_store_url
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.recovery.settle import Settler
from lume_local._runs.row_reader import output_job
from lume_local._runs.sources.paths import UPLOAD, Roots
from lume_local._runs.sources.run_paths import values_of
from lume_local._runs.sql.sql_forget import TEXTS
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.audit import FORGET, Act
from lume_local._runs.store.records import StoredRun, StoreUnavailable
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import commit
from lume_local._shared.folders import MANIFEST, named_in
from lume_local._shared.identity import identity, identity_of_copies
from lume_local._shared.person import Person
from lume_local._shared.protocol import Failed, Forget, Json, Read, Search
from lume_local._shared.row_set import as_text, of_text, rows_in

TURN = 5.0
"""Seconds after which a request is answered with what was found so far."""
_AT_ONCE = 50
_MOST_LEFT = 1000
"""Places that an answer names, about."""


@frozen
class Asked:
    """A request by a key."""

    match: Mapping[str, str] = field(repr=False)
    ignore_case: bool
    dry_run: bool
    by: str

    @property
    def person(self) -> Person:
        return Person(list(self.match.values()), self.ignore_case)


@frozen
class Traces:
    """The number of rows and texts by place; the uploads; and why a place is `left` as it is."""

    counts: Counter[str] = field(factory=Counter)
    uploads: set[str] = field(factory=set)
    left: dict[str, str] = field(factory=dict, repr=False)


class Forgetter:
    """Forgets one person at a time.

    Args:
        remove_upload: see `OldFiles`.
        archive: the folder of `Purger`, if there is one.
    """

    def __init__(
        self,
        store: SqlStore,
        flows: FlowRegistry,
        roots: Roots,
        pool: WorkerPool,
        settler: Settler,
        remove_upload: Callable[[Path, float], bool],
        archive: Path | None,
    ) -> None:
        self._store, self._flows, self._roots, self._pool = store, flows, roots, pool
        self._settler, self._remove_upload, self._archive = settler, remove_upload, archive
        self._folder, self._one = roots.state / "forget", anyio.Lock()

    async def finish(self) -> None:
        """Finish the run at which a process was stopped. Raises OSError, `StoreFailed`."""
        if not self._folder.exists():
            return
        begun, record = await run_sync(commit.begun, self._folder), commit.committed(self._folder)
        if record is not None:
            if trouble := await self._settler.finished(self._folder, record["steps"]):
                raise StoreUnavailable(f"an output is not in place yet: {trouble.text}")
            await self._store.forgetting.note(record["done"])
            await self._store.settled()
        await run_sync(_remove, self._folder, begun)

    async def page(self, asked: Asked, after: int) -> tuple[Traces, int | None]:
        """Forget the person in some of the runs after one, and last in everything else.

        Returns the number of the last run, None at the end. Raises OSError, `StoreFailed`, `WorkerDied`.
        """
        async with self._one:
            await self.finish()
            found, end = Traces(), anyio.current_time() + TURN
            while runs := await self._store.forgetting.runs(after, _AT_ONCE):
                for run in runs:
                    try:
                        await self._run(asked, run, found)
                    finally:
                        with anyio.CancelScope(shield=True):
                            await self.finish()
                    after = run.seq
                    if anyio.current_time() > end or len(found.left) > _MOST_LEFT:
                        return found, after
            await self._rest(asked, found)
            return found, None

    async def _run(self, asked: Asked, run: StoredRun, found: Traces) -> None:
        if not run.target_locations or not self._flows.is_known(run.flow_version):
            return
        flow, steps, counts = self._flows.parsed(run.flow_version), list[Json](), Counter[str]()
        names = [sorted(_columns(flow, name)) for name in asked.match]
        found.left.update(_tables(flow, asked, names))
        rejects, identities = 0, dict[str, str]()
        for part in ("mapped", "rejects"):
            job = await output_job(self._store, self._roots, run, flow, part)
            if job is None or (part == "mapped" and isinstance(flow.mapped, TableTarget)):
                continue
            rows = dict[str, tuple[int, Path]]()
            for one in await run_sync(_files, job):
                draft = self._draft(run, one.path)
                answer = await self._find(asked, names, one, draft)
                if isinstance(answer, Failed):
                    found.left[one.path] = f"was not searched: {answer.message}"
                elif answer.count:
                    counts[part] += answer.count
                    rejects |= of_text(answer.which)
                    rows[Path(one.path).name] = answer.count, draft
                    if not asked.dry_run:
                        steps.append(await run_sync(_step, run, part, draft, one.path))
            if rows and not asked.dry_run:
                if Path(job.path).name == MANIFEST:
                    draft = self._draft(run, job.path)
                    await run_sync(_write_manifest, self._folder, Path(job.path), draft, rows)
                    steps.append(await run_sync(_step, run, part, draft, job.path))
                identities[part] = steps[-1]["identity"]
        if not counts:
            return
        done: Json = {"run_id": run.run_id, "by": asked.by, "columns": sorted(asked.match)}
        done |= {"outputs": identities, "mapped": counts["mapped"], "rejects": as_text(rejects)}
        # No run of the flow may read the outputs meanwhile, or replace them.
        async with self._store.submissions_paused():
            name = run.flow_version.partition(":")[0]
            for other in await self._store.unfinished():
                if other.flow_version.partition(":")[0] == name and not asked.dry_run:
                    found.left[run.run_id] = (
                        f"is unchanged, as {other.run_id} is active: repeat it afterwards"
                    )
                    return
            found.counts.update({"outputs": counts["mapped"], "rejects": counts["rejects"]})
            if not run.source_path.startswith(UPLOAD):
                found.left[run.source_path] = "is a source, which is only read: a rerun brings the rows back"
            elif (upload := self._roots.uploads / run.source_path.removeprefix(UPLOAD)).exists():
                await self._upload(asked, upload, found)
            if not asked.dry_run:
                # A cancelled request leaves no output that is not the one in the state.
                with anyio.CancelScope(shield=True):
                    if any(column.ever for column in flow.columns):
                        await run_sync(_forget_values, values_of(self._roots, flow), asked, names)
                    await run_sync(commit.commit, self._folder, {"steps": steps, "done": done})
                    await self.finish()

    def _draft(self, run: StoredRun, place: str) -> Path:
        folder = self._folder if is_store_url(place) else Path(place).parent
        return folder / f".forget-{run.run_id}-{Path(place).name}"

    async def _find(self, asked: Asked, names: list[list[str]], one: Read, draft: Path) -> Any:
        if not asked.dry_run:
            await run_sync(_begin, self._folder, draft)
        read, path = (
            asdict(evolve(one, folder=str(self._roots.state / "rows"))),
            "" if asked.dry_run else str(draft),
        )
        return await self._pool.forget(
            Forget(read, list(asked.match.values()), names, asked.ignore_case, path)
        )

    async def _upload(self, asked: Asked, path: Path, found: Traces) -> None:
        source = UPLOAD + path.name
        if any(source in (run.source_path, *_seeds(run)) for run in await self._store.unfinished()):
            found.left[source] = "is read by a run that has not ended: repeat it afterwards"
            return
        found.uploads.add(path.name)
        if not asked.dry_run:
            await run_sync(self._remove_upload, path, math.inf)

    async def _rest(self, asked: Asked, found: Traces) -> None:
        """Remove the uploads that have the values, read by a run or not, and replace the values in texts."""
        values = list(asked.match.values())
        for run in await self._store.unfinished():
            found.left[run.run_id] = "has not ended, and was not searched: repeat it afterwards"
        if asked.person.is_in(" ".join(values)):  # else they are too short
            paths = [*self._roots.uploads.iterdir(), *await self._strange()]
            answer = await self._pool.forget(Search([*map(str, paths)], values, asked.ignore_case))
            assert not isinstance(answer, Failed)
            for path in (paths[number] for number in rows_in(of_text(answer.which))):
                if path.parent == self._roots.uploads:
                    await self._upload(asked, path, found)
                else:
                    found.left[str(path)] = "has the values, and is of runs that were removed: remove it"
            for table in TEXTS:
                await self._texts(asked, table, found)
        if not asked.dry_run:
            detail = {
                "columns": sorted(asked.match),
                "texts": found.counts["texts"],
                "uploads": len(found.uploads),
            }
            await self._store.audit.note(Act(asked.by, FORGET, "uploads and texts", detail))
            await self._store.wipe()

    async def _strange(self) -> list[Path]:
        """Return the files of the archive, and the outputs of runs that are no longer in the state."""
        own = self._roots.state, self._roots.runs, self._roots.uploads
        files = [*(self._archive or self._folder).glob("*.parquet")]
        for path in await run_sync(lambda: list(self._roots.data.rglob("*"))):
            run_id = _RUN.search(str(path))
            if run_id and path.is_file() and not any(folder in path.parents for folder in own):
                files += [] if await self._store.get(run_id[0]) else [path]
        return files

    async def _texts(self, asked: Asked, table: str, found: Traces) -> None:
        person, key, after = asked.person, TEXTS[table][0].count(",") + 1, tuple[Any, ...]()
        while rows := await self._store.forgetting.texts(table, after, _AT_ONCE):
            for row in map(tuple, rows):
                after, texts = row[:key], row[key:]
                if not any(map(person.is_in, map(_text, texts))):
                    continue
                found.counts["texts"] += 1
                if not asked.dry_run:
                    new = [_without(person, text) for text in texts]
                    await self._store.forgetting.replace(table, after, new)
            await anyio.lowlevel.checkpoint()


def _seeds(run: StoredRun) -> list[str]:
    return [seed["source_path"] for seed in run.seeds.values()]


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _without(person: Person, value: str | bytes | None) -> str | bytes | None:
    """Return a text, or JSON, of the state without the values."""
    if not person.is_in(_text(value)):
        return value
    plain: Any = _text(value)
    with suppress(ValueError):
        plain = orjson.loads(plain)
    is_json = isinstance(plain, dict | list)
    left = orjson.dumps(person.without(plain)) if is_json else person.without(_text(value)).encode()
    return left if isinstance(value, bytes) else left.decode()


def _forget_values(path: Path, asked: Asked, names: Sequence[Sequence[str]]) -> None:
    """Remove the digests of the values, which no row of a later run may repeat (see `EarlierValues`)."""
    if path.exists():
        pairs = [(name, value) for value, of in zip(asked.match.values(), names, strict=True) for name in of]
        digests = [(sha256(f"{name}\n{value}".encode()).digest()[:16],) for name, value in pairs]
        with closing(sqlite3.connect(path, timeout=60)) as db, db:
            db.execute("PRAGMA secure_delete = ON")
            db.executemany("DELETE FROM digests WHERE digest = ?", digests)


def _begin(folder: Path, draft: Path) -> None:
    """Note a new file before it exists."""
    folder.mkdir(mode=0o700, exist_ok=True)
    commit.begin(folder, {"kind": commit.FILE, "draft": str(draft)})


def _remove(folder: Path, begun: Sequence[Json]) -> None:
    for step in begun:
        commit.remove_draft(step)
    rmtree(folder)


def _files(job: Read) -> list[Read]:
    """Return the jobs for the parts of an output, or the job itself."""
    path = Path(job.path)
    if path.name != MANIFEST:
        return [job]
    return [evolve(job, path=str(path.with_name(name)), identity="") for name in named_in(path)]


def _step(run: StoredRun, part: str, draft: Path, place: str) -> Json:
    """Return the step that puts a new file in place."""
    step: Json = {"from": str(draft), "to": place, "part": part}
    if is_store_url(place):
        own = {"kind": "store", "url": place, "run": run.run_id}
        return step | own | {"identity": identity_of_copies(draft)}
    return step | {"kind": commit.FILE, "identity": identity(draft)}


def _write_manifest(folder: Path, manifest: Path, draft: Path, rows: Mapping[str, tuple[int, Path]]) -> None:
    """Write the manifest of the new parts, each of which lacks so many rows."""
    _begin(folder, draft)
    about = orjson.loads(manifest.read_bytes())
    for part in about["parts"]:
        if part["file"] in rows:
            gone, file = rows[part["file"]]
            part |= {"rows": part["rows"] - gone, "bytes": file.stat().st_size}
    about |= {name: sum(part[name] for part in about["parts"]) for name in ("rows", "bytes")}
    commit.write_durably(draft, orjson.dumps(about, option=orjson.OPT_INDENT_2))


_RUN = re.compile("run_[0-9a-f]{32}")
_WORD = re.compile(r'"([^"]+)"|([^\W\d]\w*)')


def _columns(flow: Flow, name: str) -> set[str]:
    """Return the columns, in lower case, that may have a value: of this name, filled from it, or filling it."""
    definition, filled = flow.definition, dict[str, set[str]]()
    for table in (definition, *definition.get("layouts", {}).values()):
        for target, given in table.get("columns", {}).items():
            names = [*given.get("from", ()), *map("".join, _WORD.findall(given.get("sql", "")))]
            # A member of an object is found by its own name.
            read = {part.lower() for one in names or [target] for part in (one, re.split("[/.]", one)[-1])}
            filled.setdefault(target.lower(), {target.lower()}).update(read)
    return {name.lower()}.union(*(names for names in filled.values() if name.lower() in names))


def _tables(flow: Flow, asked: Asked, names: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the tables of a flow, which others use, too; with a statement for its rows if it has the columns."""
    found = dict[str, str]()
    if flow.rejects_table is not None:
        found[f"table {flow.rejects_table.table} of {flow.rejects_table.url_env}"] = "has rejects: look there"
    if isinstance(flow.mapped, TableTarget):
        conditions = list[str]()
        for value, of in zip(asked.match.values(), names, strict=True):
            some = (quoted(column.name) for column in flow.columns if column.name.lower() in of)
            literal = value.replace("'", "''")
            conditions.append(" OR ".join(f"{name} = '{literal}'" for name in some) or "false")
        table = ".".join(map(quoted, flow.mapped.table.split(".")))
        statement = f"DELETE FROM {table} WHERE ({') AND ('.join(conditions)})"  # noqa: S608 - for people
        found[f"table {flow.mapped.table} of {flow.mapped.url_env}"] = f"run there: {statement}"
    return found
