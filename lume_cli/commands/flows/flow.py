"""`lume flow`: write and check flow files."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, count_option, output_options, sample_options
from lume_cli.commands import FILE
from lume_cli.commands.flows import flow_map, flow_versions


@click.group("flow")
def command() -> None:
    """Write, check and register flow files, and list and compare what a server has."""


for _subcommand in (
    flow_versions.list_,
    flow_versions.register,
    flow_versions.diff,
    flow_versions.ddl,
    flow_versions.model,
    flow_map.command,
):
    command.add_command(_subcommand)


@command.command("check", short_help="Check flow files.")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, path_type=Path)
)
@output_options
@click.pass_obj
def check(options: GlobalOptions, *, files: tuple[Path, ...]) -> None:
    """Check each flow FILE as the embedded server does, and report every mistake with its line.

    For a folder, every *.toml in it is checked. Whether a source has the columns that a flow
    reads is checked by `lume flow try` and by runs only.

    \b
    lume flow check flows
    lume flow check flows/customer_cleaner.v1.toml
    """
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession
    from lume_cli._work.flow import flow_check

    session = CommandSession(options)

    async def work() -> int:
        found, codes, seen = [], [], dict[str, Path]()
        for file in flow_check.files(files):
            try:
                flow = await flow_check.check(file)
                flow_check.refuse_twin(flow, file, seen)
            except flow_check.FlowError as error:
                codes.append(exit_codes.ERROR)
                flow_check.report(session, file, error)
            else:
                found.append((str(file), flow.ref, str(len(flow.columns))))
        session.data.many(
            found,
            ("FILE", "FLOW", "COLUMNS"),
            lambda rows: rows,
            lambda row: {"file": row[0], "flow_version": row[1], "columns": int(row[2])},
        )
        return exit_codes.worst(codes)

    session.finish(work())


@command.command("try", short_help="Try a flow file on a sample.")
@click.argument("file", type=FILE)
@click.argument("sample", type=FILE)
@count_option("--limit", 20, "Maximum number of clean and of rejected rows to print.", least=0)
@click.option("--watch", is_flag=True, help="Try again whenever FILE or SAMPLE is saved, until Ctrl-C.")
@output_options
@click.pass_obj
def try_(options: GlobalOptions, *, file: Path, sample: Path, limit: int, watch: bool) -> None:
    """Run the flow of FILE on SAMPLE, and print clean and rejected rows, and why they were rejected.

    Needs no running server. Nothing is published: the version can still be changed. SAMPLE is the whole source,
    whatever `uri` says; relative seeds are looked up in the current folder, as by `lume serve`. Exits
    with 5 if rows were rejected, with 1 if FILE has mistakes, all of which are reported.

    \b
    lume flow try flows/customer_cleaner.v1.toml customers.csv --watch
    """
    from lume_cli._session import CommandSession
    from lume_cli._work.flow.flow_try import TrialRuns

    session = CommandSession(options)
    trial = TrialRuns(session, file, sample, limit)
    session.finish(
        trial.at_each_change() if watch else trial.once(),
        lambda: ("lume: stopped" if watch else "interrupted", None),
    )


@command.command("init", short_help="Write a flow file from a sample.")
@click.argument("sample", type=FILE)
@click.option("--name", metavar="NAME", help="Name of the flow; default: the sample's name.")
@sample_options
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR/",
    help="The *.toml file to write, or a folder (created if missing) for NAME.v1.toml; default: stdout.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.pass_obj
def init(
    options: GlobalOptions,
    *,
    sample: Path,
    name: str | None,
    encoding: str | None,
    delim: str | None,
    output: str | None,
    force: bool,
) -> None:
    """Write a commented flow file with columns and types inferred from a SAMPLE.

    SAMPLE is text (CSV, columns of fixed width, NDJSON, JSON or XML), optionally compressed with gzip; Parquet; a
    workbook (.xlsx, .xls, .xlsb or .ods); or a ZIP archive of such files.

    \b
    lume flow init customers.csv --name customer_cleaner -o flows/
    """
    from lume_async import ConfigurationError
    from lume_async._base.platform import command_line
    from lume_cli._output.stderr import Say
    from lume_cli._output.stdout import writing
    from lume_cli._streams import write_utf8
    from lume_cli._work.flow.flow_draft import flow_draft, snake
    from lume_cli._work.flow.flow_write import file_in, target_of, write
    from lume_local import open_sample, sample_parts, unpack_member
    from lume_local._samples.opening import Access
    from lume_local._samples.read import read_sample

    say = Say(options.output)
    target = None if output is None else target_of(output)
    flow = name if name is not None else snake(sample.name.partition(".")[0])
    if not (flow.isascii() and flow.replace("_", "").replace("-", "").isalnum() and flow[0].isalnum()):
        raise click.UsageError(
            f"{flow!r} is not a valid flow name: pass --name with letters, digits, '_' and '-'"
        )
    try:
        seen = read_sample(sample, Access(open_sample, sample_parts, unpack_member), encoding, delim)
    except (ConfigurationError, ModuleNotFoundError) as error:
        raise click.UsageError(str(error)) from None
    for doubt in (*seen.doubts, *seen.unsure):
        say.warn(doubt)
    text = flow_draft(flow, seen, sample.name)
    if target is None:
        write_utf8()
        with writing():
            click.echo(text, nl=False)
        return
    target = file_in(target, flow, "v1")
    write(target, text, force=force)
    say.note(f"wrote {target}; next: {command_line(['lume', 'flow', 'try', str(target), str(sample)])}")
