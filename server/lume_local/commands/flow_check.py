"""`lume flow check`: check flow files as the server does, with the line of each mistake."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_cli._options import GlobalOptions, output_options
from lume_cli._output import exit_codes
from lume_cli._session import CommandSession
from lume_local import FlowError, check_flow
from lume_local.commands.account import report


@click.command("check", short_help="Check flow files.")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, path_type=Path)
)
@output_options
@click.pass_obj
def command(options: GlobalOptions, *, files: tuple[Path, ...]) -> None:
    """Check each flow FILE as the server does, and report every mistake with its line.

    For a folder, every *.toml in it is checked. Whether a source has the columns that a flow
    reads is checked by `lume flow try` and by runs only.

    \b
    lume flow check flows
    lume flow check flows/customer_cleaner.v1.toml
    """
    session = CommandSession(options)

    async def work() -> int:
        found, codes, seen = [], [], dict[str, Path]()
        for file in _files(files):
            try:
                flow = await check_flow(file)
                if (other := seen.setdefault(flow.ref, file)) != file:  # no server accepts both
                    problem = f"{flow.ref} is in {other} already: increase the version of one"
                    raise FlowError("version", problem)
            except FlowError as error:
                codes.append(exit_codes.ERROR)
                report(session, file, error)
            except OSError as error:
                raise click.UsageError(f"{file} can't be read: {error.strerror or error}") from None
            except ConfigurationError as error:
                raise click.ClickException(str(error)) from None
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


def _files(given: Iterable[Path]) -> Iterator[Path]:
    """Yield the flow files, including those in folders. Raises `click.UsageError` if a folder contains none."""
    for path in given:
        if not path.is_dir():
            yield path
            continue
        if not (found := sorted(path.glob("*.toml"))):
            raise click.UsageError(f"no flow files (*.toml) in the folder {path}")
        yield from found
