"""Replays: open rejects of many runs go through a version of their flow again, unchanged or edited.

They are gathered in files, one for each set of columns, and each file is the source of a run. That run claims its
rows in the transaction that creates it, and closes those it accepts in the one that ends it. So even if a process is
killed, each row is in one replay at a time and accepted once.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.to_thread import run_sync
from attrs import asdict, define, field, frozen

from lume_local._flow.definition import Flow
from lume_local._flow.source_settings import OBJECTS
from lume_local._runs.dry_run import DryRunResult, DryRuns
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.output_reads import PLAIN, lines_of
from lume_local._runs.row_reader import RowReader, output_job
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import REPLAY, UPLOAD, Roots
from lume_local._runs.sources.resolver import SourceResolver
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.drafts import DraftChanged, Review
from lume_local._runs.store.ledger import Claim, Claimed, RowFilter, RowsOfRun, records_in
from lume_local._runs.store.records import Duplicate, KeyReused, NewRun, StoredRun
from lume_local._shared import no_links
from lume_local._shared.commit import sync_file, sync_folder
from lume_local._shared.protocol import Gather, Json
from lume_local._shared.row_set import all_rows, as_text, of_text

_MOST_RUNS = 10_000
"""The maximum number of runs whose rows one request replays; the rest stay open."""
_AT_ONCE = 32
"""The maximum number of runs whose rows one job gathers."""
_ATTEMPTS = 3
_OWN_PLACE = ("{run_id}", "{source_path}")


class ReplayRefused(Exception):
    """This version can't replay rows. The message says why and what to do."""


@frozen
class UnreadRows:
    """Unreadable open rows of a run: how many, and why."""

    run_id: str
    rows: int
    kind: str
    problem: str

    @classmethod
    def removed(cls, one: RowsOfRun) -> "UnreadRows":
        words = "the output was removed when its time was over"
        return cls(one.run_id, one.rows.bit_count(), "output-gone", words)


class Started(NamedTuple):
    """The replays that a request has started.

    Attributes:
        rows: how many rows they have.
        replaying: the replays of the flow that were active before.
    """

    runs: list[StoredRun]
    rows: int
    replaying: list[str]
    unread: list[UnreadRows]


@define
class Tried:
    """The result that a replay would have.

    Attributes:
        passed: how many rows it would accept.
        reasons: for each present reason, how many rows have it and how many of them would be accepted.
        rejected_for: the new reasons of the other rows.
        messages: why it would fail.
    """

    rows: int = 0
    passed: int = 0
    reasons: dict[str, list[int]] = field(factory=dict)
    rejected_for: Counter[str] = field(factory=Counter)
    messages: list[str] = field(factory=list)
    unread: list[UnreadRows] = field(factory=list)


Edits = Mapping[str, Json]
"""Replacement values by column, for the number of a reject, from 0, as a string."""


class GatheredRows(NamedTuple):
    """The files with rows of runs, the sources of these rows (None if unknown), and the rows that can't be read."""

    files: dict[Path, list[Claim]]
    sources: dict[Path, set[str | None]]
    unread: list[UnreadRows]

    def described(self, path: Path, to: Flow, reasons: Sequence[str] | None) -> Json:
        """Return the metadata of a run on a file; they name the source if all rows are of one."""
        found: Json = {"flow": to.name, "rows": records_in(self.files[path])}
        found |= {"reasons": list(reasons)} if reasons else {}
        source, *others = self.sources[path]
        return found if others or source is None else found | {"source_path": source}


@frozen(eq=False, repr=False)
class Replays:
    _store: SqlStore
    _flows: FlowRegistry
    _runner: Runner
    _dry_runs: DryRuns
    _resolver: SourceResolver
    _reader: RowReader
    _roots: Roots

    async def clear(self) -> None:
        """Remove the files of replays that have ended."""
        used = {Path(key.partition("#")[0]).name for key in await self._store.active_sources()}

        def remove() -> None:
            for path in [*self._roots.uploads.glob(f"{REPLAY}*"), *self._roots.uploads.glob(f".{REPLAY}*")]:
                if path.name not in used:
                    path.unlink(missing_ok=True)

        await run_sync(remove)

    # -- operations

    async def start(self, wanted: RowFilter, to: Flow, key: str | None, by: str) -> Started:
        """Replay the open rows. Raises `ReplayRefused`, `KeyReused`, `CantTell`, `WorkerDied`.

        Args:
            key: the key of a request that may be a repetition; its earlier replays are found, and missing rows added.
            by: the name of the API key.
        """
        check_version(to)
        before = await self._store.ledger.replays(to.name)
        runs, rows = await self.of_key(key), 0
        before = [run_id for run_id in before if run_id not in {run.run_id for run in runs}]
        unread: list[UnreadRows] = []
        for _ in range(_ATTEMPTS):
            found = await self._store.ledger.rows(wanted, 0, _MOST_RUNS)
            async with self.gathered(found, to) as gathered:
                unread = gathered.unread
                try:
                    for path, claims in gathered.files.items():
                        fields = {"replay": gathered.described(path, to, wanted.reasons)}
                        runs.append(
                            await self.submitted(path, claims, to, fields, numbered(key, len(runs)), by)
                        )
                        rows += records_in(claims)
                    break
                except Claimed:
                    continue  # other requests have claimed some of the rows
        return Started(runs, rows, before, unread)

    async def attempt(self, wanted: RowFilter, to: Flow, by: str, *, is_draft: bool = False) -> Tried:
        """Return the result that a replay would have. Raises `ReplayRefused`, `WorkerDied`.

        Args:
            is_draft: whether the version is not registered; if so, also raises `FlowError`.
        """
        check_version(to)
        tried = Tried()
        found = await self._store.ledger.rows(wanted, 0, _MOST_RUNS)
        async with self.gathered(found, to) as gathered:
            for path, claims in gathered.files.items():
                done = await self.tried(path, claims, to, by, is_draft=is_draft)
                await self._add(tried, claims, done)
            tried.unread = gathered.unread
        return tried

    # -- rows

    @asynccontextmanager
    async def gathered(
        self, found: Sequence[RowsOfRun], to: Flow, edits: Mapping[str, Edits] | None = None
    ) -> AsyncIterator[GatheredRows]:
        """Provide the files with the rows; those not moved away are removed when the block ends.

        Args:
            edits: the replacement values for each run's rows; None leaves the rows unchanged.
        """
        draft = self._roots.uploads / f".{REPLAY}{uuid.uuid4().hex}"

        def discard() -> None:
            for path in draft.parent.glob(f"{draft.name}*"):
                path.unlink(missing_ok=True)

        gathered = GatheredRows({}, {}, [])
        try:
            for at in range(0, len(found), _AT_ONCE):
                await self._gather(gathered, found[at : at + _AT_ONCE], draft, to, edits)
            yield gathered
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(discard)

    async def _gather(
        self,
        into: GatheredRows,
        found: Sequence[RowsOfRun],
        draft: Path,
        to: Flow,
        edits: Mapping[str, Edits] | None,
    ) -> None:
        source = to.source
        dialect = {"delim": source.delim, "quote": source.quote, "escape": source.escape}
        csv = PLAIN if source.format != "csv" else dialect if source.encoding == "utf-8" else {}
        answers, sources = dict[int, list[Json]](), dict[int, str | None]()
        # Rows of tables that become objects are kept apart: an object may lack a member, but a table that lacks a
        # column is refused, and not read as NULLs.
        parts: dict[bool, dict[int, Json]] = {False: {}, True: {}}
        for n, one in enumerate(found):
            run = await self._store.require(one.run_id)
            sources[n] = rejecting_source(run)
            flow = self._flows.parsed(run.flow_version)
            read = await output_job(self._store, self._roots, run, flow, "rejects")
            if read is None:
                answers[n] = [asdict(UnreadRows.removed(one))]
                continue
            of_objects = flow.source.format in OBJECTS and source.format in OBJECTS
            # The rejects of XML are a table, too, unless they are NDJSON.
            of_xml = source.format == "xml" and not read.path.lower().endswith(".ndjson")
            part: Json = {"read": asdict(read), "rows": as_text(one.rows), "lines": lines_of(run, flow)}
            part |= {} if edits is None else {"edits": edits[one.run_id]}
            parts[not of_objects or of_xml][n] = part
        for of_tables, some in parts.items():
            if some:
                target = f"{draft}-table" if of_tables else str(draft)
                job = Gather([*some.values()], target, {} if source.format in OBJECTS else csv, of_tables)
                answers |= zip(some, (await self._reader.gather(job)).parts, strict=True)
        for n, one in enumerate(found):
            for file in answers[n]:
                if "kind" in file:
                    missing = one.rows.bit_count()
                    into.unread.append(UnreadRows(one.run_id, missing, file["kind"], file["problem"]))
                    if file["kind"] == "output-gone":
                        await self._store.ledger.set_lost(one.run_id, is_lost=True)
                    continue
                claims = into.files.setdefault(path := Path(file["path"]), [])
                into.sources.setdefault(path, set()).add(sources[n])
                claims.append(Claim(one.seq, records_in(claims), of_text(file["rows"]), edits is not None))

    # -- runs

    async def of_key(self, key: str | None) -> list[StoredRun]:
        """Return the replays that a request with this key has started before."""
        runs: list[StoredRun] = []
        while key is not None and (found := await self._store.run_of_key(str(numbered(key, len(runs))))):
            runs.append(await self._store.require(found))
        return runs

    async def submitted(
        self,
        draft: Path,
        claims: list[Claim],
        to: Flow,
        metadata: Json,
        key: str | None,
        by: str,
        approval: Review | None = None,
    ) -> StoredRun:
        """Submit a run on a gathered file. Raises `Claimed`, `KeyReused`, `CantTell`, `Duplicate`.

        With an approval, also raises `DraftChanged`.

        The file stays if a run has it or may have it; see `clear`.
        """
        source_path = await self._put(draft)
        is_used = False
        try:
            found = await self._resolver.resolved(to, source_path)
            new = NewRun(
                *(to.ref, source_path, found.source_key, metadata, False, key, "replay"),
                submitted_by=by,
                approval=approval,
            )
            is_used = True
            try:
                run, is_used = await self._runner.submit(new, claims)
            except (Claimed, KeyReused, Duplicate, DraftChanged):
                is_used = False
                raise
            return run
        finally:
            if not is_used:
                await self._drop(source_path)

    async def _put(self, draft: Path) -> str:
        """Make a draft the durable source of a run; return its source path."""
        final = self._roots.uploads / f"{REPLAY}{uuid.uuid4().hex}{draft.suffix}"

        def put() -> None:
            sync_file(draft)
            no_links.replace(draft, final)
            sync_folder(final.parent)

        await run_sync(put)
        return UPLOAD + final.name

    async def tried(
        self, draft: Path, claims: Sequence[Claim], to: Flow, by: str, *, is_draft: bool = False
    ) -> DryRunResult:
        """Return the result that a run on a gathered file would have. Raises `WorkerDied`."""
        source_path = await self._put(draft)
        try:
            return await self._dry_runs.do(to, source_path, None, 0, by=by, claims=claims, is_draft=is_draft)
        finally:
            await self._drop(source_path)

    async def _drop(self, source_path: str) -> None:
        with anyio.CancelScope(shield=True):
            await run_sync(no_links.unlink, self._roots.uploads / source_path.removeprefix(UPLOAD))

    async def _add(self, tried: Tried, claims: list[Claim], done: DryRunResult) -> None:
        """Add the counts of a dry run of some claims."""
        rows = records_in(claims)
        rejected = of_text(done.ledger["rejected"]) if "rejected" in done.ledger else all_rows(rows)
        tried.rows += rows
        tried.passed += rows - rejected.bit_count()
        for claim in claims:
            refused = claim.own(rejected)
            for reason, having in (await self._store.ledger.reasons(claim.seq)).items():
                if mine := having & claim.rows:
                    counts = tried.reasons.setdefault(reason, [0, 0])
                    counts[0] += mine.bit_count()
                    counts[1] += (mine & ~refused).bit_count()
        tried.rejected_for.update(done.run.metrics.get("reject_reasons", {}))
        if done.run.error_message:
            tried.messages.append(done.run.error_message)


def remove_source(run: StoredRun, uploads: Path) -> None:
    """Remove the file of a replay that has ended: the original rejects still have its rows."""
    if run.source_path.startswith(UPLOAD + REPLAY):
        (uploads / run.source_path.removeprefix(UPLOAD)).unlink(missing_ok=True)


def check_version(to: Flow) -> None:
    if to.source.query:
        raise ReplayRefused(
            f"{to.ref} reads a query of a database and no files: correct the rows there, then run it again"
        )
    mapped = to.mapped
    if (
        isinstance(mapped, str)
        and not mapped.endswith("/")
        and not any(name in mapped for name in _OWN_PLACE)
    ):
        raise ReplayRefused(
            f"all runs of {to.ref} write {mapped}, so a replay would replace the rows there: put {{run_id}} into "
            "target.mapped of a new version, or run that on the whole sources"
        )


def numbered(key: str | None, number: int) -> str | None:
    return None if key is None else f"{key}#{number}"


def rejecting_source(run: StoredRun) -> str | None:
    """Return the source of a run's rows; for a run on rejects the source that had them, None if it is unknown."""
    about = run.run_metadata if isinstance(run.run_metadata, dict) else {}
    of = about.get("mend", about.get("replay"))
    found = of.get("source_path") if isinstance(of, dict) else about.get("resubmit_source", run.source_path)
    return found if isinstance(found, str) else None
