"""The rows of corrected rejects by the layouts of their files: never by columns, which are those of all layouts."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from attrs import evolve

from lume_async._base.words import listed
from lume_local._flow.definition import REJECTED_ROWS, RESERVED
from lume_local._flow.source_settings import OBJECTS, pointer_of
from lume_local._flow.table_bounds import folded
from lume_local._worker.outputs.row_json import FILE
from lume_local._worker.sources.formats.names import OTHERWISE, lacking, spellings
from lume_local._worker.sources.intake import Reading, ReturnOrigin
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import scan_or_retry, text
from lume_local._worker.statements import LAYOUT, PLACE, Branch, Relation, form_of

PUT_BACK = "Put the column back (an empty one, if the rows have no value there), then submit them again"


def rows_by_layout(reading: Reading, relation: Relation) -> Relation:
    """Return the rows of a file of rejects in a branch a layout; count them in the account. Raises `SourceError`."""
    flow = reading.flow
    label = _layout_of(relation, reading.origin, layout_by_columns(reading.flow, reading.shown, relation.raw))
    labelled = f"SELECT *, {label} AS _lume_of FROM ({relation.reader})"
    query = "SELECT _lume_of, count(*) FROM ({}) GROUP BY ALL ORDER BY ALL"
    counts = Counter[Any](
        dict(
            scan_or_retry(
                labelled, lambda reader: reading.connection.execute(query.format(reader)).fetchall()
            )
        )
    )
    check_known(reading.shown, flow, counts)
    counts.update(one.layout for one in reading.malformed.rows() if one.layout)
    reading.account.rows_of = dict(counts)
    layouts = [layout for layout in flow["layouts"] if layout in counts] or list(flow["layouts"])[:1]
    items = [
        f"[{', '.join(f'_lume_s{n}' for n in range(len(relation.raw)))}]::VARCHAR[] AS _lume_all",
        "_lume_of",
    ]
    items += ["_lume_file"] if relation.of_files else []
    items += [f"row_number() OVER () - 1 AS {PLACE}"] if len(layouts) > 1 else []
    rows = f"SELECT {', '.join(items)} FROM ({labelled})"
    own = evolve(relation, reader="", visible={}, unknown=())
    branches = list[Branch]()
    for layout in layouts:
        form, values = form_of(flow, layout), dict[str, str]()
        for name in form["sources"]:
            each = _values(form, name, relation.raw)
            if not each and counts[layout]:
                whose = (
                    f"{REJECTED_ROWS} have"
                    if reading.shown == REJECTED_ROWS
                    else "the corrected rejects have"
                )
                raise SourceError(lacking(form, list(relation.raw), name, whose, PUT_BACK))
            values[name] = f"coalesce({', '.join([*each, 'NULL::VARCHAR'])})"
        read = "".join(f", {value} AS _lume_s{n}" for n, value in enumerate(values.values()))
        reader = f"SELECT *{read} FROM ({rows}) WHERE _lume_of = {text(layout)}"
        visible = {name: n for n, name in enumerate(values)}
        branches.append(Branch(layout, reader, visible, tuple(range(len(relation.raw))), own, is_listed=True))
    return evolve(own, is_numbered=len(layouts) > 1, branches=tuple(branches))


def layout_by_columns(flow: dict[str, Any], shown: str, names: Sequence[str]) -> str:
    """Return the layout of rows from runs of a version without layouts, whose columns are those of their files.

    Only rows that the server has gathered are known to be such: with layouts they have a column for it. Empty for
    others, and if none of the layouts reads most of the columns.
    """
    if shown != REJECTED_ROWS or LAYOUT in names:
        return ""
    forms = {layout: form_of(flow, layout) for layout in flow["layouts"]}
    fits = {
        layout: len(form["sources"])
        for layout, form in forms.items()
        if all(_values(form, name, names) for name in form["sources"])
    }
    best = [layout for layout, read in fits.items() if read == max(fits.values())]
    return best[0] if len(best) == 1 else ""


def _layout_of(relation: Relation, origin: ReturnOrigin, otherwise: str) -> str:
    """Return SQL for the layout of a row: its own column, else that of its file in the account of the run."""
    lower = [name.lower() for name in relation.raw]
    own, file = (
        f"_lume_s{lower.index(name)}" if name in lower else "NULL::VARCHAR" for name in (LAYOUT, FILE)
    )
    files, layouts = (f"[{', '.join(map(text, each))}]" for each in (origin.layouts, origin.layouts.values()))
    of_file = "NULL"
    if origin.layouts:
        of_file = f"{layouts}[list_position({files}, coalesce({file}, ''))]"
    return f"coalesce(nullif(trim({own}), ''), {of_file}, nullif({text(otherwise)}, ''))"


def check_known(shown: str, flow: dict[str, Any], layouts: Collection[str | None]) -> None:
    """Raise `SourceError` if a row has another layout, or none."""
    if None in layouts and shown == REJECTED_ROWS:
        raise SourceError(
            f"none of the layouts of {flow['ref']}, or more than one, reads the columns of {REJECTED_ROWS}. "
            f"{OTHERWISE}"
        )
    if None in layouts:
        raise SourceError(
            f"the layout of some rows of {shown} is not known from {LAYOUT} or {FILE}: fill in {LAYOUT} with "
            f"one of {listed(list(flow['layouts']), 10)}, or submit them for their run"
        )
    if unknown := [layout for layout in layouts if layout not in flow["layouts"]]:
        how = "replay them through" if shown == REJECTED_ROWS else "submit them to"
        raise SourceError(
            f"some rows of {shown} have the layout {unknown[0]!r}, which {flow['ref']} does not have: {how} a "
            "version that has it"
        )


def _values(form: dict[str, Any], name: str, raw: Sequence[str]) -> list[str]:
    """Return SQL for the values of what a layout reads, the nearest first; empty if there is no such column."""
    found = [f"_lume_all[{n + 1}]" for n in dict.fromkeys(_places(form, name, raw))]
    if found or form["format"] not in OBJECTS or LAYOUT in raw:
        return found
    # A version without layouts has rejected whole objects: a column has an object, of which a member is read.
    for spelled in spellings(form, name):
        head, *steps = spelled.split(".")
        if steps and head in raw:
            whole = f"TRY_CAST(_lume_all[{raw.index(head) + 1}] AS JSON)"
            found.append(f"json_extract_string({whole}, {text(pointer_of(steps))})")
    return found


def _places(form: dict[str, Any], name: str, raw: Sequence[str]) -> Iterator[int]:
    """Yield the columns with the names of what a layout reads, the nearest first."""
    each = [(n, one) for n, one in enumerate(raw) if not one.lower().startswith(RESERVED)]
    wanted = spellings(form, name)
    yield from (n for one in wanted for n, there in each if there == one)
    yield from (n for one in wanted for n, there in each if there.lower() == one.lower())
    if name.lower() in form["aliases"]:
        yield from (n for one in wanted for n, there in each if folded(there) == folded(one))
