"""Cleans files by a flow in this process: no server, and nothing is kept but the outputs."""

import os
import select
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, wait
from functools import cached_property, partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from attrs import asdict, evolve

from lume_async._base.elided import bounded
from lume_async._base.extras import require
from lume_async._base.threads import in_thread
from lume_async._run.transfer import PlainData
from lume_async.errors import InvalidRequestError, RunFailedError
from lume_async.models import RunMetadata, RunStatus
from lume_local._flow.definition import Flow, LayoutRefused, read_definition
from lume_local._flow.fields import FlowError, toml_of
from lume_local._flow.mistakes import with_line
from lume_local._flow.places import SUFFIXES
from lume_local._flow.urls import is_store_url
from lume_local._http.documents import run_document
from lume_local._runs.output_reads import read_output
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.store.records import FollowUp, StoredRun
from lume_local._runs.times import Stages, closed, entered, now_text
from lume_local._shared.commit import FILE
from lume_local._shared.failing import on_error
from lume_local._shared.lock import held, holder_died
from lume_local._shared.protocol import (
    MEMORY_LIMIT,
    THREADS,
    Cancelled,
    Done,
    Event,
    Execute,
    Failed,
    Json,
    Progressed,
    RowsPage,
    StageBegun,
    Unreadable,
)
from lume_local._trials.mistaken import checked, text_of
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import confine_check, connect, memory_of
from lume_local._worker.main import run_job
from lume_local._worker.one_process import Instances
from lume_local._worker.outputs.pages import read_page
from lume_local._worker.targets.target_kinds import finish

if TYPE_CHECKING:
    import pyarrow


_WORK = ".lume-clean-"
"""The beginning of the name of a work folder beside the outputs, from which they are renamed into place."""
_PAGE = 100_000
"""Rows read at once from an output."""
_BLOCK = 1024 * 1024
_SMALL = 16 * 1024 * 1024
"""Bytes of files up to which a clean has the memory of a run. They may be compressed."""
_TICK = 100
"""Milliseconds between two looks whether a clean that waits for a pipe is to stop."""
_PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""Ends an Arrow stream."""
_turn = threading.Lock()
"""Held by the run of a clean, not while its source is read: that may be rows of another clean."""


_Path: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = PlainData | Sequence[_Path]
"""A path or several, bytes, a binary file object, rows, or a table."""
Definition: TypeAlias = _Path | Mapping[str, object]
"""The path of a flow file, its text, or its content."""


class Outputs(NamedTuple):
    """The files that a clean writes."""

    mapped: Path
    rejects: Path


class CleanResult:
    """The result of `clean`. Without `to`, its rows are in temporary files until it is closed or collected.

    Attributes:
        flow_version: the flow, as `flow:version`.
        status: `SUCCEEDED`, or `PARTIAL_FAILED` if rows were rejected.
        metrics: the counts as JSON, as in `metadata`; empty if nothing was counted.
        notes: what a server would have done in addition.
        mapped_location: the file of the clean rows; None without `to`.
        rejects_location: the file of the rejected rows; None without `to`, or if there are none.

    Examples:
        >>> with lume_local.clean("orders.csv", "orders.toml") as result:
        ...     for row in result.rejects():
        ...         print(row["_lume_line"], row["_lume_reasons"])
    """

    def __init__(
        self,
        run: StoredRun,
        flow: Flow,
        notes: tuple[str, ...] = (),
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        self._run, self._flow, self._folder = run, flow, folder
        self.notes, self.flow_version, self.status = notes, run.flow_version, RunStatus(run.status)
        self.metrics, places = run.metrics, run.target_locations
        if folder is not None:
            root = os.path.realpath(folder.name)
            places = {part: place for part, place in places.items() if place and not place.startswith(root)}
        self._places = places
        self.mapped_location: str | None = places.get("mapped")
        self.rejects_location: str | None = places.get("rejects")

    def to_dict(self) -> dict[str, Any]:
        """Return the result in the JSON form of a run."""
        shown = evolve(self._run, target_locations=self._places)
        return run_document(shown, follow_up=FollowUp(self.notes))

    @cached_property
    def metadata(self) -> RunMetadata:
        """What `metadata` of a run has: the counts, the reasons, the warnings, statistics of the columns."""
        return RunMetadata(self.to_dict()["metadata"])

    def mapped(self, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Iterate over the clean rows; a number with a fraction is a `decimal.Decimal`."""
        return islice(self._rows("mapped", None), limit)

    def rejects(self, *, reason: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Iterate over the rejected rows, each with `_lume_row`, `_lume_line` and `_lume_reasons`.

        Args:
            reason: only rows with this reason.
            limit: the maximum number of rows.
        """
        return islice(self._rows("rejects", reason), limit)

    def to_arrow(self) -> "pyarrow.Table":
        """Return the clean rows as an Arrow table. Raises `ModuleNotFoundError` without `pyarrow`."""
        require("pyarrow", "arrow", "to_arrow()")
        from pyarrow import ipc

        stream = BytesIO()
        self.write(stream, arrow=True)
        return ipc.open_stream(stream.getbuffer()).read_all()

    def write(self, target: IO[bytes], *, arrow: bool = False) -> None:
        """Write the clean rows: the content of their file, or an Arrow IPC stream."""
        if not arrow:
            with open(str(self._run.target_locations["mapped"]), "rb") as file:
                shutil.copyfileobj(file, target, _BLOCK)
            return
        with TemporaryDirectory(prefix="lume-arrow-") as folder:
            for page in self._pages("mapped", arrow=True, folder=os.path.realpath(folder)):
                target.write(Path(str(page.items)).read_bytes())
                os.unlink(str(page.items))
        target.write(_END)

    def _rows(self, part: str, reason: str | None) -> Iterator[dict[str, Any]]:
        import json
        from decimal import Decimal

        for page in self._pages(part, reason=reason) if self._run.target_locations.get(part) else ():
            yield from json.loads(page.items, parse_float=Decimal)

    def _pages(self, part: str, reason: str | None = None, **changes: Any) -> Iterator[RowsPage]:
        """Yield the output in pages. Raises OSError if it has changed or is gone."""
        job = evolve(read_output(self._run, self._flow, part, "", limit=_PAGE, reason=reason), **changes)
        while True:
            page = read_page(job)
            if isinstance(page, Unreadable):
                raise OSError(f"{job.path} can't be read: {page.problem}")
            yield page
            if page.position is None:
                return
            job = evolve(job, position=page.position, row=page.row, with_schema=False)

    def close(self) -> None:
        """Remove temporary files."""
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> "CleanResult":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<CleanResult {self.flow_version} {self.status}>"


def clean(
    source: Source,
    flow: Definition,
    *,
    to: _Path | None = None,
    rejects: _Path | None = None,
    layout: str | None = None,
) -> CleanResult:
    """Clean files by a flow, as a run of a server would, in this process and without a server.

    `source` replaces the `uri` of the flow. Values, reasons and their order are the same as in a run. Earlier runs
    are unknown, so `unique = "ever"` compares the rows of this source only. Threads may call
    this at the same time: they take turns, each with a database of its own.

    Args:
        source: a path, or several; bytes, a binary file, rows, or a table of pandas, polars or pyarrow. `s3://…` and
            other URLs of object stores are read; for a flow that reads a query, its argument.
        flow: the path of a flow file, its text, or its definition.
        to: a `.parquet`, `.csv` or `.ndjson` file for the clean rows, or a folder. Both files are complete, or stay
            as they were. By default they are temporary.
        rejects: the file for the rejected rows; by default beside `to`, as `NAME.rejects.csv`.
        layout: the layout of all files, one of the flow's; by default recognised.

    Raises:
        FlowError: the flow has a mistake; its `others` are the further ones.
        InvalidRequestError: an argument can't be used.
        RunFailedError: the source can't be read, or a rule of the flow forbids the result; nothing was written.

    Examples:
        >>> result = lume_local.clean("orders.csv", "orders.toml", to="orders.parquet")
        >>> print(result.metadata.metrics.rows_mapped, result.rejects_location)
    """
    parsed, compiled = flow_of(flow)
    if to is None and rejects is not None:
        raise InvalidRequestError("rejects is without effect unless to names a file or a folder")
    result = Cleaning(parsed, compiled, source, layout or "").clean(
        None if to is None else outputs_of(parsed, _named(source), to, rejects)
    )
    if result.status == RunStatus.FAILED:
        result.close()
        raise RunFailedError(f"{result.flow_version}: {result.metadata['error_message']}", run=result)
    return result


def flow_of(flow: Definition) -> tuple[Flow, Json]:
    """Return a flow and its compiled form. Raises `FlowError`, OSError."""
    if isinstance(flow, Mapping):
        return checked(_compiled, dict(flow), "")
    if not isinstance(flow, str | os.PathLike):
        kind = type(flow).__name__
        raise InvalidRequestError(f"flow must be a path, the text of a flow file or a dict, not {kind}")
    text = flow if isinstance(flow, str) and "\n" in flow else text_of(Path(flow))
    try:
        return checked(_compiled, toml_of(text), text)
    except FlowError as error:
        raise with_line(error, text) from None


def _compiled(definition: Json) -> Json:
    """Compile a flow in this process. Raises `FlowError`."""
    with connect() as connection:
        confine_check(connection)
        return compile_flow(connection, read_definition(definition))


def _memory(files: Sequence[tuple[Path, str]]) -> int:
    """Return the memory limit in bytes: that of a run, or for large files half of the memory, if it is more."""
    try:
        is_small = sum(path.stat().st_size for path, _ in files) <= _SMALL
    except OSError:  # the run tells which file is missing
        is_small = True
    if is_small:
        return MEMORY_LIMIT  # asking DuckDB costs as much as such a file
    with connect() as connection:
        return max(memory_of(connection) * 5 // 8, MEMORY_LIMIT)


def _named(source: Source) -> list[str]:
    """Return the paths and URLs of a source; empty for data."""
    if isinstance(source, str | os.PathLike):
        return [os.fspath(source)]
    if isinstance(source, list | tuple) and all(isinstance(one, str | os.PathLike) for one in source):
        return [os.fspath(cast(_Path, one)) for one in source]
    return []


def outputs_of(
    flow: Flow,
    sources: Sequence[str],
    to: _Path | None,
    rejects: _Path | None = None,
) -> Outputs:
    """Return where the outputs go: to a file, into a folder, or beside the source. Raises `InvalidRequestError`."""
    for named in (to, rejects):
        if named == "":
            raise InvalidRequestError("the name of an output is empty: name a file, or a folder for both")
        if named is not None and is_url(named):
            raise InvalidRequestError(
                "the outputs are files of this machine: name one, and copy it to the URL afterwards"
            )
    is_alone = len(sources) == 1 and not flow.source.query and Path(sources[0]).is_file()
    first = Path(sources[0]) if is_alone else Path(flow.name)
    if to is None or Path(to).is_dir() or str(to).endswith(os.sep):
        suffix = Path(flow.mapped).suffix.lower() if isinstance(flow.mapped, str) else ""
        stem = _stem(first) if is_alone else first.name
        name = f"{stem}.clean{suffix if suffix in SUFFIXES else SUFFIXES[0]}"
        mapped = Path(first.parent if to is None else to) / name
    else:
        mapped, stem = Path(to), Path(to).stem
    beside = mapped.with_name(f"{stem}.rejects{Path(flow.rejects).suffix.lower()}")
    return Outputs(_written(mapped), _for_rejects(beside if rejects is None else Path(rejects)))


def is_url(named: _Path) -> bool:
    return "://" in os.fspath(named)


def _stem(path: Path) -> str:
    """Return the name without its suffix, and without that of its compression."""
    return (Path(path.stem) if path.suffix.lower() in _PACKED else path).stem


def _written(path: Path) -> Path:
    """Return the file of an output, behind links. Raises `InvalidRequestError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequestError(
            f"{path} can't be written: name a file that ends with {', '.join(SUFFIXES)}"
        )
    return _real(path)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _for_rejects(path: Path) -> Path:
    """Return the file, which a clean without rejects removes: no other's. Raises `InvalidRequestError`, OSError."""
    file = _written(path)
    if file.is_file() and (size := file.stat().st_size):
        with file.open("rb") as content:
            ends = content.read(_BLOCK)
            content.seek(max(0, size - _BLOCK))
            ends = (ends + content.read()).replace(b"\0", b"")  # it may be UTF-16
        if b"_lume_" not in ends:
            raise InvalidRequestError(
                f"{file} exists and has no rejected rows: move it, or name another file with rejects="
            )
    return file


def _settle(folder: Path) -> None:
    """Finish or undo what killed processes left in a folder. Raises OSError."""
    for lock in folder.glob(f"{_WORK}*/lock"):
        if holder_died(lock):
            for run in lock.parent.glob("runs/*"):
                finish(run)
            shutil.rmtree(lock.parent, ignore_errors=True)


class Cleaning:
    """One clean, or one try of a flow; another thread may read its `progress` and `stop` it.

    Args:
        source: see `clean`.
        layout: empty to recognise the layout of each file.
        who: names this in messages.
    """

    def __init__(
        self, flow: Flow, compiled: Json, source: Source, layout: str = "", who: str = "lume_local.clean"
    ) -> None:
        self._flow, self._compiled, self._source = flow, compiled, source
        self._layout, self._who, self._named = layout, who, _named(source)
        self._stages: Stages = []
        self._stopped = threading.Event()
        self.stop = self._stopped.set
        self.progress = 0.0

    @property
    def stage(self) -> str:
        return str(self._stages[-1]["name"]) if self._stages else "CREATED"

    def _note(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            self._stages = entered(self._stages, event.name, event.rows, now_text())
            self.progress = event.progress
        elif isinstance(event, Progressed):
            self.progress = event.value

    def clean(
        self,
        outputs: Outputs | None,
        *,
        suffix: str = SUFFIXES[0],
        rejects: Path | None = None,
        dry: bool = False,
    ) -> CleanResult:
        """Return the result, which may be FAILED. Raises OSError if a folder can't be used.

        Args:
            outputs: None for temporary files.
            suffix: that of the temporary file of the clean rows.
            rejects: the file of the rejected rows beside a temporary file of the clean ones.
            dry: whether a run is only tried: what would make it fail is reported together with the rows.
        """
        near = None if outputs is None else outputs.mapped.parent
        if near is not None:
            near.mkdir(parents=True, exist_ok=True)
            _settle(near)
        folder = TemporaryDirectory(
            prefix=_WORK if near else "lume-clean-", dir=near, ignore_cleanup_errors=True
        )
        root = _real(Path(folder.name))
        temporary = Outputs(
            root / f"mapped{suffix}", root / f"rejects{Path(self._flow.rejects).suffix.lower()}"
        )
        if rejects is not None:
            temporary = temporary._replace(rejects=_for_rejects(rejects))
        with on_error(folder.cleanup), held(root / "lock"):
            run = self._run(root, outputs or temporary, dry=dry)
            if outputs is not None:
                folder.cleanup()
        return CleanResult(run, self._flow, self._notes(), None if outputs else folder)

    def _run(self, root: Path, outputs: Outputs, *, dry: bool) -> StoredRun:
        created = now_text()
        named = ", ".join(self._named) or "data"
        run = StoredRun(
            seq=0,
            run_id=f"clean_{uuid.uuid4().hex}",
            rev=0,
            flow_version=self._flow.ref,
            source_path="stdin" if named == "-" else named,
            source_key="",
            run_metadata=None,
            force_rerun=False,
            status=RunStatus.FAILED.value,
            created_at=created,
            started_at=created,
            layout=self._layout or None,
        )
        try:
            job = self._job(run.run_id, root, outputs, dry=dry)
            with _turn:
                outcome = self._executed(job)
        except (PathRefused, LayoutRefused) as error:
            outcome = Failed(str(error), None)
        now = now_text()
        run = evolve(run, finished_at=now, stages=closed(self._stages, None, now))
        if isinstance(outcome, Failed):
            return evolve(run, error_message=self._reworded(outcome.message), metrics=outcome.metrics or {})
        record = outcome.record
        metrics, message = bounded(record["metrics"]), record.get("message")
        return evolve(
            run,
            status=record["status"],
            stages=closed(self._stages, metrics["rows_mapped"], now),
            metrics=metrics,
            error_message=message and self._reworded(message),
            target_locations=record["built"] if dry else record["target_locations"],
        )

    def _executed(self, job: Execute) -> Done | Failed:
        # In the main thread, DuckDB would delay Ctrl-C until the end of its statement.
        run = in_thread(lambda: run_job(job, Instances(), self._note, self._stopped))
        with on_error(lambda: (self.stop(), wait([run]))):
            outcome, _ = run.result()
        if isinstance(outcome, Cancelled):
            raise CancelledError
        return outcome

    def _job(self, run_id: str, root: Path, outputs: Outputs, *, dry: bool) -> Execute:
        """Return the job. Raises `PathRefused`, `LayoutRefused`, OSError."""
        flow = self._flow
        if self._layout:
            flow.check_layout(self._layout)
        files = [] if flow.source.query else list(self._files(root))
        roots = Roots.of((Path.cwd(), *(path.parent for path, _ in files)), root)
        seeds = {
            seed.name: {
                "path": str(roots.source(seed.path, "seed")),
                "looked_up": ""
                if os.path.isabs(seed.path)
                else f" ({seed.path!r} is relative to the current folder, {Path.cwd()})",
            }
            for seed in flow.seeds
        }
        for seed in seeds.values():
            if seed["path"] in map(str, outputs):
                raise PathRefused(f"the target {seed['path']!r} is a seed of the flow: choose another place")
        folder = root / "runs" / run_id
        folder.mkdir(parents=True)
        return Execute(
            run_id=run_id,
            # There are no earlier runs whose values could be compared.
            flow=self._compiled | {"judged_by_table": False},
            source=self._place(roots, files),
            folder=str(folder),
            mapped={"kind": FILE, "path": str(outputs.mapped)},
            rejects={"kind": FILE, "path": str(outputs.rejects)},
            memory_limit=_memory(files),
            threads=THREADS,
            seeds=seeds,
            dry_run=dry,
            layout=self._layout,
        )

    def _place(self, roots: Roots, files: Sequence[tuple[Path, str]]) -> Json:
        """Return the place of the source. Raises `PathRefused`."""
        if query := self._flow.source.query:
            if len(self._named) != 1:
                raise PathRefused("the flow reads a query: name its argument, and only that")
            return {"kind": "query", **asdict(query), "source_path": self._named[0]}
        if not files:
            return {"kind": "store", "objects": [{"url": one, "pattern": ""} for one in self._named]}
        listed = [{"path": str(path), "shown": shown, "below": roots.relative(path)} for path, shown in files]
        return {"kind": "files", "files": listed, "looked_up": ""}

    def _files(self, root: Path) -> Iterator[tuple[Path, str]]:
        """Yield the files of this machine with their names in messages. Raises `InvalidRequestError`, OSError."""
        if self._named and all(map(is_store_url, self._named)):
            return
        for name in self._named:
            if is_url(name):  # which may have a password
                raise InvalidRequestError(
                    f"a URL of {name.partition('://')[0]:.20}:// can't be read here: name files of this machine, or "
                    "only objects of a store (s3://, gs://, az://); a server (`lume serve`) also reads SFTP"
                )
            path = Path(name)
            if name == "-":
                yield self._piped(0, root / "stdin"), "stdin"
            elif path.is_fifo():
                pipe = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    yield self._piped(pipe, root / f"pipe-{pipe}"), name
                finally:
                    os.close(pipe)
            else:
                yield _real(path), name
        if not self._named:
            yield self._data(root), "data"

    def _piped(self, pipe: int, file: Path) -> Path:
        """Copy the rest of a pipe to a file, which can be read twice; or the beginning, if `stop` is called."""
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        with file.open("wb") as copy:
            while not self._stopped.is_set():
                if ready.poll(_TICK):
                    block = os.read(pipe, _BLOCK)
                    if not block:
                        break
                    copy.write(block)
        return file

    def _data(self, root: Path) -> Path:
        """Write data of a program to a file, as the flow reads them. Raises `InvalidRequestError`."""
        from lume_async._run import row_files  # here: it imports the client

        try:
            rows_as = partial(row_files.format_for, self._flow.definition, self._layout or None)
            return row_files.written(cast(PlainData, self._source), rows_as, root, "source")
        except InvalidRequestError as error:
            raise InvalidRequestError(str(error).removesuffix("; no request was sent")) from None

    def _notes(self) -> tuple[str, ...]:
        """Return what a run of a server would do in addition."""
        flow, notes = self._flow, list[str]()
        if not isinstance(flow.mapped, str) or flow.rejects_table is not None:
            notes.append(
                f"{flow.ref} has a table as its target: `lume run` writes to it, and this wrote files only"
            )
        if ever := [column.name for column in flow.columns if column.ever]:
            notes.append(
                f'{", ".join(ever)}: unique = "ever" compared the rows of this source only; a server knows those of '
                "earlier runs"
            )
        return tuple(notes)

    def _reworded(self, message: str) -> str:
        """Return a server's message in the words of this door."""
        again = message.replace("then submit the run again", "then try again")
        for does in ("may use", "takes"):
            again = again.replace(f" this server {does}", f" {self._who} {does}")
        return again
