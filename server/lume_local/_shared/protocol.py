"""The worker protocol: jobs go to a worker's stdin, events come from its stdout, one JSON object per line.

Both ends structure the lines with cattrs, so a line outside the protocol is a `ProtocolError` there instead of a
missing key somewhere else. A worker is `Ready`, then gets any number of jobs and one `Execute`, each perhaps after a
`Lend`. It answers the `Execute` with stages, progress and, last, one `Outcome`; then it is `Ready` again or ends.
"""

import re
from typing import Any, get_args
from urllib.parse import unquote

import cattrs
import orjson
from attrs import field, frozen
from attrs.converters import optional

from lume_async._base.elided import bounded, elided
from lume_local._shared.identity import SourceContent
from lume_local._shared.row_set import flags_of, of_text

Json = dict[str, Any]
"""A JSON object that is passed on as it is: a flow, the record of a commit, metrics."""
MEMORY_LIMIT = 10**9
THREADS = 2
"""The limits of one run: bytes and threads."""


class ProtocolError(Exception):
    """A line that is not part of this protocol."""


@frozen
class Check:
    """Compile a flow; answered by `Checked` or `Refused`.

    Attributes:
        cleaners: their SQL from the first compilation.
        seconds: the CPU time after which the process ends instead.
    """

    definition: Json
    cleaners: list[str] | None = None
    seconds: int = 20


@frozen
class Execute:
    """Execute a run. `folder` is the run's own; source and targets are places, each of a `kind` (see `_worker`).

    Attributes:
        seeds: the file of each seed, `{"countries": {"path": …, "looked_up": …}}`; if the run brings it, also the
            required `sha256`.
        headers: the previous columns of the flow's sources by layout, if a change of them is to be reported; without
            layouts by an empty name.
        engine: set if the run is spread over shards: `{"url": "pool://4", "shard_bytes": 268435456}`, with `shards`
            if their number is given, and the `kind` of a cluster.
        content: the digest of the submitted source, if nothing else may be read.
        mends: the number of rejects of the run whose corrected rejects this one reads; None if it reads none.
        mended: the fields of a `Read` of those rejects, if they can still be read.
        taken: the set of those rejects that were corrected or replayed before, as text.
        lines: how to read the malformed lines among them, from the record of that run (see `line_forms`); None if it
            has none and read a single file.
        layouts: the layouts of that run's files by their names; by an empty name if it had only one.
        beside: how many rejects of the source were corrected or replayed before, if a run keeps their accepted rows
            in its target.
        replaced: how many rejects of its last run were corrected, if this run replaces their rows in the current
            table.
        is_replay: whether the source has unchanged rejects of other runs.
        rejects_table: the place of a table that gets the rejects, too.
        earlier: the place of the values that no row may repeat (see `targets.earlier_values`).
        accepted: the place of the keys that no returned row may repeat, if the source has rejects of other runs (see
            `returned`).
        asks: whether the server must permit the commit (`AsksToCommit`).
        layout: the layout of all its files; empty to recognise the layout of each.
        at: when the run was submitted; empty for now.
        is_whole: whether the source is no part of another, of rejects.
    """

    run_id: str
    flow: Json
    source: Json
    folder: str
    mapped: Json
    rejects: Json
    memory_limit: int
    threads: int
    seeds: Json = field(factory=dict)
    headers: dict[str, list[str]] = field(factory=dict)
    dry_run: bool = False
    engine: Json | None = None
    content: str | None = None
    mends: int | None = None
    earlier: Json | None = None
    accepted: Json | None = None
    mended: Json | None = None
    taken: str | None = None
    lines: list[Json] | None = None
    beside: int = 0
    replaced: int = 0
    rejects_table: Json | None = None
    is_replay: bool = False
    asks: bool = False
    layout: str = ""
    layouts: dict[str, str] = field(factory=dict)
    at: str = ""
    is_whole: bool = True


@frozen
class Finish:
    """Carry out the commit in the folder of a run whose process is gone, or undo its steps elsewhere.

    Answered by `Done`, without a record if nothing was committed, or by `Failed`; until then by `Progressed`.
    """

    folder: str


@frozen
class Read:
    """Read a page of a run's output; answered by `RowsPage` or `Unreadable`.

    Attributes:
        path: the file; its suffix is its format. Empty, with `arrow`, for rejects or a table without rows.
        identity: the identity that the file must have; empty for any.
        csv: the dialect of a `.csv` file.
        kinds: the JSON type of each column of a `.csv` file that isn't a text.
        position: the beginning of the page, from the page before: a number too long for JSON; "0" is the beginning.
        row: how many rows come before it.
        limit: the maximum number of rows of the page.
        reason: restricts the page to rejects with this reason.
        folder: the folder for a copy of an object; created if missing. Empty for the system's own.
        arrow: write the page into a file there, as record batches of Arrow.
        types: with `arrow`, the SQL types of columns of a file that has no types.
        with_schema: with `arrow`, whether the schema comes before them.
        run_id: the run to show with each row, if rejects of several runs are shown together.
        picked: for such rejects, the numbers of the page's rows, in order, each with its present reasons, and more
            columns of Lume's own.
        table: if the rows of several runs are one table, its columns with their SQL types; a row has NULL in those
            that its file lacks.
        left_out: the set of rows that are not in that table, as text; empty for none.
    """

    path: str
    identity: str
    csv: dict[str, str]
    encoding: str
    kinds: dict[str, str]
    position: str
    row: int
    rows: int
    limit: int
    is_rejects: bool = False
    reasons: list[str] = field(factory=list)
    reason: str | None = None
    folder: str = ""
    arrow: bool = False
    types: dict[str, str] = field(factory=dict)
    with_schema: bool = True
    run_id: str = ""
    picked: list[tuple[int, list[str], dict[str, str]]] = field(factory=list)
    table: dict[str, str] = field(factory=dict)
    left_out: str = ""

    def left_out_flags(self) -> bytes:
        """Return a byte for each row, 1 if it is left out; empty if none is."""
        return flags_of(of_text(self.left_out), self.rows) if self.left_out else b""


@frozen
class Gather:
    """Add rejects of some runs to the files of a replay; answered by `Gathered`.

    Attributes:
        parts: each has `read`, the fields of a `Read`; `rows`, the set of the wanted rows, as text; `lines`, how to
            read malformed lines among them (see `Execute`); and `edits`, if they are edited: the new values of
            columns, by the number of a row, as text.
        target: the beginning of the files' names; the digest of the columns and the suffix follow.
        csv: the dialect of rows that are copied as they are, in UTF-8; empty if there are none.
        of_tables: whether the rows of a file have the same columns, as their source or their reader has a table.
    """

    parts: list[Json]
    target: str
    csv: dict[str, str]
    of_tables: bool = False


@frozen
class ArchiveRuns:
    """Write records of runs, which `rows` has as NDJSON, to a Parquet file; answered by `Done` or `Failed`."""

    rows: str
    target: str


@frozen
class Forget:
    """Find the rows of a person in an output, or the files about one; answered by `Forgotten` or `Failed`.

    Attributes:
        values: see `Person`; a row must have each of them in a column with one of its `names`, in lower case.
        read: the fields of a `Read` of the output; empty to search `table` or `files`, which may be of any format.
        draft: the path of a new file without the mapped rows, or with the rejects emptied; empty to only count.
        earlier: with a `draft`, the `path` of the file of earlier values (see `targets.earlier_values`). It loses
            the values, and what `run_id` accepted from the removed rows in `columns`, whose names are in lower case.
        table: `url_env`, `table`, its `part`, the `flows` that load it, each with its `names`, and whether to delete.
    """

    values: list[str] = field(repr=False)
    ignore_case: bool
    read: Json = field(factory=dict)
    names: list[list[str]] = field(factory=list)
    draft: str = ""
    earlier: Json = field(factory=lambda: {"columns": []})
    files: list[str] = field(factory=list)
    table: Json = field(factory=dict)


@frozen
class Look:
    """Look at a source without reading its rows; answered by `Looked`.

    Attributes:
        known: the earlier content, if only a change matters; None requests the digest.
    """

    source: Json
    known: SourceContent | None = None


@frozen
class Propose:
    """Propose how to fill a target from samples; answered by `Proposed` or `Refused`.

    Attributes:
        target: see `_mapping.target`.
        samples: files, each as `{"path": …, "shown": …}`, whose path has no symbolic link; optional: `source`, how to
            read it, or else `encoding`, `delim` and `known`, a part of that, and `footer`, whether its last lines are
            no records; `most_bytes`, its maximum size; `below`, its path below the server's root.
        suggestions: the suggestions of a program, each as `{"target": …, "sources": […], "sql": …}`.
        choices: a person's decisions about target columns (see `_mapping.decisions`).
        inline: whether lookups are written into the flow instead of seed files.
        layout: the name of the new layout; empty for that of a sample.
        headers: the columns of the latest files of each layout, by its name; empty if the version has none.
    """

    target: Json
    samples: list[Json]
    suggestions: list[Json] = field(factory=list)
    choices: Json = field(factory=dict)
    inline: bool = False
    layout: str = ""
    headers: dict[str, list[str]] = field(factory=dict)


@frozen
class Lend:
    """Pass environment variables to the next job only."""

    variables: dict[str, str] = field(repr=False)


@frozen
class Cancel:
    """Stop the active run, and let no other begin in this process."""


@frozen
class Ready:
    """The worker waits for a job; `resident` is the process's present memory, in bytes."""

    resident: int


@frozen
class Checked:
    """The compiled form of a flow."""

    compiled: Json


@frozen
class Refused:
    """A flow has a mistake at this place."""

    place: str = field(converter=elided)
    problem: str = field(converter=elided)


@frozen
class Looked:
    """The content of a source; None if unknown. `problem` is why it can't be read."""

    content: SourceContent | None
    problem: str = field(default="", converter=elided)


@frozen
class Proposed:
    """A proposal, as JSON."""

    proposal: Json


@frozen
class RowsPage:
    """Rows of an output.

    Attributes:
        items: a JSON array of objects, as text: it is passed on unparsed. With `arrow`, the path of a file that has
            the rows as messages of an Arrow stream without an end mark.
        position: the beginning of the next page; None after the last page.
        row: how many rows come before that.
    """

    items: str
    position: str | None
    row: int
    identity: str


@frozen
class Gathered:
    """The files of each part, in order: `path`, and `rows`, a set as text; or the fields of an `Unreadable`."""

    parts: list[list[Json]]


@frozen
class Forgotten:
    """How many rows or files were found; which ones, as the text of a set, unless they are mapped rows.

    Attributes:
        others: rows of a table that have the values, and that no run has loaded.
        traces: the files of a table that still have the values.
    """

    count: int
    which: str = ""
    others: int = 0
    traces: list[str] = field(factory=list)


@frozen
class Unreadable:
    """The page can't be read: the kind of the problem, and its description."""

    kind: str
    problem: str = field(converter=elided)


@frozen
class StageBegun:
    """A stage begins; `rows` is the count of the stage before, `progress` the run's."""

    name: str
    rows: int | None
    progress: float


@frozen
class Progressed:
    """The progress of the run, 0 to 1."""

    value: float


@frozen
class Done:
    """The run has committed: the content of `commit.json`."""

    record: Json


@frozen
class Failed:
    """The run ended without output; or it has committed and is published later, if the obstacle `may_pass`.

    If it may pass and nothing was begun, the run of an arrival is executed again later. `told`: see `Obstacle`.
    """

    message: str = field(converter=elided)
    metrics: Json | None = field(converter=optional(bounded))
    may_pass: bool = False
    told: str = field(default="", converter=elided)


@frozen
class Cancelled:
    """The run was interrupted; nothing was written."""


@frozen
class Notify:
    """Send a message to an address of apprise; answered by `Notified`."""

    address: str = field(repr=False)
    title: str
    text: str
    type: str


@frozen
class Notified:
    """Why a message was not accepted, without parts of its address; None if it was accepted."""

    problem: str | None = field(converter=optional(elided))


@frozen
class Repair:
    """Suggest the values that may have been meant; answered by `Repaired`. `choices` are the allowed ones, if any."""

    values: list[str]
    choices: list[str] = field(factory=list)


@frozen
class Repaired:
    """For each repair that changes any value, its result for each value; None where it changes nothing."""

    values: dict[str, list[str | None]]


@frozen
class AsksToCommit:
    """The run is about to commit and waits for a `Permit`: another server may have the state by now."""


@frozen
class Permit:
    """The answer to `AsksToCommit`."""

    is_granted: bool


_PARTS = re.compile(r"[/?&=:@,;#+ ]+")
_LEAST = 3
"""The minimum length of a removed part: a shorter one would be found in any text."""


def without_address(text: str, address: str) -> str:
    """Return the text with `***` in place of an address and each part of it, such as a token, a user or a host."""
    rest = address.partition("://")[2] or address
    raw = [address, rest, *_PARTS.split(rest)]
    for part in sorted({*raw, *map(unquote, raw)}, key=len, reverse=True):
        if len(part) >= _LEAST:
            text = re.sub(re.escape(part), "***", text, flags=re.IGNORECASE)
    return text


Job = (
    ArchiveRuns
    | Check
    | Execute
    | Finish
    | Forget
    | Gather
    | Look
    | Notify
    | Propose
    | Read
    | Repair
    | Lend
    | Cancel
    | Permit
)
Outcome = Done | Failed | Cancelled
_Answer = Checked | Refused | Looked | Notified | Proposed | Repaired | Gathered | Forgotten | Unreadable
_OfRun = StageBegun | Progressed | AsksToCommit | Outcome
Event = Ready | _Answer | RowsPage | _OfRun
_KINDS: dict[str, dict[str, type[Any]]] = {
    side: {each.__name__.lower(): each for each in get_args(union)}
    for side, union in (("job", Job), ("event", Event))
}
"""The classes by the name that a line has at the key `job` or `event`."""


def read_job(plain: Json) -> Read:
    """Return a `Read` from its fields."""
    return _CONVERTER.structure(plain, Read)


def encode(line: Job | Event) -> bytes:
    """Encode a job or an event as one line."""
    side, name = "job" if isinstance(line, Job) else "event", type(line).__name__.lower()
    return orjson.dumps({**_CONVERTER.unstructure(line), side: name}) + b"\n"


def decode_job(line: bytes) -> Job:
    """Decode a line as a job. Raises `ProtocolError`."""
    job: Job = _decode(line, "job")
    return job


def decode_event(line: bytes) -> Event:
    """Decode a line as an event. Raises `ProtocolError`."""
    event: Event = _decode(line, "event")
    return event


def _decode(line: bytes, side: str) -> Any:
    try:
        plain = orjson.loads(line)
        return _CONVERTER.structure(plain, _KINDS[side][plain[side]])
    except Exception as error:  # cattrs and its hooks raise anything for a value of another type
        why = elided(f"{line[:200]!r} is not of the worker protocol: {error!r}")
        raise ProtocolError(why) from error


def _new_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)

    def as_it_is(value: Any, _: Any) -> Json:
        if not isinstance(value, dict):
            raise TypeError(f"expected a JSON object, got {type(value).__name__}")
        return value

    # Not copied key by key: a compiled flow is large, and nothing here looks into it.
    converter.register_structure_hook_func(lambda kind: kind == Json, as_it_is)
    converter.register_unstructure_hook_func(lambda kind: kind in (Json, Json | None), lambda value: value)
    return converter


_CONVERTER = _new_converter()
