"""Reads a source of lines with columns at fixed positions. They are split as CSV is, and cut by DuckDB."""

# ruff: noqa: S608 - the parts of its SQL are constants, numbers or quoted.
from lume_local._worker.sources.formats.names import layout_of_table, readable, visible_columns
from lume_local._worker.sources.formats.records.fixed_width import FixedWidth
from lume_local._worker.sources.formats.text.csv import names_of, split_records
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sql import LINES, csv_reader
from lume_local._worker.statements import Layout


def read_fixed(reading: Reading) -> Layout:
    """Check every line. Raises `SourceError`."""
    flow, grammar = reading.flow, FixedWidth.of(reading.flow["fixed"])
    names = readable(names_of(reading, grammar))
    visible = visible_columns(flow, names, reading.shown)
    split = split_records(reading, grammar)
    values = ", ".join(
        f"nullif(trim(substr(_lume_text, {start + 1}, {end - start}), ' '), '') AS _lume_s{n}"
        for n, (start, end) in enumerate(grammar.spans)
    )
    lines = csv_reader(split.copy.path, ["_lume_text"], LINES, *split.options)
    # A blank line at the end is skipped like all others, but stays in the file for DuckDB.
    reader = f"SELECT {values} FROM {lines} WHERE _lume_text IS NOT NULL"
    return layout_of_table(reader, flow, names, visible)
