"""Shared by `lume flow init` and `map`: options for reading a sample, and writing the flow file."""

import os
from pathlib import Path

import click


def _delimiter(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Accept `tab` and `\\t`, since a tab is hard to type in a shell."""
    delim = "\t" if value in ("tab", "\\t") else value
    if delim is not None and (len(delim) != 1 or not delim.isascii() or delim in '"\r\n'):
        raise click.BadParameter("must be one ASCII character other than the quote and line ends; or: tab")
    return delim


delim_option = click.option(
    "--delim",
    metavar="CHARACTER",
    callback=_delimiter,
    help="Delimiter of a CSV sample, such as ';' or tab; default: guessed.",
)


def target_of(output: str) -> Path:
    """Return the path to write: a *.toml file, or a folder. Raises `click.UsageError` if the path is ambiguous."""
    path = Path(output)
    ends_as_folder = output.endswith(("/", os.sep))
    if path.suffix == ".toml" and ends_as_folder and not path.is_dir():
        raise click.UsageError(
            f"-o {output}: a flow file ends with .toml and a folder with /; drop one of them"
        )
    if path.suffix != ".toml" and not (ends_as_folder or path.is_dir()):
        raise click.UsageError(f"-o {output}: write {output}/ for a folder or {output}.toml for a file")
    return path


def file_in(target: Path, flow: str, version: str) -> Path:
    """Return the target, or the flow's file in it if it is a folder."""
    return target / f"{flow}.{version}.toml" if target.suffix != ".toml" or target.is_dir() else target


def write(path: Path, text: str, *, force: bool) -> None:
    """Write a file, and create its folder.

    Raises:
        click.UsageError: it exists, and must not be overwritten.
        click.ClickException: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.UsageError(f"{path} exists; pass --force to overwrite it") from None
    except OSError as error:
        raise click.ClickException(f"{path} can't be written: {error.strerror}") from None
