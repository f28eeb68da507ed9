"""The current table of a flow: its columns, and how the parts of its rows are read from the outputs of runs."""

import hashlib
from collections.abc import Sequence

import orjson
from attrs import evolve, frozen

from lume_async._base.words import counted, listed
from lume_local._flow.definition import Flow
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.output_reads import PLAIN, read_mapped
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.sql_table import MendPurged, Mixed, TablePart
from lume_local._shared.protocol import Read
from lume_local._shared.row_set import as_text


class NoTable(Exception):
    """The rows can't be one table. Its arguments are the kind of the problem, and what to do."""


@frozen
class FlowTable:
    """The rows of a flow.

    Attributes:
        tag: identifies the rows: a table with the same tag has the same ones.
        at: when the last of the runs ended: the table of that time has the same rows.
        columns: their SQL types by name.
        versions: the flow versions that have rows there.
    """

    tag: str
    at: str
    columns: dict[str, str]
    parts: Sequence[TablePart]
    versions: dict[str, Flow]
    rows: int

    def read(self, number: int) -> tuple[str, Read]:
        """Return the run of a part, and the job that reads it from its beginning; without parts, no rows."""
        if not self.parts:
            return "", Read("", "", PLAIN, "", {}, "0", 0, 0, 1, table=self.columns)
        part = self.parts[number]
        flow = self.versions[part.flow_version]
        job = read_mapped(part.location, part.rows, flow, part.identity or "", limit=1)
        left_out = as_text(part.left_out) if part.left_out else ""
        return part.run_id, evolve(job, table=self.columns, left_out=left_out)


async def current_table(
    store: SqlStore, flows: FlowRegistry, flow: str, version: str | None, source: str | None, at: str | None
) -> FlowTable:
    """Return the table of a flow or of one version, of all sources or one, now or at a time. Raises `NoTable`."""
    try:
        found = await store.table.parts(flow, source, at, flows.place_of)
    except Mixed as run:
        words = "took rejects that were read or accepted again later, and its rows can't be told apart"
        raise NoTable("not-supported", f"run {run} {words}: run their sources again as a whole") from None
    except MendPurged as run:
        words = "which accepted corrected rejects, was purged, and its rows can't be read"
        raise NoTable("output-gone", f"run {run}, {words}: run their sources again as a whole") from None
    parts = [part for part in found if version is None or part.flow_version == f"{flow}:{version}"]
    if gone := [part for part in parts if part.identity == ""]:
        rows, runs = sum(part.kept for part in gone), listed([part.run_id for part in gone], 3, str)
        words = f"{counted(rows, 'row')} of {flow} can't be read: the outputs of {runs} were removed"
        raise NoTable("output-gone", f"{words} when their time was over. Run their sources again")
    known = [one.ref for one in flows.all(flow)]
    refs = {part.flow_version for part in parts} or {f"{flow}:{version}" if version else known[-1]}
    # The columns of the newest version come first.
    others = sorted(refs.difference(known))
    versions = {ref: flows.parsed(ref) for ref in [*reversed(known), *others] if ref in refs}
    columns = _united(list(versions.values()))
    state = list(columns.items()), [(part.run_id, part.identity, hex(part.left_out)) for part in parts]
    tag = hashlib.sha256(orjson.dumps(state)).hexdigest()[:32]
    last = max((part.finished_at for part in parts), default="")
    return FlowTable(tag, last, columns, parts, versions, sum(part.kept for part in parts))


def _united(versions: Sequence[Flow]) -> dict[str, str]:
    """Return the columns of all versions. Raises `NoTable` if one has several types or spellings."""
    found, first = dict[str, str](), dict[str, tuple[str, str, str]]()
    for flow in versions:
        for column in flow.columns:
            this = column.name, column.sql_type, flow.ref
            other = first.setdefault(column.name.lower(), this)
            if other[:2] != this[:2]:
                (name, kind, ref), (other_name, other_kind, newer) = this, other
                words = f"column {name!r} is {kind} in {ref}, and {other_name!r} is {other_kind} in {newer}"
                raise NoTable("not-supported", f"{words}: ask for the rows of one version, such as {newer}")
            found[column.name] = column.sql_type
    return found
