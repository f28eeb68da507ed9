"""`lume flow init`: write a commented flow file from a sample of its source."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_async._base.elided import elided
from lume_async._base.platform import command_line
from lume_async._base.words import counted, listed
from lume_cli._options import GlobalOptions
from lume_cli._output.errors import in_options
from lume_cli._output.stderr import Say
from lume_cli._output.stdout import writing
from lume_cli._output.text import visible
from lume_cli._streams import write_utf8
from lume_cli.commands import FILE
from lume_local import open_sample
from lume_local._flow.definition import RESERVED, quoted
from lume_local._mapping.toml_text import key as toml_key
from lume_local._mapping.toml_text import value as toml
from lume_local._samples.infer import SampleColumn, definition
from lume_local._worker.samples.read import Sample, read_sample
from lume_local.commands.flow_write import delim_option, file_in, target_of, write

_ENGINES = {"rowid": "row_id", "file_row_number": "row_number"}
"""Names that a flow's column can't have, and their replacements."""


_MOST_TOLERATED = 5
"""Percent. A type is tried only if nearly all values look like it."""


def _share(_context: click.Context, _option: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", value.strip())
    if found is None or float(found[1]) > _MOST_TOLERATED:
        raise click.BadParameter(f"must be a percentage such as 2%, at most {_MOST_TOLERATED}%")
    return float(found[1]) / 100


@click.command("init", short_help="Write a flow file from a sample.")
@click.argument("sample", type=FILE)
@click.option("--name", metavar="NAME", help="Name of the flow; default: the sample's name.")
@click.option(
    "--encoding", metavar="NAME", help="Encoding of a CSV sample, such as cp1252; default: guessed."
)
@delim_option
@click.option(
    "--members",
    multiple=True,
    metavar="PATTERN",
    help="Members of a ZIP archive, such as 'orders*.csv', if it has several tables; repeatable.",
)
@click.option("--sheet", metavar="NAME", help="Sheet of a workbook; default: the first with a table.")
@click.option(
    "--tolerate",
    metavar="PERCENT",
    default="0%",
    callback=_share,
    help="Use a type that at most so many rows don't fit, such as 2%; a run rejects them; default: 0%.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR/",
    help="The *.toml file to write, or a folder (created if missing) for NAME.v1.toml; default: stdout.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    sample: Path,
    name: str | None,
    encoding: str | None,
    delim: str | None,
    members: tuple[str, ...],
    sheet: str | None,
    tolerate: float,
    output: str | None,
    force: bool,
) -> None:
    """Write a commented flow file with columns and types inferred from a SAMPLE.

    SAMPLE is text (CSV, columns of fixed width, NDJSON, JSON or XML), Parquet, or a workbook (.xlsx, .xls, .xlsb or
    .ods), optionally compressed with gzip or zstd; or a ZIP archive of such files.

    \b
    lume flow init customers.csv --name customer_cleaner -o flows/
    """
    say = Say(options.output)
    target = None if output is None else target_of(output)
    flow = name if name is not None else snake(sample.name.partition(".")[0])
    if not (flow.isascii() and flow.replace("_", "").replace("-", "").isalnum() and flow[0].isalnum()):
        raise click.UsageError(
            f"{flow!r} is not a valid flow name: pass --name with letters, digits, '_' and '-'"
        )
    try:
        seen = read_sample(sample, open_sample, encoding, delim, sheet=sheet, wanted=members)
    except (ConfigurationError, ModuleNotFoundError) as error:
        raise click.UsageError(in_options(str(error))) from None
    _refuse_in_vain(
        seen, sample, {"--encoding": encoding, "--delim": delim, "--members": members, "--sheet": sheet}
    )
    for column in seen.columns:
        column.tolerate(tolerate * seen.rows)
    for doubt in (*seen.doubts, *seen.unsure):
        say.warn(in_options(doubt))
    kept = [one for one in seen.columns if one.guess and one.guess.kind == ("string", None, None)]
    if texts := [f"{one.source} ({one.guess.about})" for one in kept if one.guess and one.guess.about]:
        shown = visible(listed(texts, 10, str))  # no type tells that their values change
        say.note(
            f"rewritten, by the sql of the column: {shown}; without that function, values stay as they are"
        )
    for shown, more in _further(seen, sheet):
        say.note(f"for {shown}: {command_line(['lume', 'flow', 'init', str(sample), *more])}")
    text = flow_draft(flow, seen, sample.name)
    if target is None:
        write_utf8()
        with writing():
            click.echo(text, nl=False)
        return
    target = file_in(target, flow, "v1")
    write(target, text, force=force)
    say.note(f"wrote {target}; next: {command_line(['lume', 'flow', 'try', str(target), str(sample)])}")


def _further(sample: Sample, sheet: str | None) -> Iterable[tuple[str, list[str]]]:
    """Yield the other tables of an archive or a workbook, and the options that read them."""
    for other in sample.others:
        patterns = [other] if isinstance(other, str) else other
        name = snake(Path(patterns[0]).name.partition(".")[0])
        named = ["--name", name] if name[:1].isalnum() and name.isascii() else []
        yield listed(patterns, 3), [*named, *(word for one in patterns for word in ("--members", one))]
    if sheet is None:
        sheets, read = sample.parts.sheets, sample.source.get("excel", {}).get("sheet")
        for one in sheets[sheets.index(read) + 1 if read else 1 :][:_SHEETS]:  # those before have no table
            yield f"the sheet {one!r}", ["--sheet", one]


_SHEETS = 10
_MEANT_FOR = {
    "--delim": ("CSV", ("csv",)),
    "--encoding": ("CSV and fixed width", ("csv", "fixed")),
    "--sheet": ("workbooks", ("excel",)),
}
_FORMATS = {"csv": "CSV", "fixed": "of fixed width", "excel": "a workbook", "parquet": "Parquet"}


def _refuse_in_vain(sample: Sample, path: Path, given: Mapping[str, object]) -> None:
    """Refuse options that have no meaning for the sample. Raises `click.UsageError`."""
    kind = sample.source["format"]
    for option, (meant, formats) in _MEANT_FOR.items():
        if given[option] is not None and kind not in formats:
            what = _FORMATS.get(kind, kind.upper())
            raise click.UsageError(f"{option} is for {meant}, and {path.name} is {what}: leave it out")
    if given["--members"] and not sample.parts.members:
        raise click.UsageError(f"--members is for ZIP archives, and {path.name} is none: leave it out")


def snake(text: str) -> str:
    """Return `Customer ID` as `customer_id`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text.strip())
    return re.sub(r"\W+", "_", words).strip("_").lower()


def flow_draft(name: str, sample: Sample, file: str) -> str:
    """Return the text of a flow file for a sample, which was read from `file`."""
    kind = sample.source["format"]
    rejects = "ndjson" if kind in ("ndjson", "json", "xml") else "csv"
    lines = [
        f"# Generated from {counted(sample.rows, 'row')} of {visible(file)}: review every column, then run "
        "`lume flow try`.",
        f"flow = {toml(name)}",
        'version = "v1"                       # a version that has run never changes: increase it instead',
        "",
        "[source]",
        f"format = {toml(kind)}".ljust(37) + "# the file is the run's source_path",
        *_source(sample),
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
    names = _target_names(column.source for column in sample.columns)
    for target, column in zip(names, sample.columns, strict=True):
        lines += ["", *_column(target, column)]
    lines += [
        "",
        "# [[rules]]                          # a condition over the columns above",
        '# name = "a_name"',
        f"# sql = {toml(quoted(names[0]) + ' IS NOT NULL')}",
        '# on_fail = "reject"                 # or "warn" (count it), or "fail" (stop the run)',
    ]
    return "\n".join(lines) + "\n"


def _source(sample: Sample) -> list[str]:
    """Return how the file is read, and what to check about that."""
    lines = [f"# {visible(in_options(doubt))}" for doubt in (*sample.doubts, *sample.unsure)]
    order = ("compression", "members", "csv", "json", "xml", "excel", "header", "names", "comment", "footer")
    lines += [f"{key} = {toml(sample.source[key])}" for key in order if key in sample.source]
    if sample.footer:
        lines.append(
            f"# footer = {{ starts_with = {toml(sample.footer)} }}".ljust(37)
            + " # the last lines begin so: if they are no records"
        )
    if doubtful := sample.doubtful:
        where = ", ".join(dict.fromkeys(map(toml, doubtful.values())))
        words = ", ".join(map(toml, doubtful))
        lines.append(f"# null = [{words}]".ljust(37) + f"# in {where}: if that is nothing")
    if fixed := sample.source.get("fixed"):
        lines += [f"fixed.{key} = {toml(value)}" for key, value in fixed.items() if key != "columns"]
        lines += ["", "[source.fixed.columns]               # the first and the last character"]
        lines += [f"{toml_key(name)} = {toml(span)}" for name, span in fixed["columns"].items()]
    return lines


def _column(target: str, column: SampleColumn) -> list[str]:
    """Return the lines of a column, with doubts and possible constraints as comments."""
    lines = [f"[columns.{toml_key(target)}]"]
    if column.guess is None and column.codes:
        lines.append("# digits with leading zeros: kept as text")
    wanted = definition(column, column.guess)
    is_plain = column.guess is None or not column.guess.sql
    note = column.guess.about if column.guess else ""
    if is_plain and column.spaces:
        note = "some are padded with spaces"
    if wanted["sql"] != quoted(column.source) or target != column.source:
        lines.append(f"sql = {toml(wanted['sql'])}" + (f"  # {note}" if note else ""))
    lines += _type(wanted)
    required = "required = true" if column.required else "# required = true"
    if column.blanks:
        required = f"{required.ljust(37)}# "
        required += counted(column.blanks, "value in the sample is empty", "values in the sample are empty")
    lines.append(required)
    if column.doubt is not None:
        wanted = definition(column, column.doubt.guess)
        example = json.dumps(elided(next(iter(column.doubt.examples), ""), 60), ensure_ascii=True)
        rows = counted(column.doubt.count, "row")
        lines += [
            f"# {rows} of the sample would be rejected, such as {example}, if it were read so:",
            *(f"# {line}" for line in (f"sql = {toml(wanted['sql'])}", *_type(wanted))),
        ]
    if column.unique:
        lines.append("# unique = true                      # all values in the sample are distinct")
    elif column.twins:
        example = json.dumps(column.twins[0], ensure_ascii=True)
        more = "occurs" if len(column.twins) == 1 else f"and {len(column.twins) - 1:,} more occur"
        lines.append(f"{'# unique = true'.ljust(37)}# {example} {more} more than once in the sample")
    if column.values:
        values = ", ".join(map(toml, column.values))
        lines.append(f"# enum = [{values}]")
    return lines


def _type(wanted: Mapping[str, str]) -> list[str]:
    lines = [f"{key} = {toml(wanted[key])}" for key in ("type", "format", "sql_type") if key in wanted]
    if wanted.get("sql_type") == "TIMESTAMP":
        lines[-1] += "               # times without a time zone"
    return lines


def _target_names(sources: Iterable[str]) -> list[str]:
    names: list[str] = []
    for source in sources:
        name = snake(source)[:100] or "column"
        name = first = _ENGINES.get(name, name)
        if name.startswith(RESERVED):
            name = first = "x" + name
        number = 1
        while name in names:
            number += 1
            name = f"{first}_{number}"
        names.append(name)
    return names
