"""Writes a commented flow file from a sample of its source. Pure."""

import json
import re
from collections.abc import Iterable, Sequence

from lume_cli._output.text import counted, visible
from lume_cli._work.flow.flow_infer import SampleColumn

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED = "_lume_"
_ENGINES = {"rowid": "row_id", "file_row_number": "row_number"}
"""Names that a flow's column can't have, and their replacements."""


def snake(text: str) -> str:
    """`Customer ID` as `customer_id`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text.strip())
    return re.sub(r"\W+", "_", words).strip("_").lower()


def flow_draft(
    name: str,
    columns: Sequence[SampleColumn],
    *,
    sample: str,
    rows: int,
    delim: str,
    encoding: str,
    kind: str = "csv",
) -> str:
    """The text of a flow file; `delim` and `encoding` are those of a CSV source."""
    rejects = "ndjson" if kind in ("ndjson", "json") else "csv"
    csv = [f"csv = {{ delim = {_basic(delim)}, encoding = {_basic(encoding)} }}"] if delim else []
    lines = [
        f"# Generated from {rows:,} rows of {visible(sample)}: review every column, then run `lume flow try`.",
        f"flow = {_basic(name)}",
        'version = "v1"                       # a version that has run never changes: increase it instead',
        "",
        "[source]",
        f"format = {_basic(kind)}".ljust(37) + "# the file is the run's source_path",
        *csv,
        "",
        "# [target]                           # default: in the server's data folder",
        f'# mapped = "{{data}}/out/{{flow}}/{{version}}/{{run_id}}/{name}.parquet"',
        f'# rejects = "{{data}}/out/{{flow}}/{{version}}/{{run_id}}/rejects.{rejects}"',
        "",
        "# [rejects]",
        "# max_ratio = 0.25                   # a higher share of rejected rows: FAILED, nothing is written",
        "",
        "# sql is a DuckDB expression over the source columns, named as in the source.",
    ]
    names = _target_names(column.source for column in columns)
    for target, column in zip(names, columns, strict=True):
        lines += ["", *_column(target, column)]
    lines += [
        "",
        "# [[rules]]                          # a condition over the columns above",
        '# name = "a_name"',
        f"# sql = {_literal(_quoted(names[0]) + ' IS NOT NULL')}",
        '# on_fail = "reject"                 # or "warn" (count it), or "fail" (stop the run)',
    ]
    return "\n".join(lines) + "\n"


def _column(target: str, column: SampleColumn) -> list[str]:
    lines = [f"[columns.{target if _BARE.fullmatch(target) else _basic(target)}]"]
    if column.sql:
        expression = column.sql.format(column=_quoted(column.source))
        lines.append(f"sql = {_literal(expression)}" + (f"  # {column.about}" if column.about else ""))
    elif column.spaces:
        lines.append(
            f"sql = {_literal(f'''nullif(trim({_quoted(column.source)}), '')''')}  # some are padded with spaces"
        )
    elif target != column.source:
        lines.append(f"sql = {_literal(_quoted(column.source))}")
    if column.type != "string" or column.format is None:
        lines.append(f"type = {_basic(column.type)}")
    if column.format is not None:
        lines.append(f"format = {_basic(column.format)}")
    if column.sql_type is not None:
        note = "               # times without a time zone" if column.sql_type == "TIMESTAMP" else ""
        lines.append(f"sql_type = {_basic(column.sql_type)}{note}")
    required = "required = true" if column.required else "# required = true"
    if column.blanks:
        required = f"{required.ljust(37)}# {counted(column.blanks, 'value')} in the sample "
        required += "is empty" if column.blanks == 1 else "are empty"
    lines.append(required)
    if column.misfits:
        example = json.dumps(column.misfits[0], ensure_ascii=True)
        lines.append(
            f"# {counted(len(column.misfits), 'value')} in the sample would be rejected, such as {example}"
        )
    if column.unique:
        lines.append("# unique = true                      # all values in the sample are distinct")
    elif column.twins:
        example = json.dumps(column.twins[0], ensure_ascii=True)
        more = "occurs" if len(column.twins) == 1 else f"and {len(column.twins) - 1:,} more occur"
        lines.append(f"{'# unique = true'.ljust(37)}# {example} {more} more than once in the sample")
    if column.values:
        values = ", ".join(map(_basic, column.values))
        lines.append(f"# enum = [{values}]")
    return lines


def _target_names(sources: Iterable[str]) -> list[str]:
    names: list[str] = []
    for source in sources:
        name = snake(source)[:100] or "column"
        name = first = _ENGINES.get(name, name)
        if name.startswith(_RESERVED):
            name = first = "x" + name
        number = 1
        while name in names:
            number += 1
            name = f"{first}_{number}"
        names.append(name)
    return names


def _quoted(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A TOML literal string, so that SQL needs no escapes, where possible."""
    if "'" not in text and text.isprintable():
        return f"'{text}'"
    if "'''" not in text and not text.endswith("'") and text.isprintable():
        return f"'''{text}'''"
    return _basic(text)


def _basic(text: str) -> str:
    """A TOML basic string: JSON's escapes are valid TOML, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
