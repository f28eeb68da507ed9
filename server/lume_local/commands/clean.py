"""`lume clean`: clean files by a flow file, without a server."""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from anyio.to_thread import run_sync

from lume_async.models import RunStatus
from lume_cli._options import GlobalOptions, clean_output_options, file_name, verbose_option
from lume_cli._output import exit_codes
from lume_cli._output.live import Standing, progress
from lume_cli._output.stdout import writing
from lume_cli._session import CommandSession
from lume_cli.commands import FILE
from lume_local._flow.fields import FlowError
from lume_local.commands.account import lines_of, report

if TYPE_CHECKING:
    from lume_local._trials.clean import CleanResult

_ROWS = {"table": ".csv", "csv": ".csv", "ndjson": ".ndjson", "arrow": ".parquet"}
"""The suffix of the clean rows that go to stdout, by the output format."""


@click.command("clean")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--flow", "flow", required=True, type=FILE, metavar="FLOW.toml", help="The flow file.")
@click.option(
    "--to",
    metavar="FILE|FOLDER",
    callback=file_name,
    help="The clean rows: a .parquet, .csv or .ndjson file, a folder, or - for stdout. Default: FILE.clean.parquet "
    "(or as the flow's target) beside FILE; stdout, if FILE is -.",
)
@click.option(
    "--rejects",
    metavar="FILE",
    callback=file_name,
    help="The rejected rows. Default: beside the clean rows, as NAME.rejects.csv; none, if those go to stdout.",
)
@click.option("--layout", metavar="NAME", help="Layout of all files; default: recognised.")
@click.option("--allow-partial", is_flag=True, help="Exit with 0 instead of 5 if rows were rejected.")
@clean_output_options
@verbose_option
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    files: tuple[str, ...],
    flow: Path,
    to: str | None,
    rejects: str | None,
    layout: str | None,
    allow_partial: bool,
) -> None:
    """Clean each FILE by FLOW: write the clean rows, the rejected rows with their reasons, and the account.

    Needs no server, and keeps nothing but the outputs. Several FILEs are one source, as in a run; - is stdin. Both
    outputs are complete, or stay as they were. Outputs of an earlier clean are replaced. The account goes to stderr,
    or with -o json to stdout; -o csv and -o arrow write the clean rows to stdout.

    \b
    lume clean orders.csv --flow orders.toml
    lume clean may/*.csv --flow orders.toml --to clean/may.parquet
    zcat orders.gz | lume clean - --flow orders.toml -o arrow | python load.py
    """
    session = CommandSession(options, "csv", "arrow")
    form = session.data.format
    is_piped = to == "-" or form in ("csv", "arrow") or (to is None and files == ("-",) and form != "json")
    if is_piped and to not in (None, "-"):
        raise click.UsageError(f"-o {form} writes the clean rows to stdout: leave out --to, or -o {form}")
    if is_piped and form not in _ROWS:
        raise click.UsageError(
            f"-o {form} writes the account to stdout, and so does --to - the rows: use -o ndjson"
        )
    if is_piped and form == "arrow" and sys.stdout.isatty():
        raise click.UsageError("an Arrow stream is for a program: send stdout to a file or a pipe")

    async def work() -> int:
        gc.disable()  # collecting amid imports, which leave no garbage, takes a tenth of their time
        from lume_local._trials.clean import Cleaning, flow_of, outputs_of

        gc.freeze()
        gc.enable()
        try:
            parsed, compiled = await run_sync(flow_of, flow)
        except FlowError as error:
            report(session, flow, error)
            return exit_codes.ERROR
        if not parsed.source.query:
            _check_files(files)
        outputs = None if is_piped else outputs_of(parsed, files, to, rejects)
        cleaning = Cleaning(parsed, compiled, list(files), layout or "", "`lume clean`")

        def clean() -> "CleanResult":
            place = Path(rejects) if is_piped and rejects else None
            result = cleaning.clean(outputs, suffix=_ROWS.get(form, ".parquet"), rejects=place)
            if is_piped and result.status != RunStatus.FAILED:
                with writing():
                    sys.stdout.flush()
                    result.write(sys.stdout.buffer, arrow=form == "arrow")
                    sys.stdout.buffer.flush()
            return result

        try:
            with progress(session.say, lambda: Standing(cleaning.stage, cleaning.progress, 1.0)):
                result = await run_sync(clean, abandon_on_cancel=True)
        finally:
            cleaning.stop()
        with result:
            _tell(session, result, is_piped=is_piped, keeps=bool(rejects))
            return exit_codes.of_status(result.status, allow_partial=allow_partial)

    try:
        session.finish(work())
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from None


def _check_files(files: tuple[str, ...]) -> None:
    for file in files:
        if file == "-":
            if len(files) > 1:
                raise click.UsageError("stdin (-) is read alone, without other files")
        elif "://" not in file:
            if not os.path.exists(file):
                raise click.UsageError(f"{file} does not exist")
            if os.path.isdir(file):
                raise click.UsageError(f"{file} is a folder: name the files in it")


def _tell(session: CommandSession, result: "CleanResult", *, is_piped: bool, keeps: bool) -> None:
    """Write the account: to stdout as JSON, otherwise to stderr. `keeps`: whether a file has the rejected rows."""
    data, metadata = session.data, result.metadata
    metrics = result.metrics
    lines = lines_of(
        result.flow_version, metadata["run"]["source_path"], result.status, metadata["error_message"], metrics
    )
    for part in ("mapped", "rejects"):
        if place := metadata["target_locations"][part]:
            lines.append(f"  {part}: {os.path.relpath(place)}")
    if is_piped and not keeps and metrics.get("rows_rejected"):
        lines.append("  rejects: not written; --rejects FILE keeps them")
    lines += [f"  note: {note}" for note in result.notes]
    if is_piped:
        session.say.record("run", "\n".join(lines), **result.to_dict())
    elif data.format == "table":
        session.say.text("\n".join(lines))
    else:
        data.document(result.to_dict())
