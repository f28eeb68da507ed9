"""Forgets a person: the rows that have certain values, wherever the server keeps them.

The outputs of a run are rewritten as a commit in a folder of its own: the new files are written beside the old ones,
the commit is noted, they are put in place, and one transaction records their identities. If a process is killed in
between, the next server finishes that. An upload is removed before the outputs, which prove what it has.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from shutil import rmtree
from typing import Any

import anyio
import anyio.lowlevel
import orjson
from anyio.to_thread import run_sync
from attrs import asdict, define, evolve, field, frozen

from lume_async._base.words import counted
from lume_local._flow.databases import DATABASE, TableTarget
from lume_local._flow.definition import Flow, quoted
from lume_local._flow.lakes import DELTA
from lume_local._flow.urls import is_store_url
from lume_local._runs.backup_notes import noted_backups
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.health import why
from lume_local._runs.recovery.settle import Settler
from lume_local._runs.row_reader import output_job
from lume_local._runs.sources.paths import UPLOAD, PathRefused, Roots
from lume_local._runs.sources.run_paths import values_of
from lume_local._runs.sql.sql_forget import FILES, TEXTS
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.audit import FORGET, Act
from lume_local._runs.store.records import StoredRun, StoreFailed, StoreUnavailable
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import commit
from lume_local._shared.folders import MANIFEST, named_in
from lume_local._shared.identity import identity, identity_of_copies, is_still
from lume_local._shared.person import LEAST, Person
from lume_local._shared.protocol import Failed, Forget, Forgotten, Json
from lume_local._shared.row_set import as_text, of_text, rows_in

_log = logging.getLogger("lume_local")

TURN = 5.0
"""Seconds after which a request is answered, and its cursor goes on."""
_AT_ONCE = 50
_RUN = re.compile("run_[0-9a-f]{32}")
_WORD = re.compile(r'"([^"]+)"|([^\W\d]\w*)')


@frozen
class Search:
    """A request of the key `by` and its findings: rows and texts by place, uploads, why places are `left`.

    Attributes:
        tables: whether rows of tables are deleted, too.
        rows: how many rows of runs each table has.
        backups: when each backup was made that the server knows.
    """

    match: Mapping[str, str] = field(repr=False)
    ignore_case: bool
    dry_run: bool
    by: str
    tables: bool = False
    counts: Counter[str] = field(factory=Counter)
    rows: Counter[str] = field(factory=Counter)
    uploads: set[str] = field(factory=set)
    left: dict[str, str] = field(factory=dict, repr=False)
    backups: dict[str, str] = field(factory=dict)

    @property
    def values(self) -> list[str]:
        return list(self.match.values())

    @property
    def person(self) -> Person:
        return Person(self.values, self.ignore_case)


@define
class _Loaded:
    """A table: the flows that load it, each with the columns to compare by value, and statements for its rows."""

    flows: dict[str, list[set[str]]] = field(factory=dict)
    statements: dict[str, str] = field(factory=dict)


class Forgetter:
    """Forgets one person at a time. For `remove_upload` see `OldFiles`, for `archive` the `Purger`."""

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
        record = await run_sync(commit.committed, self._folder)
        if record is not None:
            if trouble := await self._settler.finished(self._folder, record["steps"]):
                raise StoreUnavailable(f"an output is not in place yet: {trouble.text}")
            await self._store.forgetting.note(record["done"])
            await self._store.settled()
        await run_sync(_remove, self._folder)

    async def recover(self) -> None:
        """Do the same before requests are answered; if that fails, the next request of this kind tries again."""
        try:
            await self.finish()
        except (StoreFailed, OSError) as error:
            _log.warning("the rows of a person are not removed yet: %s; repeat `lume forget`", why(error))

    async def part(self, search: Search, after: int) -> int | None:
        """Forget the person in some of the runs after one, and last in everything else.

        Returns the number of the last run, None at the end. Raises OSError, `StoreFailed`, `WorkerDied`.
        """
        async with self._one:
            await self.finish()
            end = anyio.current_time() + TURN
            while runs := await self._store.forgetting.runs(after, _AT_ONCE):
                for run in runs:
                    try:
                        await self._run(search, run)
                    finally:
                        with anyio.CancelScope(shield=True):
                            await self.finish()
                    after = run.seq
                    if anyio.current_time() > end:
                        return after
            await self._rest(search)
            return None

    async def _run(self, search: Search, run: StoredRun) -> None:
        if not run.target_locations:
            return
        if not self._flows.is_known(run.flow_version):
            search.left[run.run_id] = f"was not searched: {run.flow_version} is not known any more"
            return
        flow, counts, steps = self._flows.parsed(run.flow_version), Counter[str](), list[Json]()
        identities = dict[str, str]()
        rejects, names = 0, [sorted(_columns(flow, name)) for name in search.match]
        for part in ("mapped", "rejects"):
            counts[part], which, found = await self._output(search, run, flow, part, names)
            rejects, steps = rejects | which, steps + found
            identities |= {part: found[-1]["identity"]} if found else {}
        if not counts.total():
            return
        # No run of the flow may read the outputs meanwhile, or replace them.
        async with self._store.submissions_paused():
            for other in await self._store.unfinished():
                if other.flow_version.partition(":")[0] == flow.name and not search.dry_run:
                    search.left[run.run_id] = (
                        f"is unchanged, as {other.run_id} is active: repeat it afterwards"
                    )
                    return
            search.counts.update({"outputs": counts["mapped"], "rejects": counts["rejects"]})
            if not run.source_path.startswith(UPLOAD):
                search.left[run.source_path] = "is a source, which is only read: a rerun brings the rows back"
            elif (upload := self._roots.uploads / run.source_path.removeprefix(UPLOAD)).exists():
                await self._upload(search, upload)
            if not search.dry_run:
                done: Json = {"run_id": run.run_id, "by": search.by, "columns": sorted(search.match)}
                done |= {"outputs": identities, "mapped": counts["mapped"], "rejects": as_text(rejects)}
                # A cancelled request leaves no output that is not the one in the state.
                with anyio.CancelScope(shield=True):
                    await run_sync(commit.commit, self._folder, {"steps": steps, "done": done})
                    await self.finish()

    async def _output(
        self, search: Search, run: StoredRun, flow: Flow, part: str, names: list[list[str]]
    ) -> tuple[int, int, list[Json]]:
        """Return how many rows of an output are the person's, which rejects, and the steps that replace its files."""
        job = await output_job(self._store, self._roots, run, flow, part)
        if job is None or (part == "mapped" and not isinstance(flow.mapped, str)):
            return 0, 0, []
        steps, rejects, parts, rows = list[Json](), 0, [""], dict[str, tuple[int, Path]]()
        is_parts = Path(job.path).name == MANIFEST
        if is_parts and await run_sync(is_still, Path(job.path), job.identity):
            parts = await run_sync(named_in, Path(job.path))
        for name in parts:
            place = str(Path(job.path).with_name(name)) if name else job.path
            read = evolve(job, path=place, folder=str(self._roots.state / "rows"))
            read = evolve(read, identity="") if name else read
            wanted = Forget(search.values, search.ignore_case, asdict(read), names)
            answer = await self._pool.forget(wanted)
            if isinstance(answer, Forgotten) and answer.count and not search.dry_run:
                draft = await self._begun(run, part, place)
                ever = [column.name.lower() for column in flow.columns if column.ever]
                earlier = {"path": str(values_of(self._roots, flow)), "run_id": run.run_id, "columns": ever}
                wanted = evolve(wanted, draft=str(draft), earlier=earlier)
                answer = await self._pool.forget(wanted)
                if isinstance(answer, Forgotten):
                    steps.append(await run_sync(_step, run, part, draft, place))
            if isinstance(answer, Failed):
                if not await self._store.overtaken_by(run, "", run.target_locations[part], of_source=False):
                    search.left[place] = f"was not searched: {answer.message}"
            elif answer.count:
                rows[name] = answer.count, Path(wanted.draft)
                rejects |= of_text(answer.which)
        if is_parts and steps:
            draft = await self._begun(run, part, job.path)
            await run_sync(_write_manifest, Path(job.path), draft, rows)
            steps.append(await run_sync(_step, run, part, draft, job.path))
        return sum(count for count, _ in rows.values()), rejects, steps

    async def _begun(self, run: StoredRun, part: str, place: str) -> Path:
        """Return the path of a new file, noted before it exists."""
        folder = self._folder if is_store_url(place) else Path(place).parent
        draft = folder / f".forget-{run.run_id}-{part}-{Path(place).name}"
        await run_sync(_begin, self._folder, draft)
        return draft

    async def _upload(self, search: Search, path: Path) -> None:
        source = UPLOAD + path.name
        for run in await self._store.unfinished():
            if source in (run.source_path, *(seed["source_path"] for seed in run.seeds.values())):
                search.left[source] = f"is read by {run.run_id}, which has not ended: repeat it afterwards"
                return
        search.uploads.add(path.name)
        if not search.dry_run:
            await run_sync(self._remove_upload, path, math.inf)

    async def _rest(self, search: Search) -> None:
        """Remove the uploads that have the values, read by a run or not, and replace the values in texts."""
        for run in await self._store.unfinished():
            search.left[run.run_id] = "has not ended, and was not searched: repeat it afterwards"
        for stored in self._flows.all():
            if search.person.is_in(orjson.dumps(stored.definition).decode()):
                search.left[stored.ref] = "has the values in its definition, which stays"
        if min(map(len, search.values)) < LEAST:
            search.left["uploads and texts"] = f"were not searched: a value has fewer than {LEAST} characters"
        else:
            unread = await self._unread()
            files = [*self._roots.uploads.iterdir(), *await self._strange(), *unread]
            for start in range(0, len(files), _AT_ONCE):
                some = files[start : start + _AT_ONCE]
                answer = await self._pool.forget(
                    Forget(search.values, search.ignore_case, files=[*map(str, some)])
                )
                assert not isinstance(answer, Failed)
                for path in (some[number] for number in rows_in(of_text(answer.which))):
                    if path.parent == self._roots.uploads:
                        await self._upload(search, path)
                    elif path in unread:
                        search.left[str(path)] = "has the values, and has no output: remove the rows there"
                    else:
                        search.left[str(path)] = "has the values, and is of runs that were removed: remove it"
            for table in TEXTS:
                await self._texts(search, table)
        traces = dict[str, list[str]]()
        for (url_env, name, part), loaded in self._tables(search).items():
            about = {"url_env": url_env, "table": name, "part": part}
            traces[url_env] = await self._table(search, about, loaded)  # after the last one of a file
        for file in chain.from_iterable(traces.values()):
            search.left[file] = (
                "still has the values, in other rows or in free pages: look, then run VACUUM there"
            )
        search.left["backups"] = "can't be listed: a folder of them doesn't answer"
        with anyio.move_on_after(TURN):
            search.backups.update(await run_sync(noted_backups, self._roots.state, abandon_on_cancel=True))
            del search.left["backups"]
        if not search.dry_run:
            detail = {
                "columns": sorted(search.match),
                "uploads": len(search.uploads),
                "texts": search.counts["texts"],
                "tables": search.rows.total() if search.tables else 0,
            }
            await self._store.audit.note(Act(search.by, FORGET, "uploads and texts", detail))
            await self._store.wipe()

    def _tables(self, search: Search) -> dict[tuple[str, str, str], "_Loaded"]:
        """Return the tables of all flow versions, by variable, name and part."""
        found = dict[tuple[str, str, str], _Loaded]()
        for flow in (self._flows.parsed(stored.ref) for stored in self._flows.all()):
            names = [_columns(flow, name) for name in search.match]
            for part, target in (("mapped", flow.mapped), ("rejects", flow.rejects_table)):
                if isinstance(target, TableTarget) and target.kind == DATABASE:
                    one = found.setdefault((target.url_env, target.table, part), _Loaded())
                    before = one.flows.get(flow.name, names)
                    one.flows[flow.name] = [of | more for of, more in zip(names, before, strict=True)]
                    if part == "mapped":
                        one.statements[flow.name] = _statement(target, flow, search.values, names)
                elif isinstance(target, TableTarget):
                    by_hand = f"run there: {_statement(target, flow, search.values, names)}"
                    told = by_hand if part == "mapped" else "may have rejects of the person: look there"
                    search.left[f"table {target.table} of {target.catalog or target.kind}"] = told
        return found

    async def _table(self, search: Search, about: Json, loaded: "_Loaded") -> list[str]:
        """Count the rows of a table, and delete them on request; name it if rows stay there.

        Returns the files of its database that still have the values.
        """
        place = f"table {about['table']} of {about['url_env']}"
        about |= {"flows": [[flow, list(map(sorted, names))] for flow, names in loaded.flows.items()]}
        deletes = search.tables and not search.dry_run
        job = Forget(search.values, search.ignore_case, table=about | {"deletes": False})
        try:
            answer = await self._pool.forget(job)
            if isinstance(answer, Forgotten) and deletes:
                if answer.count:
                    # First, so that no row goes without an act. The last act counts those that went.
                    detail = {"columns": sorted(search.match), "rows": answer.count}
                    await self._store.audit.note(Act(search.by, FORGET, place, detail))
                answer = await self._pool.forget(evolve(job, table=about | {"deletes": True}))
        except WorkerDied as error:
            answer = Failed(str(error), None)
        by_hand = "; ".join(dict.fromkeys(loaded.statements.values()))
        by_hand = by_hand and f"; or run there: {by_hand}"
        if isinstance(answer, Failed):
            search.left[place] = f"was not searched, or is unchanged: {answer.message}{by_hand}"
            return []
        search.rows[place] += answer.count
        found = list[str]()
        if answer.count and not search.tables:
            found.append(f"{counted(answer.count, 'row')} of runs: repeat it with tables")
        if answer.others:
            found.append(f"{counted(answer.others, 'row')} that no run has loaded: look there")
        if found:
            search.left[place] = f"has {' and '.join(found)}{by_hand}"
        return answer.traces

    async def _strange(self) -> list[Path]:
        """Return the files of the archive, and the outputs of runs that are no longer in the state."""
        own = self._roots.state, self._roots.runs, self._roots.uploads
        files = [*(self._archive or self._folder).glob("*.parquet")]
        for path in await run_sync(lambda: list(self._roots.data.rglob("*"))):
            run_id = _RUN.search(str(path))
            if run_id and path.is_file() and not any(folder in path.parents for folder in own):
                files += [] if await self._store.get(run_id[0]) else [path]
        return files

    async def _unread(self) -> set[Path]:
        """Return the files that runs without output should have read, and those in folders for failed files."""
        found = set[Path]()
        for table in FILES:
            after = tuple[Any, ...]()
            while rows := await self._store.forgetting.texts(table, after, _AT_ONCE, FILES):
                after = tuple(rows[-1])[:-1]
                for source in (row[-1] for row in rows if not (row[-1] or UPLOAD).startswith(UPLOAD)):
                    with suppress(PathRefused):  # it is in a store, or the roots are other ones now
                        found.add(self._roots.source(source))
        return found

    async def _texts(self, search: Search, table: str) -> None:
        person, key, after = search.person, TEXTS[table][0].count(",") + 1, tuple[Any, ...]()
        while rows := await self._store.forgetting.texts(table, after, _AT_ONCE):
            for row in map(tuple, rows):
                after, new = row[:key], [without(person, text) for text in row[key:]]
                search.counts["texts"] += new != [*row[key:]]
                if new != [*row[key:]] and not search.dry_run:
                    await self._store.forgetting.replace(table, after, new)
            await anyio.lowlevel.checkpoint()


def without(person: Person, value: str | bytes | None) -> str | bytes | None:
    """Return a text, or JSON, of the state without the values."""
    text = value.decode() if isinstance(value, bytes) else value or ""
    if not person.is_in(text):
        return value
    plain: Any = text
    with suppress(ValueError):
        plain = orjson.loads(text) if text[0] in "{[" else text
    left = person.without(plain)
    text = left if isinstance(left, str) else orjson.dumps(left).decode()
    return text.encode() if isinstance(value, bytes) else text


def _begin(folder: Path, draft: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    commit.begin(folder, {"kind": commit.FILE, "draft": str(draft)})


def _remove(folder: Path) -> None:
    for step in commit.begun(folder):
        commit.remove_draft(step)
    rmtree(folder)


def _step(run: StoredRun, part: str, draft: Path, place: str) -> Json:
    """Return the step that puts a new file in place."""
    step: Json = {"from": str(draft), "to": place, "part": part}
    if is_store_url(place):
        return step | {
            "kind": "store",
            "url": place,
            "run": run.run_id,
            "identity": identity_of_copies(draft),
        }
    return step | {"kind": commit.FILE, "identity": identity(draft)}


def _write_manifest(manifest: Path, draft: Path, rows: Mapping[str, tuple[int, Path]]) -> None:
    """Write the manifest of the new parts, each of which lacks so many rows."""
    about = orjson.loads(manifest.read_bytes())
    for part in about["parts"]:
        if part["file"] in rows:
            gone, file = rows[part["file"]]
            part |= {"rows": part["rows"] - gone, "bytes": file.stat().st_size}
    about |= {name: sum(part[name] for part in about["parts"]) for name in ("rows", "bytes")}
    commit.write_durably(draft, orjson.dumps(about, option=orjson.OPT_INDENT_2))


def _columns(flow: Flow, name: str) -> set[str]:
    """Return the columns, in lower case, that may have a value: of this name, filled from it, or filling it."""
    filled = dict[str, set[str]]()
    for column in chain(flow.columns, *(layout.columns for layout in flow.layouts)):
        names = [*(column.aliases.names if column.aliases else ()), *map("".join, _WORD.findall(column.sql))]
        # A member of an object is found by its own name.
        read = {part.lower() for one in names for part in (one, re.split("[/.]", one)[-1])}
        filled.setdefault(column.name.lower(), {column.name.lower()}).update(read)
    return {name.lower()}.union(*(names for names in filled.values() if name.lower() in names))


def _statement(target: TableTarget, flow: Flow, values: Sequence[str], names: Sequence[set[str]]) -> str:
    """Return the statement that deletes the rows with the values, whoever has written them."""
    every, table, spelled = list[str](), ".".join(map(quoted, target.table.split("."))), quoted
    if target.kind == DELTA:
        table, spelled = f"delta.`{target.table}`", "`{}`".format
    for value, of in zip(values, names, strict=True):
        some = (spelled(column.name) for column in flow.columns if column.name.lower() in of)
        every.append(
            " OR ".join(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name in some) or "false"
        )
    return f"DELETE FROM {table} WHERE ({') AND ('.join(every)})"  # noqa: S608 - for people
